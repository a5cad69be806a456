"""A model against rows with labels: how well it does, and what makes its probabilities fit.

The temperature is folded into the linear layer, so that a prediction costs nothing more, and the
fastText file of a calibrated model has it too. What was fitted, and on what, is the model's record:

    temperature   value, source, split, rows, and before and after: ece, mce, nll, brier
    thresholds    goal, values by label, source, split, rows, without_positives, unreached

Shapes: **B** texts, **D** embedding dim, **C** classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config, DataConfig
from fasttext_app.core.arrow import to_numpy
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.in_memory import IN_MEMORY, LabelColumn, labeled_table, refuse_labels
from fasttext_app.data.labels import cell_labels
from fasttext_app.data.soft_labels import keep_most_likely
from fasttext_app.data.source import Source
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError
from fasttext_app.model.calibration import (
    CalibrationMeter,
)
from fasttext_app.model.heads import MOST_LOGITS, SIGMOIDS, probabilities
from fasttext_app.model.metrics import (
    MultiLabelScores,
    Scores,
    chosen_classes,
    classification_scores,
    multi_hot,
    multi_label_scores,
    ranking_precision,
    top_k_classes,
)

if TYPE_CHECKING:
    from fasttext_app.inference.predictor import Predictor


EVALUATED_RANKS = 5
BLOCK = 1 << 14  # rows whose probabilities are in memory at a time

Batches = Iterable[pa.RecordBatch]


class TrueLabels:
    """Gives label cells their classes; a label that the model does not know has one from C on."""

    def __init__(self, names: tuple[str, ...], separator: str | None) -> None:
        self._known, self._separator = len(names), separator
        self._numbers = {name: number for number, name in enumerate(names)}

    def __call__(self, column: pa.StringArray) -> Ragged:
        """Return the classes of each label cell."""
        numbers, separator = self._numbers, self._separator
        cells = column.dictionary_encode()
        bags = [
            [numbers.setdefault(label, len(numbers)) for label in cell_labels(cell, separator)]
            for cell in cells.dictionary.to_pylist()
        ]
        return Ragged.from_lists(bags).take(to_numpy(cells.indices))

    @property
    def unknown(self) -> list[str]:
        """The labels that the model does not know."""
        return list(self._numbers)[self._known :]


def evaluate_batches(
    model: Predictor, batches: Batches, threshold: float | None, data: DataConfig
) -> Scores | MultiLabelScores:
    """Score a model; see ``Predictor.evaluate_batches``."""
    separator, classes = data.eval_label_separator, len(model.labels)
    several = separator is not None
    to_classes = TrueLabels(model.labels, separator)
    meter = CalibrationMeter(pairs=several or model.config.model.loss in SIGMOIDS)
    fitted = model.fitted_thresholds if threshold is None else None
    least: Any = fitted if fitted is not None else 0.5 if threshold is None else threshold
    true, predicted, ranked, ranking = [], [], [], []
    for batch in _pieces(with_one_label(batches, data), classes):
        logits = model.logits(batch.column("text"))
        proba = probabilities(logits, model.config.model)
        true.append(to_classes(batch.column("label")))
        meter.add(proba, multi_hot(true[-1], classes))
        ranked.append(top_k_classes(logits, EVALUATED_RANKS))
        if several:
            predicted.append(chosen_classes(proba >= least))
            ranking.append(ranking_precision(logits, true[-1]))
    if not sum(map(len, true)):
        raise DataError("there are no rows to evaluate")
    known, best = Ragged.concat(true), np.concatenate(ranked)
    if not several:
        scores = classification_scores(known.indices, best, model.labels, to_classes.unknown)
        return {**scores, "calibration": meter.result()}
    precision, r_precision = (np.concatenate(part) for part in zip(*ranking, strict=True))
    labeled = ~np.isnan(r_precision)
    return {
        **multi_label_scores(
            known, Ragged.concat(predicted), best, model.labels, to_classes.unknown
        ),
        "threshold": "fitted" if fitted is not None else least,
        "ranking_precision": float(precision.mean()),
        "r_precision": float(r_precision[labeled].mean()) if labeled.any() else 0.0,
        "calibration": meter.result(),
    }


def with_one_label(batches: Batches, data: DataConfig) -> Batches:
    """Where labels have shares, leave each row the likeliest of its labels."""
    if not data.soft_labels:
        return batches
    assert data.label_separator is not None
    return keep_most_likely(batches, data.label_separator)


def _pieces(batches: Batches, classes: int) -> Batches:
    """Cut batches so that the probabilities of all classes of one fit into memory."""
    rows = max(MOST_LOGITS // classes, 1)
    for batch in batches:
        for start in range(0, len(batch), rows):
            yield batch.slice(start, rows)


def given_rows(
    job: str, config: Config, data: str | Path | Sequence[str], labels: LabelColumn | None
) -> tuple[Config, Source]:
    """Open what was given in Python, a SPEC or texts with their labels; return the settings too.

    Raises:
        DataError: there is no such data, or there is not one label for each text.
    """
    if not isinstance(data, str | Path):
        table = labeled_table(job, data, labels, config.data)
        scans = {"": lambda labels: iter(table.to_batches())}
        return config, Source(IN_MEMORY, scans, single=True)
    refuse_labels(job, data, labels)
    wanted = DataConfig.model_validate(config.data.model_dump() | {"source": str(data)})
    return config.model_copy(update={"data": wanted}), open_source(wanted)
