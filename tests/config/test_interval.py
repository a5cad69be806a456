"""The interval between checkpoints."""

from __future__ import annotations

import pytest

from fasttext_app.config.interval import Interval


@pytest.mark.parametrize("text", ["", "0", "-1", "5 m", "0.5", "m", "5d", "epochs", "nan", "1e3"])
def test_a_malformed_interval_is_an_error(text):
    with pytest.raises(ValueError, match="must be a number of steps"):
        Interval.parse(text)
