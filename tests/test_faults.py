"""Faults of the machine: a full disk, no shared memory, a clock that jumps."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fasttext_app
from tests.helpers import GOOD_ROWS, HEADER, SCRIPTS

CODE = Path(fasttext_app.__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_full_disk_at_any_write_of_some_commands():
    """The others are swept by ``make faults``."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / "sweep_faults.py", "--quick"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    writes = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    assert len(writes) == 5
    assert not any(count.startswith("0 writes") for count in writes.values())
    assert all(count.endswith(" 0 problems") for count in writes.values())


@pytest.mark.slow
def test_no_shared_memory_is_needed(tmp_path):
    """``/dev/shm`` is hidden in a namespace of its own, which needs a permission."""
    (tmp_path / "good.csv").write_text(HEADER + GOOD_ROWS)
    program = f"{sys.executable} -m fasttext_app"
    script = (
        "mount --bind /proc/self/fdinfo /dev/shm || exit 77\n"
        "touch /dev/shm/x && exit 78\n"
        f"{program} train -d good.csv -o model --epochs 2 --dim 4 -q && "
        f"{program} predict model -i good.csv -o out.csv -q\n"
    )
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    if (
        done.returncode in (1, 77)
        and not (tmp_path / "model").exists()
        and "error" not in done.stderr
    ):
        pytest.skip(f"may not mount: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text().count("\n") == 11


@pytest.mark.slow
def test_no_time_is_measured_by_a_clock_that_can_jump():
    """Checkpoints and limits of a search use the monotonic clocks."""
    jumping = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert ".".join(ast.unparse(node).split(".")[-2:]) not in jumping, path
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not {alias.name for alias in node.names} & {"time", "time_ns"}, path


@pytest.mark.slow
def test_checkpoints_and_a_search_survive_a_clock_that_jumps(monkeypatch, tmp_path):
    import itertools
    import time

    import fasttext_app as ft

    jumps = itertools.cycle([0.0, 4e9, 1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    monkeypatch.chdir(tmp_path)
    rows = ["the team won", "the bank fell"] * 20, ["sport", "money"] * 20
    settings = {"epochs": 2, "dim": 4, "device": "cpu", "threads": 1}
    events = []
    ft.train(*rows, checkpoints="run", checkpoint_every="1h", callback=events.append, **settings)
    ends = sum(type(event).__name__ == "CheckpointEnd" for event in events)
    assert ends == 2  # at the end of each epoch, and none because of a jump
    result = ft.tune(*rows, trials=2, seconds=3600, **settings)
    assert [trial.number for trial in result.trials] == [0, 1]
    assert all(0 <= trial.seconds < 600 for trial in result.trials)
