"""The metric that decides which epoch of a run and which trial of a search is best.

========================================  ====================================================
``accuracy``                              fraction of texts whose most probable label is right
``macro_f1``                              mean F1 of the labels
``micro_f1`` (or ``f1``)                  F1 over all predictions
``loss``                                  the loss, the only metric for which lower is better
``f1:LABEL``                              F1 of one label; also ``precision:``, ``recall:``
``precision@recall:R[:LABEL]``            highest precision of a threshold with recall >= R
``recall@precision:P[:LABEL]``            highest recall of a threshold with precision >= P
========================================  ====================================================

The last two try every threshold on the probability of the label or, without one, of all pairs of
text and label, as fastText's autotune does.
"""

from __future__ import annotations

from dataclasses import dataclass

from fasttext_app.errors import did_you_mean

OVERALL = ("accuracy", "macro_f1", "micro_f1", "f1", "loss")
PER_LABEL = ("f1", "precision", "recall")
AT_THRESHOLD = ("precision@recall", "recall@precision")


@dataclass(frozen=True)
class Metric:
    """A metric with its label and target, if it has them.

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
        """Parse the name of a metric.

        Raises:
            ValueError: there is no such metric, or its target is not in (0, 1].
        """
        name, colon, rest = text.partition(":")
        if name in AT_THRESHOLD:
            number, label_colon, label = rest.partition(":")
            try:
                target = float(number)
            except ValueError:
                target = -1.0
            if not 0 < target <= 1 or (label_colon and not label):
                raise ValueError(
                    f"{name} needs a target in (0, 1], and can name a label: {name}:0.9[:LABEL]"
                )
            return cls(name, label or None, target)
        if (name in OVERALL and not colon) or (name in PER_LABEL and rest):
            return cls(name, rest or None)
        hint = ""
        if name not in OVERALL:
            hint = did_you_mean(name, [*OVERALL, *PER_LABEL, *AT_THRESHOLD])
        known = [
            *OVERALL,
            *(f"{name}:LABEL" for name in PER_LABEL),
            *(f"{name}:0.9[:LABEL]" for name in AT_THRESHOLD),
        ]
        raise ValueError(f"{text!r} is not a metric{hint}; choose from {', '.join(known)}")

    def __str__(self) -> str:
        parts = [self.name, self.target, self.label]
        return ":".join(f"{part}" for part in parts if part is not None)

    @property
    def lower_is_better(self) -> bool:
        """True for the loss, False for all others."""
        return self.name == "loss"

    @property
    def needs_probabilities(self) -> bool:
        """True if it is computed from the probabilities of all labels, not only the predictions."""
        return self.name in AT_THRESHOLD
