"""The documentation site builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys

import pytest

from tests.helpers import ROOT

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


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert {
        str(path): LOADED.findall(page) for path, page in pages.items() if LOADED.search(page)
    } == {}
    documents = json.loads((tmp_path / "search" / "search_index.json").read_text())["docs"]
    found = {document["location"].partition("#")[0] for document in documents}
    assert {"", "data/", "tutorial_csv/", "data/sample/", "CONTRIBUTING/"} <= found
