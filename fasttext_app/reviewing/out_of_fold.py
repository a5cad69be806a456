"""Probabilities out of fold: those of each row by a model that was trained without it.

Shapes: **N** rows, **C** labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np
import pyarrow as pa

from fasttext_app.config.loading import resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I64, Bool
from fasttext_app.core.arrow import to_arrow
from fasttext_app.data.split import AUTO_FRACTION, Examples
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.heads import texts_at_once
from fasttext_app.pipeline import train

IN_MEMORY = 1 << 30  # bytes of probabilities; more are kept in a temporary file

Progress = Callable[[int, int], None]
"""Called before each training run with its number and the number of all runs."""


@dataclass(frozen=True)
class OutOfFold:
    """The probabilities of N rows."""

    labels: tuple[str, ...]
    proba: F32
    """[N, C]; 0 for a label that the model of a row's fold does not know."""
    known: Bool
    """Whether the model of each fold knows each label, [folds, C]."""
    folds: I64
    """The fold of each row, [N]."""


def choose_folds(strata: I64, groups: I64, folds: int, seed: int) -> I64:
    """Return the fold of each row, [N].

    Rows of a group, such as near-duplicates, are in one fold. Each stratum is spread evenly.

    >>> choose_folds(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 2, 3, 4, 5]), 2, seed=0).tolist()
    [1, 1, 0, 0, 0, 1]
    """
    members, first, group_of_row = np.unique(groups, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(members))
    order = order[np.argsort(strata[first][order], kind="stable")]
    fold_of_group = np.empty(len(members), np.int64)
    fold_of_group[order] = np.arange(len(members)) % folds
    chosen: I64 = fold_of_group[group_of_row.ravel()]
    return chosen


def out_of_fold(
    config: Config,
    rows: pa.Table,
    spec: str,
    folds: I64,
    labels: tuple[str, ...],
    progress: Progress | None = None,
    runs: int | None = None,
) -> OutOfFold:
    """Train a model for each fold on the other folds, and score the rows of the fold with it.

    Args:
        config: how to train.
        rows: ``text`` and ``label``, [N].
        spec: where the rows are from.
        folds: the fold of each row, [N].
        labels: the names of all labels.
        progress: is told of each training run.
        runs: the number of runs to tell it; None: the number of folds.
    """
    count = int(folds.max()) + 1
    column_of = {name: column for column, name in enumerate(labels)}
    proba = _zeros(len(rows), len(labels))
    known = np.zeros((count, len(labels)), bool)
    for fold in range(count):
        if progress is not None:
            progress(fold + 1, runs or count)
        model = train_on(config, rows.filter(to_arrow(folds != fold)), spec)
        columns = np.array([column_of[name] for name in model.labels])
        known[fold, columns] = True
        held_out = np.flatnonzero(folds == fold)
        for block in np.array_split(held_out, -(-len(held_out) // texts_at_once(len(labels)))):
            scored = model.predict_proba(rows.column("text").take(pa.array(block)))
            proba[np.ix_(block, columns)] = scored
    return OutOfFold(labels, proba, known, folds)


def train_on(config: Config, rows: pa.Table, spec: str) -> TextClassifier:
    """Train a model on rows, a part of which chooses its epoch and its temperature.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    config = resolve(config.model_dump(), {"trainer": {"refit": False, "checkpoint_every": None}})
    fraction = config.data.validation
    fraction = AUTO_FRACTION if isinstance(fraction, str) else fraction
    examples = Examples(rows, source=spec, validation_fraction=fraction, one_label=True)
    result = train(config, examples)
    if result.outcome.interrupted:
        raise KeyboardInterrupt
    return result.model


def _zeros(rows: int, classes: int) -> F32:
    if rows * classes * 4 <= IN_MEMORY:
        return np.zeros((rows, classes), np.float32)
    with TemporaryFile(prefix="fasttext_app-review-") as file:  # the map keeps it
        return np.memmap(file, np.float32, "w+", shape=(rows, classes))
