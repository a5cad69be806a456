"""Selection of texts for one label: the threshold that keeps a share of them, and the filter.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypedDict

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F64
from fasttext_app.core.arrow import to_arrow
from fasttext_app.core.threads import map_threads
from fasttext_app.data.labels import find_label
from fasttext_app.errors import DataError
from fasttext_app.inference.predictions import PREDICTIONS, TopK
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.heads import texts_at_once
from fasttext_app.text.chunks import as_chunks

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
    model: Predictor, batches: Iterable[pa.RecordBatch], label: str
) -> Iterator[tuple[pa.StringArray, F64]]:
    """Yield the texts of a stream with the probability of one label, in their order.

    Args:
        model: the model.
        batches: batches with a column ``text``.
        label: a label of the model.

    Raises:
        ConfigError: the model does not have this label.
        DataError: a text is None or not a string.
    """
    column = find_label(label, model.labels)

    def score(texts: pa.StringArray) -> tuple[pa.StringArray, F64]:
        proba = model.head.probabilities(model.chunk_logits(texts))
        return texts, proba[:, column].copy()

    rows = texts_at_once(len(model.labels))
    chunks = (chunk for batch in batches for chunk in as_chunks(batch.column("text"), rows))
    return map_threads(score, chunks, model.threads)


def keep_texts(
    model: Predictor,
    batches: Iterable[pa.RecordBatch],
    label: str,
    threshold: float | str = 0.0,
) -> Iterator[pa.RecordBatch]:
    """Yield the texts of a stream that reach a threshold for one label.

    Args:
        model: the model.
        batches: batches with a column ``text``.
        label: a label of the model.
        threshold: the smallest probability; ``fitted``: the fitted threshold of the label.

    Returns:
        Batches with the columns of :data:`.PREDICTIONS`: the texts, the label, its probability.

    Raises:
        ConfigError: the model does not have this label, or has no fitted thresholds.
        DataError: a text is None or not a string.
    """
    minimum = model.resolve_threshold(threshold)
    column = find_label(label, model.labels)

    def keep(scored: tuple[pa.StringArray, F64]) -> pa.RecordBatch:
        texts, proba = scored
        ranked = TopK(np.full((len(proba), 1), column), proba[:, None])
        columns = [texts, *ranked.columns(model.labels, minimum)]
        mask = to_arrow(ranked.mask(minimum)[:, 0])
        return pa.record_batch(columns, schema=PREDICTIONS).filter(mask)

    return map(keep, score_texts(model, batches, label))


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
