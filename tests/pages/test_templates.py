"""Templates: what is shown in them is escaped by the rule for HTML."""

from __future__ import annotations

import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from fasttext_app.foreign_text import for_html
from fasttext_app.pages.templates import PACKAGE, _environment, page, style_sheet

NASTY = "<script>\"&' \x1b[31m \u202e"


@pytest.fixture
def filled():
    def fill(template, **values):
        return _environment().from_string(template).render(values)

    return fill


def test_a_value_is_escaped_once(filled):
    assert filled("<b title='{{ a }}'>{{ a }}", a=NASTY) == f"<b title='{for_html(NASTY)}'>" + (
        for_html(NASTY)
    )
    macro = "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(a) }}"
    assert filled(macro, a="a & b") == "a &amp; b"


def test_markup_is_markup_and_numbers_are_shown(filled):
    assert filled("{{ a }} {{ n }}", a=Markup("<b>"), n=0.5) == "<b> 0.5"


def test_a_value_that_is_missing_is_an_error(filled):
    with pytest.raises(UndefinedError):
        filled("{{ a }}")


def test_a_page_loads_nothing():
    shown = "".join(page("cli/render/explanation.html", title=NASTY, explanations=[]))
    assert shown.startswith("<!doctype html>")
    assert f"<title>{for_html(NASTY)}</title>" in shown
    assert not re.search(r"https?://|@import|url\(|<script|<link|<img", shown)


def test_every_box_that_scrolls_can_be_reached_by_keyboard_and_has_a_name():
    boxes = [
        box
        for path in PACKAGE.rglob("*.html")
        for box in re.findall(r'<div class="scroll[^>]*>', path.read_text(encoding="utf-8"))
    ]
    assert len(boxes) > 9
    for box in boxes:
        assert re.search(r'tabindex="0" role="(group|region)" aria-label="[^"]', box), box


def test_every_color_of_the_style_sheet_is_one_of_the_palettes():
    style = style_sheet()
    used = set(re.findall(r"var\((--[a-z0-9-]+)", style))
    assert used - set(re.findall(r"(--[a-z0-9-]+):", style)) == {"--share"}
    rules = style[style.index("/*") :]
    assert not re.search(r"#[0-9a-f]{3,6}\b|rgb\(\d", rules)
