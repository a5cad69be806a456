"""A small soak: threads, forks and spawned processes predict the same to the bit."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from tests.helpers import SCRIPTS


@pytest.mark.slow
def test_threads_and_processes_predict_the_same(tiny_model_dir, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    soak = import_module("soak")
    assert sys.modules["soak"] is soak
    monkeypatch.setattr(soak, "TEXTS", 50)
    report = soak.soak(tiny_model_dir, predictions=4000, threads=8, processes=2)
    assert report.equal
    assert report.predictions >= 4000
    assert len(report.memory) == 10
    assert min(report.memory) > 0
    assert soak.Report(
        1, 1.0, (100, 103), {"threads": {"a"}, "fork": {"b"}}
    ).growth == pytest.approx(0.03)
    assert not soak.Report(1, 1.0, (100, 100), {"threads": {"a"}, "fork": {"b"}}).equal
