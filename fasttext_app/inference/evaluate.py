"""Evaluation: the scores of a model on labeled rows.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, cast

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import FILE_SETTINGS, Config, DataConfig
from fasttext_app.core.arrays import F64
from fasttext_app.core.arrow import to_numpy
from fasttext_app.core.objects import tables
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.columns import numbered_rows, required_columns, to_examples
from fasttext_app.data.in_memory import (
    LabelColumn,
    ObjectRows,
    column_settings,
    refuse_labels,
    with_data_settings,
)
from fasttext_app.data.labels import cell_labels
from fasttext_app.data.soft_labels import keep_most_likely
from fasttext_app.data.source import Source
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.calibration import CalibrationMeter
from fasttext_app.model.heads import texts_at_once
from fasttext_app.model.metrics import MultiLabelScores, Scores, multi_hot, ranking_precision
from fasttext_app.model.scoring import Scorer

RANKS = 5  # precision at k goes up to 5

Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class ScoredRows:
    """B rows as they are scored."""

    true: Ragged
    """The classes of each row, [B]; from C on for labels that the model does not know."""
    predicted: Ragged
    """The predicted classes of each row, [B]."""
    proba: F64
    """[B, C]."""


class TrueClasses:
    """Maps label cells to classes; each label that the model does not know gets a class from C on.

    Args:
        names: labels of the model, in the order of its C classes.
        separator: separator between the labels of a cell; None: a cell is one label.

    >>> true_classes = TrueClasses(("a", "b"), "|")
    >>> true_classes(pa.array(["b|a", "c"])).to_lists(), true_classes.unknown
    ([[1, 0], [2]], ['c'])
    """

    def __init__(self, names: Sequence[str], separator: str | None) -> None:
        self._known, self._separator = len(names), separator
        self._class_of = {name: index for index, name in enumerate(names)}

    def __call__(self, column: pa.StringArray) -> Ragged:
        """Return the classes of each label cell, [B]."""
        class_of, separator = self._class_of, self._separator
        cells = column.dictionary_encode()
        bags = [
            [class_of.setdefault(label, len(class_of)) for label in cell_labels(cell, separator)]
            for cell in cells.dictionary.to_pylist()
        ]
        return Ragged.from_lists(bags).take(to_numpy(cells.indices))

    @property
    def unknown(self) -> list[str]:
        """The labels that the model does not know."""
        return list(self._class_of)[self._known :]


def evaluate_batches(
    model: Predictor,
    batches: Batches,
    threshold: float | None,
    data: DataConfig,
    watch: Callable[[ScoredRows], None] | None = None,
) -> Scores | MultiLabelScores:
    """Score a model on batches of rows; see :meth:`TextClassifier.evaluate_batches`.

    ``watch`` is called with all rows, some at a time.
    """
    head, classes = model.head, len(model.labels)
    multi_label = data.eval_label_separator is not None
    fitted = model.fitted_thresholds if threshold is None else None
    min_probability = 0.5 if threshold is None else threshold
    to_classes = TrueClasses(model.labels, data.eval_label_separator)
    scorer = Scorer(
        model.labels,
        multi_label=multi_label,
        ranks=RANKS,
        threshold=min_probability if fitted is None else fitted,
    )
    meter = CalibrationMeter(pairs=multi_label or head.independent)
    rankings, rows, unknown_texts = [], 0, 0
    examples = with_one_label(_examples(batches, data), data)
    for batch in _slices(examples, texts_at_once(classes)):
        logits, known = model.scored(batch.column("text"))
        unknown_texts += int((known == 0).sum())
        proba, true = head.probabilities(logits), to_classes(batch.column("label"))
        predicted = scorer.add(true, logits, proba)
        if watch is not None:
            watch(ScoredRows(true, predicted, proba))
        meter.add(proba, multi_hot(true, classes))
        if multi_label:
            rankings.append(ranking_precision(logits, true))
        rows += len(batch)
    if not rows:
        raise DataError("there are no rows to evaluate")
    scores = scorer.scores(to_classes.unknown)
    if not multi_label:
        return {
            **cast("Scores", scores),
            "unknown_texts": unknown_texts,
            "calibration": meter.result(),
        }
    precision, r_precision = (np.concatenate(part) for part in zip(*rankings, strict=True))
    labeled = ~np.isnan(r_precision)
    return {
        **cast("MultiLabelScores", scores),
        "threshold": min_probability if fitted is None else "fitted",
        "ranking_precision": float(precision.mean()),
        "r_precision": float(r_precision[labeled].mean()) if labeled.any() else 0.0,
        "unknown_texts": unknown_texts,
        "calibration": meter.result(),
    }


def _examples(batches: Any, data: DataConfig) -> Batches:
    """Return batches of texts and labels; other tables are read as a file is."""
    config = data.model_copy(
        update={
            "text_columns": ("text",),
            "label_column": "label",
            "label_columns": (),
            "weight_column": None,
        }
    )
    rows = 0
    for table in tables(batches):
        columns = table.read(required_columns("batches", config, True, table.names))
        for batch in columns.to_batches():
            if batch.schema.types == [pa.string(), pa.string()]:
                yield batch
            else:
                locate = numbered_rows("batches", rows)
                yield to_examples(batch, config, locate, with_labels=True)
            rows += len(batch)


def with_one_label(batches: Batches, data: DataConfig) -> Batches:
    """Replace soft labels with the most likely label of each row."""
    if not data.soft_labels:
        return batches
    assert data.label_separator is not None
    return keep_most_likely(batches, data.label_separator)


def _slices(batches: Batches, rows: int) -> Batches:
    """Cut batches into slices of at most ``rows`` rows."""
    for batch in batches:
        for start in range(0, len(batch), rows):
            yield batch.slice(start, rows)


def open_labeled(
    job: str,
    config: Config,
    data: Any,
    labels: LabelColumn | None,
    text: str | Sequence[str] | None = None,
    label: str | Sequence[str] | None = None,
    **data_settings: Any,
) -> tuple[Config, Source]:
    """Open a data SPEC, a table, or texts with their labels, and the settings to read it with.

    Args:
        job: the name of the caller, for error messages.
        config: settings of the model.
        data: a SPEC, a table, or texts.
        labels: the label of each text, if ``data`` is texts.
        text: the text column, or several; None: as in the settings.
        label: the label column, or several of 0 and 1; None: as in the settings.
        data_settings: other settings of the section ``data``.

    Raises:
        ConfigError: ``text`` or ``label`` is not the name of a column, or a setting is invalid.
        DataError: the data does not exist, or there is not one label per text.
    """
    settings = column_settings(text, label) | data_settings
    if isinstance(data, str | PathLike):
        refuse_labels(job, data, labels)
        settings = FILE_SETTINGS | settings | {"source": str(data)}
        config = with_data_settings(config, settings)
        return config, open_source(config.data)
    config = with_data_settings(config, settings)
    rows = ObjectRows.open(job, data, labels, config=config.data)
    if config.data.label_separator is None:
        config = with_data_settings(config, rows.settings(config.data).get("data", {}))
    return config, rows.source(config.data)
