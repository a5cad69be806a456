"""Texts that are kept for one label: how probable it is for each, and where to cut.

The cut that keeps a share of the texts is found exactly and in constant memory. Their
probabilities go into a temporary file. A probability is a positive 64-bit float, and those have the
order of their bits read as whole numbers, so the one at the cut is found 16 bits at a time: four
passes over the file, each with a histogram of 65,536 counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, TypedDict

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F64, U64
from fasttext_app.core.arrow import to_arrow
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import DataError, did_you_mean
from fasttext_app.inference.predictions import PREDICTIONS, TopK
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.heads import MOST_LOGITS, probabilities
from fasttext_app.text.encoder import as_chunks

DIGIT = 16  # bits that are found in a pass
BLOCK = 1 << 20  # bytes that are read at a time


class Cut(TypedDict):
    """Where to cut; the keys are those of ``threshold --json``."""

    threshold: float
    """The probability from which on texts are kept."""
    texts: int
    wanted: int
    """The share of the texts, rounded to a whole number of them, and at least 1."""
    kept: int
    """How many reach the threshold: those that are wanted, and what is equal to the last one."""
    ties: int
    """How many have exactly the threshold."""
    above: int
    above_threshold: float
    """How many are above it, and the least threshold that keeps only these."""


def score_texts(
    model: Predictor, batches: Iterable[pa.RecordBatch], label: str
) -> Iterator[tuple[pa.StringArray, F64]]:
    """Give the texts of a stream with the probability of one label, as they came in.

    Args:
        model: the classifier.
        batches: with a column ``text``.
        label: one of the model's.

    Raises:
        DataError: the model has no such label, or a text is None or no string.
    """
    column = _column(model, label)

    def score(texts: pa.StringArray) -> tuple[pa.StringArray, F64]:
        logits = model.chunk_logits(texts)
        return texts, probabilities(logits, model.config.model)[:, column].copy()

    most = max(MOST_LOGITS // len(model.labels), 1)
    pieces = (piece for batch in batches for piece in as_chunks(batch.column("text"), most))
    return map_threads(score, pieces, model.threads)


def keep_texts(
    model: Predictor,
    batches: Iterable[pa.RecordBatch],
    label: str,
    threshold: float | str = 0.0,
) -> Iterator[pa.RecordBatch]:
    """Keep the texts of a stream that reach a threshold for one label.

    Args:
        model: the classifier.
        batches: with a column ``text``.
        label: one of the model's.
        threshold: the least probability; ``fitted``: the model's own for the label.

    Returns:
        Batches of the columns of ``answers.PREDICTIONS``: the texts that are kept, the label, and
        its probability.

    Raises:
        ConfigError: ``fitted``, and the model has no thresholds.
        DataError: the model has no such label, or a text is None or no string.
    """
    _, least, _ = model.limits(None, threshold)
    column = _column(model, label)

    def keep(scored: tuple[pa.StringArray, F64]) -> pa.RecordBatch:
        texts, proba = scored
        ranked = TopK(np.full((len(proba), 1), column), proba[:, None])
        kept = ranked.kept(least)
        answers = [texts, *ranked.columns(model.labels, least)]
        return pa.record_batch(answers, schema=PREDICTIONS).filter(to_arrow(kept[:, 0]))

    return map(keep, score_texts(model, batches, label))


def _column(model: Predictor, label: str) -> int:
    if label not in model.labels:
        hint = did_you_mean(label, model.labels) or f"; it has: {', '.join(model.labels[:20])}"
        raise DataError(f"the model has no label {label!r}{hint}")
    return model.labels.index(label)


def find_cut(parts: Iterable[F64], share: float) -> Cut:
    """Find the threshold that keeps the largest numbers.

    Args:
        parts: probabilities, in any number of pieces.
        share: how many to keep, above 0 and up to 1.

    Raises:
        DataError: there are no numbers, or the temporary file cannot be written.

    >>> cut = find_cut([np.array([0.9, 0.2]), np.array([0.5, 0.1])], 0.5)
    >>> cut["threshold"], cut["kept"]
    (0.5, 2)
    """
    with tempfile.TemporaryFile(prefix="fasttext_app-") as file:
        count = 0
        for part in parts:
            try:
                file.write(part.astype(np.float64).tobytes())
            except OSError as error:
                raise DataError(
                    f"{tempfile.gettempdir()}: the probabilities cannot be kept there "
                    f"({error.strerror or error}); name another folder with TMPDIR"
                ) from None
            count += len(part)
        if not count:
            raise DataError("there are no texts")
        wanted = max(round(share * count), 1)
        bits, above, ties = _nth_largest(file, wanted)
    threshold = float(np.uint64(bits).view(np.float64))
    return {
        "threshold": threshold,
        "texts": count,
        "wanted": wanted,
        "kept": above + ties,
        "ties": ties,
        "above": above,
        "above_threshold": float(np.nextafter(threshold, np.inf)),
    }


def _nth_largest(file: IO[bytes], place: int) -> tuple[int, int, int]:
    """Return the bits of the number at a place, how many are larger, and how many are equal."""
    found, above, ties = 0, 0, 0
    for shift in range(64 - DIGIT, -1, -DIGIT):
        counts = np.zeros(1 << DIGIT, np.int64)
        for bits in _blocks(file):
            same = bits if shift + DIGIT == 64 else bits[bits >> np.uint64(shift + DIGIT) == found]
            digits = (same >> np.uint64(shift)) & np.uint64((1 << DIGIT) - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=len(counts))
        down = np.cumsum(counts[::-1])
        digit = len(counts) - 1 - int(np.searchsorted(down, place - above))
        ties = int(counts[digit])
        above += int(counts[digit + 1 :].sum())
        found = found << DIGIT | digit
    return found, above, ties


def _blocks(file: IO[bytes]) -> Iterator[U64]:
    file.seek(0)
    while block := file.read(BLOCK):
        yield np.frombuffer(block, np.uint64)
