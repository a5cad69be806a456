"""Generate docs/configuration.md from the docstrings of the settings.

python scripts/write_config_reference.py [--check]
"""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pages import field_docstrings, write_generated_page

from fasttext_app.config.resources import config_names
from fasttext_app.config.schema import SECTIONS
from fasttext_app.core.validation import Limits

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

HEAD = """# Configuration

All settings with their defaults. This page is generated from `fasttext_app/config/schema.py` by
`python scripts/write_config_reference.py`.

A configuration is a TOML file: `--config FILE`, or `--config NAME` for a shipped one ({shipped}).
`--set section.key=value` overrides it, and the flags `--data`, `--epochs`, `--lr`, `--dim`,
`--batch-size`, `--seed`, `--device`, `--threads`, `--checkpoint-every`, `--text-column`,
`--label-column` and `--errors` override both. In Python, `ft.train(...)` takes a setting by its key
(`epochs=3`) or a section as a dict (`text={{"word_ngrams": 2}}`).

`train --dry-run` prints the resulting configuration, and a model stores it in its `config.toml`.

Unknown keys, invalid values and impossible combinations are refused before any data is read.
"""


NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def values(kind: Any) -> str:
    """Return the values of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(values(option) for option in arguments if option is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (tuple, dict):
        return "list" if origin is tuple else "table"
    if origin is not Annotated:
        return NAMES[kind]
    limits = [
        f"{sign} {bound:,}".removesuffix(".0")
        for rule in arguments[1:]
        if isinstance(rule, Limits)
        for name, sign in SIGNS.items()
        if (bound := getattr(rule, name)) is not None
    ]
    return f"{values(arguments[0])} {', '.join(limits)}".strip()


def default(value: Any) -> str:
    """Format a default as TOML."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`".replace("'", '"')
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def render() -> str:
    """Return the page."""
    shipped = ", ".join(f"`{name}`" for name in config_names())
    parts = [HEAD.format(shipped=shipped)]
    for name, section in SECTIONS.items():
        docstrings = field_docstrings(section)
        kinds = get_type_hints(section, include_extras=True)
        purpose = (section.__doc__ or "").replace("``", "`")
        parts.append(f"## `[{name}]`\n\n{purpose}\n")
        rows = ["| key | default | values | meaning |", "|---|---|---|---|"]
        for key, value in section.defaults().items():
            accepted = values(kinds[key]).replace("|", "\\|")
            rows.append(f"| `{key}` | {default(value)} | {accepted} | {docstrings[key]} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write_generated_page(TARGET, render(), __doc__)
