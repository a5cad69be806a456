"""Pretrained vectors of every format: first their words, for the vocabulary, then the vectors."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from fasttext_app.config.schema import ModelConfig
from fasttext_app.core.digest import file_digest
from fasttext_app.data import model2vec
from fasttext_app.data.byte_stream import open_error
from fasttext_app.data.pretrained_vectors import PretrainedVectors, read_vectors, read_words
from fasttext_app.fasttext import word_vectors
from fasttext_app.text.vocabulary import Vocabulary


def pretrained_words(model: ModelConfig, *, tokens: bool = False) -> pa.StringArray:
    """Return the words that have a vector, in the order of the file.

    Args:
        model: the settings ``pretrained`` and ``dim``.
        tokens: whether the tokenizer yields tokens of the kind that model2vec has, not words.

    Raises:
        ArtifactError: the ``.bin`` or ``.ftz`` file cannot be read.
        DataError: another file cannot be read, or its dimension is not ``dim``.
        MissingDependencyError: model2vec is needed and not installed.
    """
    path = _path(model)
    if path.startswith(model2vec.PREFIX):
        return model2vec.read_words(path, model.dim, tokens=tokens)
    read = word_vectors.read_words if _is_model_file(path) else read_words
    return read(path, model.dim)


def pretrained_vectors(
    model: ModelConfig, vocabulary: Vocabulary, *, tokens: bool = False
) -> PretrainedVectors:
    """Return the vectors of a vocabulary's words.

    Args:
        model: the settings ``pretrained`` and ``dim``.
        vocabulary: the words.
        tokens: as for :func:`pretrained_words`.

    Raises:
        ArtifactError: the ``.bin`` or ``.ftz`` file cannot be read.
        DataError: another file cannot be read, its dimension is not ``dim``, or it has none of the
            words.
        MissingDependencyError: model2vec is needed and not installed.
    """
    path = _path(model)
    if path.startswith(model2vec.PREFIX):
        return model2vec.read_vectors(path, vocabulary, model.dim, tokens=tokens)
    read = word_vectors.read_vectors if _is_model_file(path) else read_vectors
    return read(path, vocabulary, model.dim)


def pretrained_digest(path: str) -> str:
    """Return the SHA-256 of a file of vectors, or of a table of model2vec.

    Raises:
        DataError: it cannot be read.
    """
    if path.startswith(model2vec.PREFIX):
        return model2vec.table_digest(path)
    try:
        return file_digest(Path(path))
    except OSError as error:
        raise open_error(Path(path), error) from None


def _path(model: ModelConfig) -> str:
    assert model.pretrained is not None
    return model.pretrained


def _is_model_file(path: str) -> bool:
    return path.endswith((".bin", ".ftz"))
