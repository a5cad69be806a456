"""Write docs/configuration.md from the configuration models, so that the two cannot differ.

python scripts/write_config_reference.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fasttext_app.config import schema as config_sections
from fasttext_app.config.resources import config_names
from fasttext_app.config.schema import Config

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

HEAD = """# Configuration

Every setting, its default, and what it does. This page is written by
`python scripts/write_config_reference.py` from `fasttext_app/config/schema.py`; a test
holds it current.

A configuration is a TOML file (`--config FILE`, or the name of a shipped one: {shipped}), changed
by `--set section.key=value` and then by the flags `--data --epochs --lr --dim --batch-size --seed
--device --threads --text-column --label-column --errors`. In Python, `ft.train(...)` takes a
setting by its key (`epochs=3`) or a section (`text={{"word_ngrams": 2}}`). `train --dry-run` prints
the result, and a model carries it in its `config.toml`.

An unknown key, a wrong type, a value out of range and a combination that cannot run are refused
before anything is read.
"""


def docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Return the text under each field of a section, by field name."""
    body = ast.parse(inspect.getsource(config_sections)).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    found = next(node for node in classes if node.name == section.__name__)
    texts: dict[str, str] = {}
    for node, following in zip(found.body, found.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = str(following.value.value)
            texts[node.target.id] = re.sub(r"\s+", " ", text.replace("``", "`"))
    return texts


def values(schema: dict[str, Any]) -> str:
    """Say in a few words which values a field takes, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(
            values(option) for option in schema["anyOf"] if option != {"type": "null"}
        )
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return "list"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:,}" for key, sign in signs.items() if key in schema]
    return " ".join([str(schema.get("type", "")), ", ".join(limits)]).strip()


def default(value: Any) -> str:
    """Write a default as TOML would."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`".replace("'", '"')
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def render() -> str:
    """Return the whole page."""
    shipped = ", ".join(f"`{name}`" for name in config_names())
    parts = [HEAD.format(shipped=shipped)]
    for name, info in Config.model_fields.items():
        section = info.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        texts = docstrings(section)
        properties = section.model_json_schema()["properties"]
        parts.append(f"## `[{name}]`\n\n{inspect.getdoc(section)}\n")
        rows = ["| key | default | values | meaning |", "|---|---|---|---|"]
        for key, field in section.model_fields.items():
            kind = values(properties[key]).replace("|", "\\|")
            rows.append(f"| `{key}` | {default(field.default)} | {kind} | {texts[key]} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page, or with ``--check`` exit 1 if it is not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    page = render()
    if parser.parse_args().check:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        sys.exit(0 if current == page else f"{TARGET} is outdated; run this script")
    TARGET.write_text(page, encoding="utf-8")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
