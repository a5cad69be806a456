"""Generated pages are current, links lead somewhere, and the README session runs as shown."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "sample" / "README.md"]


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_configuration_page_is_what_its_script_writes():
    done = run_script("scripts/write_config_reference.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_readme_shows_what_its_commands_print():
    done = run_script("scripts/fill_readme.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_every_script_has_a_place_in_the_makefile_or_a_document():
    named = (ROOT / "Makefile").read_text() + "".join(page.read_text() for page in PAGES)
    scripts = [path.name for path in (ROOT / "scripts").glob("*.py")]
    assert [name for name in scripts if f"scripts/{name}" not in named] == []
