"""Learning-rate schedules: the share of ``lr`` that a step uses, as a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


def lr_factor(schedule: str, step: int, steps: int, warmup: float = 0.0) -> float:
    """Return the factor of step ``step`` (from 0) out of ``steps``.

    Over the first ``warmup`` share of the steps it rises in a line to 1; over the rest it follows
    the schedule, which ``linear`` and ``cosine`` bring down to 0 after the last step.

    >>> [lr_factor("linear", step, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    >>> [lr_factor("constant", step, 4, warmup=0.5) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[schedule]((step - rising) / max(steps - rising, 1))
