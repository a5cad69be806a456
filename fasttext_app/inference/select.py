"""Selection of texts for one label: the threshold that keeps a share of them, and the filter.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F64
from fasttext_app.core.arrow import to_arrow
from fasttext_app.core.threads import map_threads
from fasttext_app.data.labels import find_label
from fasttext_app.errors import DataError
from fasttext_app.inference.predictions import TextRows, TopK
from fasttext_app.inference.predictor import Predictor, TextColumns
from fasttext_app.model.heads import texts_at_once

BLOCK = 1 << 20  # probabilities that are compared at a time


class Cut(TypedDict):
    """A threshold that keeps a share of texts; the keys match ``threshold --json``."""

    threshold: float
    """The smallest probability of a kept text."""
    texts: int
    wanted: int
    """The share of the texts, rounded to a whole number, and at least 1."""
    kept: int
    """Texts that reach the threshold: those wanted, and those with the probability of the last."""
    ties: int
    """Texts with exactly this probability."""
    above: int
    """Texts above it."""
    above_threshold: float
    """The smallest threshold that keeps only the texts above."""


def score_texts(
    model: Predictor,
    batches: Any,
    label: str,
    *,
    known: bool = False,
    nulls: str = "error",
    keep: str | Sequence[str] = (),
    text: TextColumns = "text",
) -> Iterator[tuple[TextRows, TopK]]:
    """Yield the texts of a stream with the probability of one label, in their order.

    Args:
        model: the model.
        batches: tables, or one of them, as for :meth:`.Predictor.predict_batches`.
        label: a label of the model.
        known: whether to tell how much of each text is known.
        nulls: as for :meth:`.Predictor.predict`.
        keep: columns to copy to the result.
        text: the text column, or several to join; None: as in training, or else ``text``.

    Raises:
        ConfigError: the model does not have this label.
        DataError: a text is None or not a string.
    """
    column = find_label(label, model.labels)

    def score(rows: TextRows) -> tuple[TextRows, TopK]:
        bags, shares = model.encode_rows(rows.texts, known=known)
        proba = model.head.probabilities(model.bag_logits(bags))[:, column, None].copy()
        return rows, TopK(np.full((len(proba), 1), column), proba, shares)

    at_once = texts_at_once(len(model.labels))
    rows = model.rows(batches, text, nulls, keep, at_once)
    return map_threads(score, rows, model.threads)


def keep_texts(
    model: Predictor,
    batches: Iterable[pa.RecordBatch],
    label: str,
    threshold: float | str = 0.0,
    *,
    known: bool = False,
    abstain: bool = False,
    nulls: str = "error",
    keep: str | Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Yield the texts of a stream that reach a threshold for one label.

    Args:
        model: the model.
        batches: batches with a column ``text``.
        label: a label of the model.
        threshold: the smallest probability; ``fitted``: the fitted threshold of the label.
        known: as for :meth:`.Predictor.predict_batches`.
        abstain: leave out the texts of which nothing is known.
        nulls: as for :meth:`.Predictor.predict`; a missing text is left out.
        keep: columns to copy to the result.

    Returns:
        Batches with the columns of :data:`.PREDICTIONS`: the texts, the label, its probability.

    Raises:
        ConfigError: the model does not have this label, or has no fitted thresholds.
        DataError: a text is None or not a string.
    """
    minimum = model.resolve_threshold(threshold)

    def select(scored: tuple[TextRows, TopK]) -> pa.RecordBatch:
        rows, ranked = scored
        mask = ranked.mask(minimum, abstain=abstain)
        if not known:
            ranked = replace(ranked, known=None)
        batch = rows.with_columns(ranked.columns(model.labels, mask)).filter(to_arrow(mask[:, 0]))
        return batch.filter(batch.column("text").is_valid()) if rows.texts.null_count else batch

    scored = score_texts(model, batches, label, known=known or abstain, nulls=nulls, keep=keep)
    return map(select, scored)


def find_cut(parts: Iterable[F64], share: float) -> Cut:
    """Find the threshold that keeps a share of probabilities, the largest ones, exactly.

    They are partitioned in a temporary file that is mapped into memory, which the system pages out
    as it needs to.

    Args:
        parts: the probabilities, in any number of parts.
        share: the share to keep, above 0 and up to 1.

    Raises:
        DataError: there are no probabilities, or the temporary file cannot be written.

    >>> cut = find_cut([np.array([0.9, 0.2]), np.array([0.5, 0.1])], 0.5)
    >>> cut["threshold"], cut["kept"]
    (0.5, 2)
    """
    with tempfile.TemporaryFile(prefix="fasttext_app-") as file:
        for part in parts:
            with _disk_errors_explained():
                file.write(part.astype(np.float64).tobytes())
        with _disk_errors_explained():
            file.flush()
        if not file.tell():
            raise DataError("there are no texts")
        values = np.memmap(file, np.float64, "r+")
        wanted = max(round(share * len(values)), 1)
        values.partition(len(values) - wanted)
        threshold = float(values[-wanted])
        blocks = [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]
        ties = sum(int((block == threshold).sum()) for block in blocks)
        above = sum(int((block > threshold).sum()) for block in blocks)
    return {
        "threshold": threshold,
        "texts": len(values),
        "wanted": wanted,
        "kept": above + ties,
        "ties": ties,
        "above": above,
        "above_threshold": float(np.nextafter(threshold, np.inf)),
    }


@contextmanager
def _disk_errors_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()}: the probabilities cannot be written there "
            f"({error.strerror or error}); set TMPDIR to another directory"
        ) from None
