"""Pretrained word vectors: fastText ``.vec``, GloVe text, or ``.npy`` beside a word list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttext_app.errors import DataError
from fasttext_app.sources.lines import scan_lines
from fasttext_app.text.vocabulary import Vocabulary

__all__ = ["PretrainedVectors", "read_vectors"]


@dataclass(frozen=True)
class PretrainedVectors:
    """Vectors for R of the V words of a vocabulary."""

    rows: npt.NDArray[np.int64]  # [R], which words
    vectors: npt.NDArray[np.float32]  # [R, D]

    def coverage(self, vocabulary: Vocabulary) -> dict[str, float]:
        """Return the share of the vocabulary, and of its occurrences, that has a vector."""
        occurrences = int(vocabulary.counts.sum())
        return {
            "words": len(self.rows) / max(len(vocabulary), 1),
            "occurrences": float(vocabulary.counts[self.rows].sum() / max(occurrences, 1)),
        }


def read_vectors(path: str | Path, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    """Read the vectors of the words that the vocabulary has; of a word given twice, the first.

    Args:
        path: ``.npy`` [words, D] with a list of its words beside it (the same name with ``.txt``);
            any other file is text, one word and its numbers a line, ``.gz`` too, with or without
            fastText's header line.
        vocabulary: whose words are wanted.
        dim: the numbers per word that the model needs.

    Raises:
        DataError: the file is missing, malformed, of another dimension, or knows none of the words.
    """
    path = Path(path)
    wanted = {word: row for row, word in enumerate(vocabulary.words.to_pylist())}
    entries = (
        _npy_entries(path, wanted, dim)
        if path.suffix == ".npy"
        else _text_entries(path, wanted, dim)
    )
    found: dict[int, npt.NDArray[np.float32]] = {}
    for word, vector in entries:
        found.setdefault(wanted[word], vector)
    if not found:
        raise DataError(f"{path}: has a vector for none of the {len(vocabulary)} words of the data")
    vectors = np.stack(list(found.values()))
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds numbers that are not finite")
    return PretrainedVectors(np.fromiter(found, dtype=np.int64), vectors)


Entries = Iterator[tuple[str, npt.NDArray[np.float32]]]


def _text_entries(path: Path, wanted: dict[str, int], dim: int) -> Entries:
    for first, lines in scan_lines(path, errors="replace"):
        for number, line in enumerate(lines.to_pylist(), start=first):
            fields = line.rstrip().split(" ")
            if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
                _check_dim(f"{path}:1", int(fields[1]), dim)
                continue
            if number <= 2 and len(fields) > 1:
                _check_dim(f"{path}:{number}", len(fields) - 1, dim)
            word = " ".join(fields[:-dim])  # GloVe has words with a space in them
            if word not in wanted:
                continue
            try:
                yield word, np.array(fields[-dim:], dtype=np.float32)
            except ValueError:
                raise DataError(f"{path}:{number}: expected a word and {dim} numbers") from None


def _npy_entries(path: Path, wanted: dict[str, int], dim: int) -> Entries:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a NumPy array: {error}") from None
    if matrix.ndim != 2:
        raise DataError(f"{path}: has shape {matrix.shape}; expected [words, {dim}]")
    _check_dim(str(path), matrix.shape[1], dim)
    list_path = path.with_suffix(".txt")
    words = [word for _, lines in scan_lines(list_path) for word in lines.to_pylist()]
    if len(words) != len(matrix):
        raise DataError(f"{list_path}: has {len(words)} words for the {len(matrix)} rows of {path}")
    for row, word in enumerate(words):
        if word in wanted:
            yield word, np.asarray(matrix[row], dtype=np.float32)


def _check_dim(where: str, found: int, dim: int) -> None:
    if found != dim:
        raise DataError(f"{where}: the vectors have {found} numbers; set model.dim = {found}")
