"""Learning-rate schedules at their corners."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.training.optim.schedules import SCHEDULES, lr_factor


def factors(schedule: str, steps: int, warmup: float = 0.0) -> list[float]:
    return [lr_factor(schedule, step, steps, warmup) for step in range(steps + 1)]


def test_linear_falls_to_zero():
    assert factors("linear", 4) == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_constant_does_not_change():
    assert factors("constant", 4) == [1.0] * 5


def test_cosine_falls_to_zero_along_half_a_cosine():
    expected = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]
    assert factors("cosine", 4) == pytest.approx(expected)


def test_warmup_rises_linearly_before_the_schedule_begins():
    assert factors("linear", 8, warmup=0.5) == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_a_single_step_has_the_full_learning_rate():
    assert [lr_factor(name, 0, 1) for name in SCHEDULES] == [1.0] * 3


@pytest.mark.slow
@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 200), st.floats(0, 0.99), st.data())
@settings(deadline=None, max_examples=40)
def test_every_factor_of_a_step_is_above_zero_and_at_most_one(schedule, steps, warmup, data):
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < lr_factor(schedule, step, steps, warmup) <= 1
