"""``scripts/compare_rows.py``: rows and a plain run differ by rounding only."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.helpers import SCRIPTS


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return import_module("compare_rows")


@pytest.mark.slow
def test_a_step_by_rows_differs_by_rounding_only(script, capsys):
    script.main()
    shown = capsys.readouterr().out
    assert shown.count("| mean |") == 3
    assert shown.count("| tf-idf |") == 1


@pytest.mark.slow
def test_a_larger_difference_is_an_error(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "LIMIT", 0.0)
    monkeypatch.setattr(script, "SHAPES", script.SHAPES[:1])
    with pytest.raises(SystemExit, match="more than 0"):
        script.main()
