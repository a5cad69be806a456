"""Text that others wrote, as it is shown to people, and what no form of it can do."""

from __future__ import annotations

import csv
import json
import unicodedata
from html.parser import HTMLParser

import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import DataError
from fasttext_app.foreign_text import for_html, for_markdown, for_spreadsheet, for_terminal

ALL = [chr(code) for code in range(0x110000)]
HARMLESS = "é ß 日本 مرحبا \u200dfamily\u200c 👨\u200d👩 a\u00a0b x\u00ady [red] \\ `"


@pytest.mark.slow
def test_no_control_or_invisible_character_reaches_a_terminal():
    shown = for_terminal("".join(ALL))
    kept = set(shown)
    assert not {c for c in kept if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not {c for c in kept if unicodedata.bidirectional(c) in bidi}
    assert not kept & {"\u200e", "\u200f", "\u061c", "\ufeff"}
    shown.encode("utf-8")


def test_what_is_harmless_stays_as_it_is():
    assert for_terminal(HARMLESS) == HARMLESS
    assert for_terminal("a\tb\nc", lines=True) == "a\tb\nc"
    assert for_terminal("a\tb\nc\r") == r"a\tb\nc\r"


@pytest.mark.parametrize("letter", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2028", "\ufeff"])
def test_an_escaped_character_is_the_same_in_json(letter):
    line = json.dumps({"a": f"x{letter}"}, ensure_ascii=False)
    assert json.loads(for_terminal(line)) == {"a": f"x{letter}"}


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


def test_no_text_makes_a_tag_or_leaves_an_attribute():
    text = "".join(ALL[:256]) + "<script>'\" onload=x -->]]>"
    page = Tags(f"<p title=\"{for_html(text)}\" id='{for_html(text)}'>{for_html(text)}</p>")
    ((tag, attributes),) = page.tags
    assert (tag, [name for name, _ in attributes]) == ("p", ["title", "id"])
    assert "\x1b" not in page.text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "<script>alert(1)</script>",
            "a|b",
            "[x](http://e.org)",
            "![x](y)",
            "*a* __b__ `c` ~~d~~",
        ),
        *("&lt;", "a\n# head", "a\n\n<b>", "https://e.org", "www.e.org", "@someone", "$x$", "\\|"),
    ],
)
def test_no_name_is_markup_in_a_model_card(tmp_path, name):
    markdown = pytest.importorskip("markdown_it")
    render = markdown.MarkdownIt("gfm-like", {"linkify": False}).render
    model = ft.train(["a b", "c d"] * 9, [name, "other"] * 9, epochs=1, dim=2, validation=0.0)
    model.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    page = Tags(render(card))
    plain = Tags(render(card.replace(for_markdown(name), "plain")))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert for_terminal(name) in page.text
    assert "https://" not in card
    assert "www." not in card


def test_a_plain_name_is_as_it_is_in_markdown():
    for name in (
        "Sci/Tech",
        "rec.sport.baseball",
        "rock'n'roll (music)",
        "my_label_2",
        "C++, 3-4 = x",
    ):
        assert for_markdown(name) == name


def test_a_spreadsheet_runs_no_cell():
    for start in "=+-@\t\r\n＝＋－＠":  # noqa: RUF001
        assert for_spreadsheet(f"{start}cmd|x") == f"'{start}cmd|x"
    for cell in ("", "a=b", "-5", "+1.5e-3", "0.25", "'=x", "-0."):
        assert for_spreadsheet(cell) == cell
    assert for_spreadsheet("-1+1|cmd") == "'-1+1|cmd"


def test_an_error_and_a_model_in_a_session_are_one_safe_line():
    bad = "x\x1b[2J\u202e\nforged"
    assert str(DataError(f"{bad}: wrong")) == r"x\u001b[2J\u202e forged: wrong"
    model = ft.train(["a b", "c d"] * 9, [bad, "other"] * 9, epochs=1, dim=2, validation=0.0)
    prediction = model.predict("a")
    for shown in map(repr, (model, prediction, prediction.labels)):
        assert shown.isprintable()
    for page in (model._repr_html_(), prediction._repr_html_()):
        assert "\x1b" not in page
        assert "\u202e" not in page


def test_safe_csv_reads_back_but_for_the_guard(tmp_path):
    from fasttext_app.inference.writers import write_predictions

    model = ft.train(["a b", "c d"] * 9, ["=1+1", "@x"] * 9, epochs=1, dim=2, validation=0.0)
    path = tmp_path / "p.csv"
    batch = pa.record_batch({"text": pa.array(["-2+3"])})
    write_predictions(model.predict_batches([batch], 2), path, "csv", 2, safe_csv=True)
    header, row = csv.reader(path.read_text().splitlines())
    assert header[0] == "text"
    assert row[0] == "'-2+3"
    assert {row[1], row[3]} == {"'=1+1", "'@x"}
    assert float(row[2]) > 0
