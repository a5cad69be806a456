"""Pretrained word vectors: fastText ``.vec``, GloVe text, or ``.npy`` beside a word list."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F32, I64
from fasttext_app.core.arrow import python_strings
from fasttext_app.data.checked_stream import open_error
from fasttext_app.data.lines import scan_lines
from fasttext_app.errors import DataError
from fasttext_app.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class PretrainedVectors:
    """Vectors for R of the V words of a vocabulary."""

    rows: I64  # [R], the rows of the words
    vectors: F32  # [R, D]

    def coverage(self, vocabulary: Vocabulary) -> dict[str, float]:
        """Return the fraction of the words, and of their occurrences, that have a vector."""
        occurrences = int(vocabulary.counts.sum())
        return {
            "words": len(self.rows) / max(len(vocabulary), 1),
            "occurrences": float(vocabulary.counts[self.rows].sum() / max(occurrences, 1)),
        }


def read_vectors(path: str | Path, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    """Read the vectors of a vocabulary's words; if a word occurs twice, the first one counts.

    Args:
        path: a ``.npy`` array [words, D] with its word list beside it, under the same name with
            ``.txt``; or a text file, plain or ``.gz``, with a word and its numbers on each line,
            and fastText's header line or none.
        vocabulary: the words to look for.
        dim: the embedding dimension of the model.

    Raises:
        DataError: the file is missing or malformed, its dimension is not ``dim``, or it has none of
            the words.
    """
    path = Path(path)
    row_of = {word: row for row, word in enumerate(python_strings(vocabulary.words))}
    read = _npy_entries if path.suffix == ".npy" else _text_entries
    vectors: dict[int, F32] = {}
    for word, vector in read(path, row_of, dim):
        vectors.setdefault(row_of[word], vector)
    if not vectors:
        raise DataError(f"{path}: has a vector for none of the {len(vocabulary)} words of the data")
    return PretrainedVectors(np.fromiter(vectors, dtype=np.int64), np.stack(list(vectors.values())))


def _text_entries(path: Path, row_of: dict[str, int], dim: int) -> Iterator[tuple[str, F32]]:
    for first, lines in scan_lines(path, errors="replace"):
        for number, line in enumerate(lines.to_pylist(), start=first):
            fields, where = line.rstrip().split(" "), f"{path}:{number}"
            if number == 1 and _is_header(where, fields, dim):
                continue
            if fields == [""]:
                continue
            if len(fields) <= dim:
                raise _malformed(where, dim)
            word = " ".join(fields[:-dim])  # GloVe has words with a space in them
            if word in row_of:
                yield word, _vector(where, fields[-dim:], dim)


def _is_header(where: str, fields: list[str], dim: int) -> bool:
    """Return whether the first line is fastText's header; check the dimension either way."""
    is_header = len(fields) == 2 and all(field.isdecimal() for field in fields)
    if is_header:
        _check_dim(where, int(fields[1]), dim)
    elif len(fields) != dim + 1:
        numbers = list(itertools.takewhile(_is_number, reversed(fields[1:])))
        if not numbers:
            raise _malformed(where, dim)
        _check_dim(where, len(numbers), dim)
    return is_header


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _npy_entries(path: Path, row_of: dict[str, int], dim: int) -> Iterator[tuple[str, F32]]:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise open_error(path, error) from None
    except (EOFError, ValueError):  # empty, truncated, of objects, or of another format
        raise DataError(f"{path}: is not a complete NumPy array of numbers") from None
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "fiu":  # .npz, strings, ...
        raise DataError(f"{path}: is not a NumPy array of numbers")
    if matrix.ndim != 2:
        raise DataError(f"{path}: has shape {matrix.shape}; expected [words, {dim}]")
    _check_dim(str(path), matrix.shape[1], dim)
    list_path = path.with_suffix(".txt")
    words = [word for _, lines in scan_lines(list_path) for word in lines.to_pylist()]
    if len(words) != len(matrix):
        raise DataError(f"{list_path}: has {len(words)} words for the {len(matrix)} rows of {path}")
    for row, word in enumerate(words):
        if word in row_of:
            yield word, _vector(f"{path}: row {row}", matrix[row], dim)


def _vector(where: str, numbers: npt.ArrayLike, dim: int) -> F32:
    try:
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite
            vector = np.array(numbers, dtype=np.float32)
    except ValueError:
        raise _malformed(where, dim) from None
    if not np.isfinite(vector).all():
        raise DataError(f"{where}: holds a number that is not finite")
    return vector


def _malformed(where: str, dim: int) -> DataError:
    return DataError(f"{where}: expected a word and {dim} numbers, with one space between them")


def _check_dim(where: str, file_dim: int, dim: int) -> None:
    if file_dim != dim:
        raise DataError(f"{where}: the vectors have {file_dim} numbers; set model.dim = {file_dim}")
