"""Names of metrics."""

from __future__ import annotations

import pytest

from fasttext_app.config.metric_name import Metric


@pytest.mark.parametrize(
    "text", ["accuracy", "loss", "f1", "f1:a:b", "precision@recall:0.9", "recall@precision:1.0:a:b"]
)
def test_a_metric_is_written_as_it_was_parsed(text):
    assert str(Metric.parse(text)) == text


@pytest.mark.parametrize("text", ["precision", "recall:", "loss:spam", "f2", ""])
def test_an_unknown_metric_is_an_error(text):
    with pytest.raises(ValueError, match="is not a metric"):
        Metric.parse(text)


@pytest.mark.parametrize("target", ["", "0", "1.1", "nan", "spam", "0.9:"])
def test_a_target_outside_its_range_is_an_error(target):
    with pytest.raises(ValueError, match=r"precision@recall needs a target in \(0, 1\]"):
        Metric.parse(f"precision@recall:{target}")
