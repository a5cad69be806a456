"""Learning-rate schedules: the factor of ``lr`` at each step, as a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


def lr_factor(schedule: str, step: int, steps: int, warmup: float = 0.0) -> float:
    """Return the factor of ``lr`` at step ``step`` (from 0) of ``steps``.

    It rises linearly to 1 over the fraction ``warmup`` of the steps, and then follows the schedule;
    ``linear`` and ``cosine`` reach 0 after the last step.

    >>> [lr_factor("linear", step, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    >>> [lr_factor("constant", step, 4, warmup=0.5) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[schedule]((step - rising) / max(steps - rising, 1))
