"""After `scripts/compile_kernels.py`, no command has to wait for the compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import SCRIPTS

COMMANDS = """
import runpy, sys
from fasttext_app.core import startup

startup.is_command = True
runpy.run_path(sys.argv[1], run_name="__main__")

from numba.core import event
from tests.helpers import run_cli

with event.install_recorder("numba:compile") as compiled:
    run_cli("train", "--config", "sample", "--epochs", "1", "--output", "model")
    run_cli("evaluate", "model")
    run_cli("quantize", "model", "--output", "smaller")
    for path in ("model", "smaller"):
        run_cli("predict", path, "--input", "texts.txt", "--output", f"{path}.txt")
print([entry.data["dispatcher"].py_func.__name__ for _, entry in compiled.buffer])
"""


@pytest.mark.slow
def test_commands_that_follow_compile_nothing(tmp_path):
    (tmp_path / "texts.txt").write_text("a chess engine\n" * 50_000)
    command = [sys.executable, "-c", COMMANDS, SCRIPTS / "compile_kernels.py"]
    done = subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
