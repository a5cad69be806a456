"""Every page, filled by someone who means harm: it has the tags of a page with harmless texts."""

from __future__ import annotations

import csv
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fasttext_app.foreign_text import for_html
from fasttext_app.pages.templates import PACKAGE
from tests.helpers import QUICK, run_cli
from tests.serve.conftest import make_service

EVIL = "<script>alert(1)\"' onload ><img onerror>{{7*7}}{%x%}]]>&lt;\x1b[31m\u202e"
PLAIN = "a plain name"
TEMPLATES = {
    *("cli/render/explanation.html", "reporting/page.html", "reviewing/page.html"),
    *("serve/page.html", "serve/docs.html"),
    *("pages/base.html", "pages/words.html", "reviewing/cases.html"),  # parts of the others
}
"""Every template of the package; a new one gets a page in ``pages_of``."""


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add((tag, *sorted(name for name, _ in attributes)))

    def handle_data(self, data):
        self.text += data


def pages_of(folder: Path, name: str) -> dict[str, str]:
    """Return each page, by its template, for texts, labels, columns and files of a name."""
    folder.mkdir()
    data, model, output = folder / f"{name}.csv", folder / f"{name}.model", folder / "page.html"
    labels = [f"{name} {letter}" for letter in "ab"]
    words = [" ".join(f"w{row}x{word}" for word in range(40)) for row in range(24)]
    rows = [(f"{words[row]} {name}", labels[row % 2]) for row in range(24)]
    rows += [(rows[0][0], labels[1]), (f"goal {name}", "")]
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([(name, f"{name} label"), *rows])
    columns = [
        "--text-column",
        name,
        "--label-column",
        f"{name} label",
        "--set",
        "data.validation=0.0",
    ]
    run_cli("train", "-d", data, *columns, "-o", model, *QUICK, "--skip-bad")

    def page(*command):
        run_cli(*command, "-o", output, "--overwrite")
        return output.read_text(encoding="utf-8")

    quick = ["--set", "model.dim=4", "--set", "trainer.epochs=2", "--threads", 1]
    review = ["review", "-d", data, *columns, "--folds", 2, "--keep", name, *quick]
    compare = ["--compare", model, "--skip-bad"]
    with TestClient(make_service(model, f"other={model}")) as client:
        return {
            "cli/render/explanation.html": page("explain", model, rows[0][0]),
            "reporting/page.html": page("report", model, "-d", data, *compare),
            "reviewing/page.html": page(*review),
            "serve/page.html": client.get("/").text,
            "serve/docs.html": client.get("/docs", headers={"host": f"x/{name}".encode()}).text,
        }


def test_every_template_is_filled():
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.html")}
    assert found == TEMPLATES


@pytest.mark.slow
def test_foreign_text_stays_text_on_every_page(tmp_path):
    evil = pages_of(tmp_path / "evil", EVIL)
    plain = pages_of(tmp_path / "plain", PLAIN)
    for template, page in evil.items():
        shown, expected = Tags(page), Tags(plain[template])
        assert shown.tags <= expected.tags, template
        assert "\x1b" not in page
        assert "\u202e" not in page
        if template != "serve/docs.html":
            assert unescape(for_html(EVIL)) in shown.text, template
