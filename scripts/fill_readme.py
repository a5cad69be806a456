"""Run the commands that a page shows, and replace the output under each with the current one.

The lines of a ```console block that begin with `$ ` are commands. All commands of the page run in
order in one temporary folder, with the data of the repository in `data/`. The lines after a
command, up to the next command or the end of the block, become its output (stdout and stderr).

    python scripts/fill_readme.py [--check] [PAGE]

PAGE defaults to README.md; docs/explain.md and docs/tutorial_news.md need AG_NEWS. With --check,
nothing is written: it exits 1 if an output differs in more than its numbers, which vary with the
machine.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)
NUMBER = re.compile(r"[\d,.]+")


def run_in_shell(command: str, folder: str) -> str:
    """Run a shell command in a folder, with this interpreter's fasttext-app; return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", f"{command} 2>&1"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{command}\nfailed with exit code {result.returncode}:\n{result.stdout}")
    return without_trailing_blanks(result.stdout)


def without_trailing_blanks(output: str) -> str:
    """Return an output without blanks at the ends of lines, and without empty last lines."""
    return "\n".join(line.rstrip() for line in output.rstrip().splitlines())


def fill(page: str, run: Callable[[str], str]) -> str:
    """Return the page with the output of ``run(command)`` under every command."""

    def fill_block(block: re.Match[str]) -> str:
        commands = [line[2:] for line in block[2].splitlines() if line.startswith("$ ")]
        shown = [f"$ {command}\n{run(command)}\n" for command in commands]
        return block[1] + "\n".join(shown) + block[3]

    return BLOCK.sub(fill_block, page)


def without_numbers(page: str) -> str:
    """Return the page with a sign for each number: numbers vary with the machine."""
    return NUMBER.sub("#", page)


def main() -> None:
    """Rewrite the page, or check it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is outdated"
    )
    parser.add_argument("page", type=Path, nargs="?", default=README, metavar="PAGE")
    options = parser.parse_args()
    try:
        page = options.page.read_text(encoding="utf-8")
    except OSError as error:
        parser.error(f"{options.page}: {error.strerror}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data").symlink_to(ROOT / "data")
        filled = fill(page, lambda command: run_in_shell(command, folder))
    if options.check:
        is_current = without_numbers(page) == without_numbers(filled)
        sys.exit(0 if is_current else f"{options.page} shows outdated output; run this script")
    options.page.write_text(filled, encoding="utf-8")
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
