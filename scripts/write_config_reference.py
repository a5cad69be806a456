"""Generate docs/configuration.md from the docstrings of the settings.

python scripts/write_config_reference.py [--check]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages import field_docstrings, write_generated_page
from pydantic import BaseModel

from fasttext_app.config.resources import config_names
from fasttext_app.config.schema import Config

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


def values(field: dict[str, Any]) -> str:
    """Return the values that a field accepts, from its JSON schema."""
    if "anyOf" in field:
        return " or ".join(
            values(option) for option in field["anyOf"] if option != {"type": "null"}
        )
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return "list"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:,}" for key, sign in signs.items() if key in field]
    kind = str(field.get("type", "")).replace("object", "table")
    return " ".join([kind, ", ".join(limits)]).strip()


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
    for name, info in Config.model_fields.items():
        section = info.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        docstrings = field_docstrings(section)
        properties = section.model_json_schema()["properties"]
        purpose = (section.__doc__ or "").replace("``", "`")
        parts.append(f"## `[{name}]`\n\n{purpose}\n")
        rows = ["| key | default | values | meaning |", "|---|---|---|---|"]
        for key, field in section.model_fields.items():
            accepted = values(properties[key]).replace("|", "\\|")
            rows.append(f"| `{key}` | {default(field.default)} | {accepted} | {docstrings[key]} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write_generated_page(TARGET, render(), __doc__)
