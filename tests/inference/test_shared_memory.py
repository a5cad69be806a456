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
    monkeypatch.setattr(bench, "TABLE_DIM", 4000)  # few words: each process has their look-ups
    peaks = []
    for megabytes in (1, MEGABYTES):
        bench.save_large_model(tmp_path / f"{megabytes}", megabytes)
        whole, table = bench.shared_memory(tmp_path / f"{megabytes}", method, PROCESSES)
        assert table == pytest.approx(megabytes, rel=0.1, abs=2)
        peaks.append(whole)
    assert peaks[1] - peaks[0] < 2 * MEGABYTES
