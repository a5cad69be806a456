"""`fasttext-app warm-up`: after it, no command has to wait for the compiler."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMANDS = """
import sys
from fasttext_app.core import startup

startup.is_command = True
from numba.core import event
from tests.helpers import run_cli

run_cli("warm-up")
with event.install_recorder("numba:compile") as compiled:
    run_cli("train", "--config", "sample", "--epochs", "1", "--output", "model")
    run_cli("evaluate", "model")
    run_cli("quantize", "model", "--output", "smaller")
    for path in ("model", "smaller"):
        run_cli("predict", path, "--input", "texts.txt", "--output", f"{path}.txt")
print(run_cli("warm-up", "--check").output)
print([entry.data["dispatcher"].py_func.__name__ for _, entry in compiled.buffer])
"""


@pytest.mark.slow
def test_commands_that_follow_compile_nothing(tmp_path):
    (tmp_path / "texts.txt").write_text("a chess engine\n" * 50_000)
    command = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True)
    *_, check, _, compiled = done.stdout.splitlines()
    assert check.startswith("every kernel is compiled; they are in ")
    assert compiled == "[]"


@pytest.mark.slow
def test_check_compiles_nothing_and_fails_where_a_kernel_is_not_compiled(tmp_path):
    command = [sys.executable, "-m", "fasttext_app", "warm-up", "--check"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the kernels are not compiled; run `fasttext-app warm-up`" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
