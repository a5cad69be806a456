"""The time between two checkpoints: a number of steps, a time, or an epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Interval:
    """An interval in steps or in seconds; with neither, the end of each epoch."""

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Parse an interval.

        Raises:
            ValueError: the text is not an interval.

        >>> Interval.parse("500"), Interval.parse("5m"), Interval.parse("epoch")
        (Interval(steps=500, seconds=0.0), Interval(steps=0, seconds=300.0), Interval(steps=0, ...))
        """
        if text == "epoch":
            return cls()
        match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([smh]?)", text)
        amount = float(match[1]) if match else 0.0
        if match and amount > 0:
            if match[2]:
                return cls(seconds=amount * SECONDS[match[2]])
            if amount.is_integer():
                return cls(steps=int(amount))
        raise ValueError('must be a number of steps ("500"), a time ("30s", "5m", "2h") or "epoch"')
