"""Draw docs/images/session.svg, a terminal session, from commands that it runs.

python scripts/make_recording.py
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "session.svg"
WIDTH = 112
SESSION = (
    "fasttext-app train --config sample --output models/sample",
    'fasttext-app predict models/sample "a chess engine with an opening book" '
    '"lossless audio player" "SMTP relay with spam filter"',
    'fasttext-app inspect models/sample "play chess"',
)


def main() -> None:
    """Run the session in an empty folder, and draw its output."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    environment = os.environ | {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as folder:
        for line in SESSION:
            console.print(Text(f"$ {line}", style="bold green"))
            result = subprocess.run(
                [sys.executable, "-m", "fasttext_app", *shlex.split(line)[1:]],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=True,
            )
            console.print(Text(result.stdout.rstrip() + "\n"))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(TARGET), title="fasttext-app", unique_id="session")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
