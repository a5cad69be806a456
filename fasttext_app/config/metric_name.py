"""The one figure by which a run is judged: which epoch is the best, which settings are.

========================================  ====================================================
``accuracy``                              the share of texts whose best label is right
``macro_f1``, ``micro_f1`` (``f1``)       F1 over labels, and over all answers
``loss``                                  the loss; the only figure that is better lower
``f1:LABEL``                              F1 of one label; ``precision:LABEL``, ``recall:LABEL`` too
``precision@recall:R[:LABEL]``            the best precision of a threshold that finds a share R
``recall@precision:P[:LABEL]``            the best recall of a threshold that is right for P
========================================  ====================================================

The last two (``metrics.best_at``) try every threshold on the probability of the label or, without
one, of all pairs of text and label, as fastText's autotune does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fasttext_app.errors import ConfigError, did_you_mean

WHOLE = ("accuracy", "macro_f1", "micro_f1", "f1", "loss")
OF_A_LABEL = ("f1", "precision", "recall")
AT = ("precision@recall", "recall@precision")


@dataclass(frozen=True)
class Metric:
    """A figure by its parts; see the table above.

    >>> Metric.parse("precision@recall:0.9:spam")
    Metric(name='precision@recall', label='spam', target=0.9)
    >>> str(Metric.parse("f1:spam"))
    'f1:spam'
    """

    name: str
    label: str | None = None
    target: float | None = None

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Read a figure's name.

        Raises:
            ValueError: there is no such figure, or its target is no share.
        """
        name, colon, rest = text.partition(":")
        if name in AT:
            share, label_colon, label = rest.partition(":")
            try:
                target = float(share)
            except ValueError:
                target = -1.0
            if not 0 < target <= 1 or (label_colon and not label):
                raise ValueError(f"{name} needs a share of (0, 1] and may name a label: {name}:0.9")
            return cls(name, label or None, target)
        if (name in WHOLE and not colon) or (name in OF_A_LABEL and rest):
            return cls(name, rest or None)
        hint = did_you_mean(name, [*WHOLE, *OF_A_LABEL, *AT]) if name not in WHOLE else ""
        known = f"{', '.join(WHOLE)}, {', '.join(f'{name}:LABEL' for name in OF_A_LABEL)}"
        more = ", ".join(f"{name}:0.9[:LABEL]" for name in AT)
        raise ValueError(f"{text!r} is not a figure to go by{hint}; there are {known}, {more}")

    def __str__(self) -> str:
        parts = [self.name, self.target, self.label]
        return ":".join(f"{part}" for part in parts if part is not None)

    @property
    def lower_is_better(self) -> bool:
        """Whether less of it is more."""
        return self.name == "loss"

    @property
    def needs_probabilities(self) -> bool:
        """Whether it takes the probabilities of all texts, and not their answers alone."""
        return self.name in AT

    def class_id(self, labels: Sequence[str]) -> int | None:
        """Return the class of its label; None where it has none.

        Raises:
            ConfigError: there is no such label.
        """
        if self.label is None:
            return None
        if self.label not in labels:
            hint = did_you_mean(self.label, labels)
            raise ConfigError(f"{self}: no training row has the label {self.label!r}{hint}")
        return list(labels).index(self.label)
