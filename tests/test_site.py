"""The site builds without a warning, loads nothing from elsewhere, and looks right."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fasttext_app.pages.palette import DARK, LIGHT, rgb
from tests.browser import CHROMIUM, SCHEMES, WIDTHS, Browser, serving
from tests.helpers import ROOT

PALETTES = {"light": LIGHT, "dark": DARK}
HOOKS = runpy.run_path(str(ROOT / "scripts" / "site_hooks.py"))
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)")


def test_links_of_the_repository_lead_to_pages_of_the_site():
    pages = {"index.md", "guides.md", "data.md", "images/a.svg", "data/sample/README.md"}

    def rewritten(markdown: str, page: str) -> str:
        return HOOKS["rewrite_links"](markdown, page, pages)

    assert rewritten("![a](docs/images/a.svg)", "index.md") == "![a](images/a.svg)"
    assert rewritten("[a](docs/index.md)", "index.md") == "[a](guides.md)"
    assert rewritten("[a](../README.md#install)", "data.md") == "[a](index.md#install)"
    assert rewritten("[a](../data/sample/README.md)", "data.md") == "[a](data/sample/README.md)"
    assert rewritten("[a](../../docs/data.md)", "data/sample/README.md") == "[a](../../data.md)"
    assert rewritten("[`Makefile`](../Makefile)", "data.md") == "`Makefile`"  # it has no page
    assert rewritten("[a](#b) [c](https://d.e)", "data.md") == "[a](#b) [c](https://d.e)"
    assert rewritten("[a](missing.md)", "data.md") == "[a](missing.md)"  # mkdocs reports it


def test_a_notebook_is_a_page():
    cells = [
        {"cell_type": "markdown", "source": ["# A\n", "b"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]},
        {"cell_type": "code", "source": ["print(3)"], "outputs": [{"text": ["3\n"]}]},
        {"cell_type": "code", "source": ["pass"], "outputs": []},
    ]
    page = HOOKS["notebook_page"](json.dumps({"cells": cells}))
    assert page.startswith("# A\nb\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n")
    assert page.count("```text") == 2


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere_and_can_be_searched(site):
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {
        str(path): LOADED.findall(page) for path, page in pages.items() if LOADED.search(page)
    } == {}
    documents = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    found = {document["location"].partition("#")[0] for document in documents}
    assert {"", "data/", "tutorial_csv/", "data/sample/", "CONTRIBUTING/", "tour/"} <= found


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_every_page_of_the_site_looks_right(site, tmp_path):
    """Each page is in both widths; every other page is dark, as all have one style sheet."""
    pages = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    with Browser() as browser, serving(site) as address:
        browser.call("Runtime.enable")
        browser.call("Log.enable")
        for number, page in enumerate(pages):
            scheme = SCHEMES[number % 2]
            browser.emulate(WIDTHS[0], scheme)
            browser.open("about:blank", "location.protocol === 'about:'")
            browser.open(
                f"{address}/{page}", "document.readyState === 'complete' && 'document$' in window"
            )
            background = browser.value("getComputedStyle(document.body).backgroundColor")
            assert background == f"rgb{rgb(PALETTES[scheme].page)}"
            for width in WIDTHS:
                browser.emulate(width, scheme)
                axe = width == WIDTHS[number // 2 % 2]
                assert browser.faults(axe=axe) == [], (page, width, scheme)
                name = str(page.with_suffix("")).replace("/", "-")
                browser.screenshot(tmp_path / f"{name}-{width}-{scheme}.png")
        assert browser.troubles == []
