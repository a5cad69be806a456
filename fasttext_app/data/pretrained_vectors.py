"""Pretrained word vectors: fastText ``.vec``, GloVe text, or ``.npy`` beside a word list.

A file is read twice: for its words, which go into the vocabulary, and for the vectors of the
vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F32, I64, Array
from fasttext_app.core.arrow import python_strings, string_array, string_buffers, to_arrow, to_numpy
from fasttext_app.data.byte_stream import open_error
from fasttext_app.data.lines import scan_lines
from fasttext_app.errors import DataError
from fasttext_app.text.vocabulary import Vocabulary

BLOCK_ROWS = 4096  # of a .npy file

Entries: TypeAlias = tuple[pa.StringArray, Callable[[I64], F32]]
"""Some words of a file, and a function from indices of words to their vectors."""


@dataclass(frozen=True)
class PretrainedVectors:
    """Vectors for R of the V words of a vocabulary."""

    rows: I64  # [R], the rows of the words
    vectors: F32  # [R, D]

    def coverage(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Return how many words have a vector.

        ``words`` is the fraction of the words of the training texts, ``occurrences`` that of their
        occurrences, and ``added`` the number of words that no training text has.
        """
        counts = vocabulary.counts[self.rows]
        words, occurrences = (vocabulary.counts > 0).sum(), vocabulary.counts.sum()
        return {
            "words": float((counts > 0).sum() / max(words, 1)),
            "occurrences": float(counts.sum() / max(occurrences, 1)),
            "added": int((counts == 0).sum()),
        }


def read_words(path: str | Path, dim: int) -> pa.StringArray:
    """Read the words of a file of vectors, in its order; a word may occur twice.

    Args:
        path: the file, as for :func:`read_vectors`.
        dim: the embedding dimension of the model.

    Raises:
        DataError: the file is missing or malformed, or its dimension is not ``dim``.
    """
    words = [words for words, _ in _scan(Path(path), dim)]
    return pa.chunked_array(words, pa.string()).combine_chunks()


def read_vectors(path: str | Path, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    """Read the vectors of a vocabulary's words; if a word occurs twice, the first one counts.

    Args:
        path: a ``.npy`` array [words, D] with its word list beside it, under the same name with
            ``.txt``; or a text file, plain or compressed, with a word and its numbers on each line,
            and fastText's header line or none.
        vocabulary: the words to look for.
        dim: the embedding dimension of the model.

    Raises:
        DataError: the file is missing or malformed, its dimension is not ``dim``, or it has none of
            the words.
    """
    row_of = {word: row for row, word in enumerate(python_strings(vocabulary.words))}
    rows: list[int] = []
    table = np.empty((len(vocabulary), dim), np.float32)  # in the order of the file
    for words, vectors in _scan(Path(path), dim):
        first, indices = len(rows), []
        for index, word in enumerate(words.to_pylist()):
            if word in row_of:
                indices.append(index)
                rows.append(row_of.pop(word))
        if indices:
            table[first : len(rows)] = vectors(np.array(indices))
    if not rows:
        raise no_vector(path, vocabulary)
    return PretrainedVectors(np.array(rows, np.int64), table[: len(rows)])


def no_vector(path: str | Path, vocabulary: Vocabulary) -> DataError:
    """Return the error for a file that has none of a vocabulary's words."""
    return DataError(f"{path}: has a vector for none of the {len(vocabulary)} words of the data")


def _scan(path: Path, dim: int) -> Iterator[Entries]:
    return (_scan_npy if path.suffix == ".npy" else _scan_text)(path, dim)


def _scan_text(path: Path, dim: int) -> Iterator[Entries]:
    import pyarrow.compute as pc

    promised, read = None, 0
    for first, lines in scan_lines(path, errors="replace"):
        numbers = np.arange(first, first + len(lines))
        lines = pc.utf8_rtrim_whitespace(lines)
        if first == 1:
            promised = _read_header(f"{path}:1", lines[0].as_py(), dim)
            if promised is not None:
                lines, numbers = lines[1:], numbers[1:]
        filled = np.diff(string_buffers(lines)[1]) > 0
        lines, numbers = lines.filter(to_arrow(filled)), numbers[filled]
        # From the right, because GloVe has words with a space in them.
        fields = pc.split_pattern(lines, " ", max_splits=dim, reverse=True)
        malformed = np.flatnonzero(to_numpy(pc.list_value_length(fields)) <= dim)
        if len(malformed):
            raise _malformed(f"{path}:{numbers[malformed[0]]}", dim)
        yield pc.list_element(fields, 0), _number_reader(path, numbers, fields, dim)
        read += len(lines)
    if promised is not None and read < promised:
        raise DataError(
            f"{path}: its header promises {promised:,} words, but it has {read:,}; "
            "it may be cut short: get it again, or correct the header"
        )


def _read_header(where: str, line: str, dim: int) -> int | None:
    """Return the number of words that fastText's header promises; None if there is no header.

    Raises:
        DataError: the dimension is not ``dim``, in the header or in the first line of numbers.
    """
    fields = line.split(" ")
    if len(fields) == 2 and all(field.isdecimal() for field in fields):
        check_dim(where, int(fields[1]), dim)
        return int(fields[0])
    if len(fields) != dim + 1 and fields != [""]:
        numbers = list(itertools.takewhile(_is_number, reversed(fields[1:])))
        if not numbers:
            raise _malformed(where, dim)
        check_dim(where, len(numbers), dim)
    return None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _number_reader(
    path: Path, line_numbers: I64, fields: pa.ListArray, dim: int
) -> Callable[[I64], F32]:
    """Return a function from the indices of lines to their numbers, [N, D]."""

    def read(indices: I64) -> F32:
        import pyarrow.compute as pc

        cells = fields.take(to_arrow(indices)).flatten()
        cells = cells.take(to_arrow(np.arange(len(cells)).reshape(-1, dim + 1)[:, 1:].ravel()))
        where = [f"{path}:{number}" for number in line_numbers[indices]]
        try:
            return finite(to_numpy(pc.cast(cells, pa.float64())).reshape(-1, dim), where)
        except pa.ArrowInvalid:  # Python reads a few more numbers, and finds the line
            rows = np.array(cells.to_pylist(), object).reshape(-1, dim)
        for row, place in zip(rows, where, strict=True):
            if not all(map(_is_number, row)):
                raise _malformed(place, dim)
        return finite(rows.astype(np.float64), where)

    return read


def _scan_npy(path: Path, dim: int) -> Iterator[Entries]:
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
    check_dim(str(path), matrix.shape[1], dim)
    list_path = path.with_suffix(".txt")
    words = [word for _, lines in scan_lines(list_path) for word in lines.to_pylist()]
    if len(words) != len(matrix):
        raise DataError(f"{list_path}: has {len(words)} words for the {len(matrix)} rows of {path}")

    def reader(start: int) -> Callable[[I64], F32]:
        return lambda indices: finite(
            matrix[start + indices], [f"{path}: row {start + index}" for index in indices]
        )

    for start in range(0, len(words), BLOCK_ROWS):
        yield string_array(words[start : start + BLOCK_ROWS]), reader(start)


def finite(numbers: Array, where: list[str]) -> F32:
    """Return numbers [N, D] as 32-bit floats.

    Args:
        numbers: the numbers.
        where: what to call each row in a message.

    Raises:
        DataError: a number is not finite.
    """
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite
        vectors = numbers.astype(np.float32)
    is_finite = np.isfinite(vectors).all(axis=1)
    if not is_finite.all():
        raise DataError(f"{where[int(is_finite.argmin())]}: holds a number that is not finite")
    return vectors


def _malformed(where: str, dim: int) -> DataError:
    return DataError(f"{where}: expected a word and {dim} numbers, with one space between them")


def check_dim(where: str, file_dim: int, dim: int) -> None:
    """Raise if vectors do not have the dimension of the model.

    Raises:
        DataError: they do not.
    """
    if file_dim != dim:
        raise DataError(f"{where}: the vectors have {file_dim} numbers; set model.dim = {file_dim}")
