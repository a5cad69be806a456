"""Run the console blocks of a page, and put what they print in place of what stands there.

Every line that begins with `$ ` in a ```console block is run in order in one temporary folder; the
lines up to the next command or the block's end become its output (stdout and stderr together).

    python scripts/fill_readme.py [--check] [PAGE]

PAGE is README.md if it is not given; docs/explain.md needs AG_NEWS. With --check nothing is
written: it exits 1 if any output differs in more than its digits.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)


def run(command: str, folder: str) -> str:
    """Run a shell command with this interpreter's fasttext-app; return all that it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PATH": path}
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&1"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command}\nended with exit code {done.returncode}:\n{done.stdout}")
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def fill(page: str) -> str:
    """Return the page with the output of every command as it is now."""
    with tempfile.TemporaryDirectory() as folder:

        def filled(match: re.Match[str]) -> str:
            commands = [line[2:] for line in match[2].splitlines() if line.startswith("$ ")]
            shown = [f"$ {command}\n{run(command, folder)}\n" for command in commands]
            return match[1] + "\n".join(shown) + match[3]

        return BLOCK.sub(filled, page)


def main() -> None:
    """Rewrite the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    parser.add_argument("page", type=Path, nargs="?", default=README, metavar="PAGE")
    options = parser.parse_args()
    try:
        page = options.page.read_text(encoding="utf-8")
    except OSError as error:
        parser.error(f"{options.page}: {error.strerror}")
    new = fill(page)
    if options.check:
        same = re.sub(r"[\d,.]+", "#", page) == re.sub(r"[\d,.]+", "#", new)
        sys.exit(0 if same else f"{options.page} shows outdated output; run this script")
    options.page.write_text(new, encoding="utf-8")
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
