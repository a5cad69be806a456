"""Pretrained vectors of every format: first their words, for the vocabulary, then the vectors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa

from fasttext_app.data.byte_stream import open_error
from fasttext_app.data.pretrained_vectors import PretrainedVectors, read_vectors, read_words
from fasttext_app.fasttext import word_vectors
from fasttext_app.text.vocabulary import Vocabulary


def pretrained_words(path: str, dim: int) -> pa.StringArray:
    """Return the words that have a vector, in the order of the file.

    Raises:
        ArtifactError: the ``.bin`` or ``.ftz`` file cannot be read.
        DataError: another file cannot be read, or its dimension is not ``dim``.
    """
    read = word_vectors.read_words if _is_model_file(path) else read_words
    return read(path, dim)


def pretrained_vectors(path: str, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    """Return the vectors of a vocabulary's words.

    Raises:
        ArtifactError: the ``.bin`` or ``.ftz`` file cannot be read.
        DataError: another file cannot be read, its dimension is not ``dim``, or it has none of the
            words.
    """
    read = word_vectors.read_vectors if _is_model_file(path) else read_vectors
    return read(path, vocabulary, dim)


def pretrained_digest(path: str) -> str:
    """Return the SHA-256 of a file of vectors.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise open_error(Path(path), error) from None


def _is_model_file(path: str) -> bool:
    return path.endswith((".bin", ".ftz"))
