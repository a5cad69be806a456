"""Templates of pages: every value that they show is escaped by ``foreign_text.for_html``.

A template lies in the folder of the module that fills it, is named by its path in the package
(``"cli/render/explanation.html"``), and extends ``"pages/base.html"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fasttext_app.foreign_text import for_html
from fasttext_app.pages.palette import DARK, LIGHT, css_variables

PACKAGE = Path(__file__).parents[1]


def page(template: str, **values: Any) -> Iterator[str]:
    """Yield the parts of a page, which may read an iterator as it goes.

    A value that is no ``Markup`` is text.
    """
    return _environment().get_template(template).generate(values)


@cache
def style_sheet() -> str:
    """Return the style sheet of all pages, with both palettes."""
    light, dark = css_variables(LIGHT), css_variables(DARK)
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        + (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PACKAGE),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style_sheet"] = Markup(style_sheet())
    return environment


def _escaped(value: Any) -> Any:
    """Return a value as Jinja2 is to write it: text is escaped, markup is markup."""
    return value if hasattr(value, "__html__") else Markup(for_html(str(value)))
