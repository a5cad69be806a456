"""After `scripts/compile_kernels.py`, no command has to wait for the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import SCRIPTS


def run(*command: str | Path) -> str:
    """Run a Python command; return its output, with a line for each kernel that numba caches."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | {"NUMBA_DEBUG_CACHE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_commands_that_follow_compile_nothing(tmp_path):
    run(SCRIPTS / "compile_kernels.py")
    model, smaller, texts = tmp_path / "model", tmp_path / "smaller", tmp_path / "texts.txt"
    texts.write_text("a chess engine\n" * 50_000)
    program = ("-m", "fasttext_app")
    output = run(*program, "train", "--config", "sample", "--epochs", "1", "--output", model)
    output += run(*program, "evaluate", model)
    output += run(*program, "quantize", model, "--output", smaller)
    for path in (model, smaller):
        output += run(*program, "predict", path, "--input", texts, "--output", tmp_path / "out.txt")
    assert "[cache] data loaded" in output
    assert "[cache] data saved" not in output
