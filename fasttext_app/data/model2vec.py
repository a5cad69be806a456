"""Tables of model2vec as word vectors: ``model2vec:PATH``, where PATH is a folder or a hub id.

Such a table has a vector for each token of its own tokenizer. A word of ours gets the vector that
model2vec gives the word alone, the mean of its tokens. If our tokenizer yields tokens of that kind
itself (``hf:PATH``), a token gets its own row of the table.

The library reads the table; it knows the layouts of folders, quantized tables and the hub's cache.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import Array
from fasttext_app.core.arrow import python_strings, string_array
from fasttext_app.data.pretrained_vectors import PretrainedVectors, check_dim, finite, no_vector
from fasttext_app.errors import DataError, missing_package
from fasttext_app.text.vocabulary import Vocabulary

PREFIX = "model2vec:"


def read_words(name: str, dim: int, *, tokens: bool = False) -> pa.StringArray:
    """Return the words that are one token of a table, in the order of the table.

    Args:
        name: the table, with its prefix.
        dim: the embedding dimension of the model.
        tokens: return all tokens instead.

    Raises:
        DataError: the table cannot be read, or its dimension is not ``dim``.
        MissingDependencyError: model2vec is not installed.
    """
    model = _open(name, dim)
    if tokens:
        return string_array(model.tokens)
    ids = [[index] for index in range(len(model.tokens))]
    words = [word.strip() for word in model.tokenizer.decode_batch(ids)]  # "" for special tokens
    # A token that only occurs inside of words, such as "##ing", is another token on its own.
    pairs = zip(words, model.tokenize(words), ids, strict=True)
    return string_array([word for word, alone, own in pairs if word and alone == own])


def read_vectors(
    name: str, vocabulary: Vocabulary, dim: int, *, tokens: bool = False
) -> PretrainedVectors:
    """Return the vectors of a vocabulary's words, of those that have a known token.

    Args:
        name: the table, with its prefix.
        vocabulary: the words.
        dim: the embedding dimension of the model.
        tokens: whether the words are tokens, which have a row of their own.

    Raises:
        DataError: the table cannot be read, its dimension is not ``dim``, or it knows none of the
            words.
        MissingDependencyError: model2vec is not installed.
    """
    model = _open(name, dim)
    words = python_strings(vocabulary.words)
    if tokens:
        id_of = {token: index for index, token in enumerate(model.tokens)}
        is_known = [word in id_of for word in words]
    else:
        words = [word.encode("utf-8", "ignore").decode() for word in words]
        is_known = [bool(ids) for ids in model.tokenize(words)]
    rows = np.flatnonzero(is_known)
    if not len(rows):
        raise no_vector(name, vocabulary)
    known = [words[row] for row in rows]
    if tokens:
        vectors = _token_rows(model, np.array([id_of[word] for word in known]))
    else:
        vectors = model.encode(known, use_multiprocessing=False)
    return PretrainedVectors(rows, finite(vectors, [f"{name}: {word!r}" for word in known]))


def table_digest(name: str) -> str:
    """Return the SHA-256 of a table and its tokenizer.

    Raises:
        DataError: the table cannot be read.
        MissingDependencyError: model2vec is not installed.
    """
    model = _open(name)
    digest = hashlib.sha256(model.tokenizer.to_str().encode())
    for array in (model.embedding, model.weights, model.token_mapping):
        if array is not None:
            digest.update(array.tobytes())
    return digest.hexdigest()


def _open(name: str, dim: int | None = None) -> Any:
    """Load a table, and check its dimension unless ``dim`` is None."""
    try:
        from model2vec import StaticModel
    except ImportError:
        raise missing_package(f'model.pretrained = "{name}"', "model2vec", "model2vec") from None
    path = Path(name.removeprefix(PREFIX))
    is_local = path.exists()
    if not is_local and len(path.parts) != 2:
        raise DataError(f"{name}: there is no such folder; name a folder, or OWNER/NAME of the hub")
    try:
        model = StaticModel.from_pretrained(path, force_download=False)
    except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exception, the hub its own
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        if is_local:
            raise DataError(f"{name}: is not a complete table of model2vec: {reason}") from None
        raise DataError(
            f"{name}: there is no such folder, and the hub gave no table: {reason}; name the "
            "folder of a table, or download it first"
        ) from None
    if dim is not None:
        check_dim(name, model.dim, dim)
    return model


def _token_rows(model: Any, ids: Array) -> Array:
    """Return the vectors of some tokens, [N, D]."""
    rows: Array = model.embedding[ids if model.token_mapping is None else model.token_mapping[ids]]
    return rows if model.weights is None else rows * model.weights[ids, None]
