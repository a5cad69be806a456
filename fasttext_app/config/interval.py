"""How often something is done in a run: by steps, by time, or at each epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Interval:
    """At each epoch, and between: every so many steps, or seconds; 0: not between."""

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read an interval.

        Raises:
            ValueError: it is none.

        >>> Interval.parse("500"), Interval.parse("5m"), Interval.parse("epoch")
        (Interval(steps=500, seconds=0.0), Interval(steps=0, seconds=300.0), Interval(steps=0, ...))
        """
        if text == "epoch":
            return cls()
        found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([smh]?)", text)
        amount = float(found[1]) if found else 0.0
        if found and amount > 0:
            if found[2]:
                return cls(seconds=amount * SECONDS[found[2]])
            if amount.is_integer():
                return cls(steps=int(amount))
        raise ValueError('must be a number of steps ("500"), a time ("30s", "5m", "2h") or "epoch"')
