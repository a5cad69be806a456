"""Generated pages are current, links lead somewhere, and examples print what the pages show."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys

import pytest

from fasttext_app.cli.program import COMMANDS
from tests.helpers import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "fasttext_app").glob("*/__init__.py"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "sample" / "README.md"]


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", ["write_config_reference.py", "write_api_reference.py"])
def test_a_generated_page_is_what_its_script_writes(script):
    done = run_script(f"scripts/{script}", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_code_of_how_it_works_prints_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes a file
    page = ROOT / "docs" / "how_it_works.md"
    blocks = re.findall(r"```pycon\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    failures: list[str] = []
    runner.run(example, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_the_index_links_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md"]
    assert [name for name in pages if f"({name}" not in index] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_map_of_the_code_names_every_file(folder):
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition(f"\n### `{folder.name}/`\n")[2].partition("\n#")[0]
    named = set(re.findall(r"`([\w/]+\.py)`", section))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    commands = {f"{command.replace('-', '_')}.py" for command in COMMANDS} | {"import_.py"}
    assert named - files == set()
    assert {
        name
        for name in files - named
        if not name.endswith("__init__.py") and not (folder.name == "cli" and name in commands)
    } == set()


def test_every_script_has_a_place_in_the_makefile_or_a_document():
    named = (ROOT / "Makefile").read_text() + "".join(page.read_text() for page in PAGES)
    scripts = [path.name for path in (ROOT / "scripts").glob("*.py")]
    assert [name for name in scripts if f"scripts/{name}" not in named] == []
