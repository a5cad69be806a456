"""Processes that use one model hold its table once, however they are started."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.helpers import SCRIPTS

MEGABYTES, PROCESSES = 40, 4


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_four_processes_hold_a_table_once(tmp_path, monkeypatch, method):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    bench = import_module("bench_memory")
    bench.save_large_model(tmp_path / "model", MEGABYTES)
    one, table = bench.shared_memory(tmp_path / "model", method, 1)
    assert table == pytest.approx(MEGABYTES, rel=0.1)
    several, table = bench.shared_memory(tmp_path / "model", method, PROCESSES)
    assert table == pytest.approx(MEGABYTES, rel=0.1)
    # Each process adds its interpreter, libraries and vocabulary, but not the table.
    alone = one - MEGABYTES
    assert several < PROCESSES * alone + 1.3 * MEGABYTES
