"""The benchmark of scoring: what it counts, and the tables that it prints."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

import pytest

from tests.helpers import SCRIPTS
from tests.scoring.conftest import model_path

__all__ = ["model_path"]

sys.path.insert(0, str(SCRIPTS))
try:
    bench = import_module("bench_scoring")
finally:
    sys.path.remove(str(SCRIPTS))

FLOOR = {"start": 0.1, "load": 0.1, "read": 1.0, "score": 8.0, "write": 1.0}
SPIN = "import time\nwhile time.process_time() < 0.4: pass\n"


@pytest.mark.slow
def test_the_cpu_seconds_of_children_count_too():
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN!r}])\n{SPIN}"
    assert 0.5 < bench.cpu_seconds(["-c", program]) < 2  # counted in ticks


def test_the_tables(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "article_texts", lambda: ["a text", "another"] * 40)
    monkeypatch.setattr(bench, "cpu_seconds", lambda command, **environment: 11.0)

    def floor_of(model, source, target):
        target.mkdir()
        return FLOOR

    monkeypatch.setattr(bench, "floor_of", floor_of)
    table = bench.engine_table("model", tmp_path, 80, ["local", "polars"], 1)
    assert "| `score`, 2 processes | 11.0 | 3.0 | 1.10 |" in table
    assert "holds: 1.10" in table
    machines = argparse.Namespace(cores=10, network=1.0, storage=2.0)
    cost = bench.cost_table("model", tmp_path, 1000, machines)  # 10 ms of a core for each page
    assert "| 1 | 10 | 2,778 | 277.78 |" in cost
    assert cost.count("| cores |\n") + cost.endswith("| cores |") >= 3


@pytest.mark.slow
def test_the_floor_measures_each_step(model_path, tmp_path):
    bench.write_files(tmp_path / "pages", ["great fun", "dull"], 80)
    seconds = bench.floor_of(str(model_path), tmp_path / "pages", tmp_path / "out")
    assert set(seconds) == set(FLOOR)
    assert len(list((tmp_path / "out").iterdir())) == bench.FILES
