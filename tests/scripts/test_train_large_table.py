"""``scripts/train_large_table.py``, with a table that is not large."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.helpers import SCRIPTS


@pytest.mark.slow
def test_two_processes_take_half_of_the_memory_of_one(monkeypatch, capfd):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = import_module("train_large_table")
    script.main(["--rows", "2000000", "--processes", "2", "--texts", "1000"])
    shown = capfd.readouterr().out
    assert "one process alone needs: 528 MB; a share and a tenth: 290 MB" in shown
