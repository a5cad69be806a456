"""``WordVectors``: the vectors of words and sentences in a model, and the words near a vector.

As in fastText, the vector of a word is the mean of its row and the rows of its character n-grams,
so a word that training never saw can have one too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F32, Array
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.core.pickling import state_without_caches
from fasttext_app.data.pretrained_vectors import PretrainedVectors, no_vector
from fasttext_app.errors import ArtifactError, DataError
from fasttext_app.fasttext.convert import input_table, label_words, vocabulary_of
from fasttext_app.fasttext.file_format import FastTextFile, read_file
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.product_quantizer import Coded, dense
from fasttext_app.model.tensor_file import check_weights
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.fasttext_tokenizer import split_words
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.vocabulary import Vocabulary

BLOCK_WORDS = 4096  # whose pretrained vectors are computed at a time

Neighbor = tuple[float, str]
"""A cosine similarity, and the word that has it."""


class WordVectors:
    """Looks up vectors.

    Args:
        encoder: maps words and texts to rows.
        table: [V, D].
        supervised: whether the table belongs to a classifier. The vector of a sentence is then the
            mean of all rows of its line, otherwise the mean of its words' vectors at length 1.
        scale: a factor for each row, [V]; None: 1.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        table: Array | Coded,
        *,
        supervised: bool,
        scale: F32 | None = None,
    ) -> None:
        self.encoder, self.table = encoder, table
        self._supervised, self._scale = supervised, scale

    __getstate__ = state_without_caches

    @property
    def dim(self) -> int:
        """The dimension D of the vectors."""
        return int(self.table.shape[1])

    @cached_property
    def words(self) -> list[str]:
        """The words of the vocabulary, the most frequent first."""
        return python_strings(self.encoder.vocabulary.words)

    def subwords(self, word: str) -> tuple[list[str], list[int]]:
        """Return the word and its character n-grams, those that have a row, with their rows."""
        row = self.encoder.vocabulary.row(word)
        names, rows = ([word], [row]) if row >= 0 else ([], [])
        for ngram, ngram_hash in self.encoder.char_ngrams(word):
            for ngram_row in self.encoder.buckets.rows([ngram_hash]):
                names.append(ngram)
                rows.append(ngram_row)
        return names, rows

    def rows(self, row_ids: list[int]) -> F32:
        """Return some rows of the table, [N, D]."""
        index = np.array(row_ids, np.int64)
        rows: F32 = self.table[index].astype(np.float32)
        return rows if self._scale is None else rows * self._scale[index, None]

    def word(self, word: str) -> F32:
        """Return the vector of a word, [D]; zeros if neither it nor an n-gram of it has a row."""
        return self._mean(self.subwords(word)[1])

    def sentence(self, text: str) -> F32:
        """Return the vector of a line, [D]."""
        if self._supervised:
            return self._mean(self.encoder.encode_plain([text]).indices.tolist())
        vectors = [self.word(word) for word in split_words(text)]
        norms = [float(np.linalg.norm(vector)) for vector in vectors]
        unit = [vector / norm for vector, norm in zip(vectors, norms, strict=True) if norm > 0]
        return np.mean(unit, axis=0, dtype=np.float32) if unit else np.zeros(self.dim, np.float32)

    def _mean(self, row_ids: list[int]) -> F32:
        if not row_ids:
            return np.zeros(self.dim, np.float32)
        mean: F32 = self.rows(row_ids).mean(axis=0, dtype=np.float32)
        return mean

    def nearest(self, word: str, k: int = 10) -> list[Neighbor]:
        """Return the k words most similar to a word by cosine, the most similar first."""
        return self._nearest(self.word(word), k, exclude={word})

    def analogies(self, minus: str, from_: str, plus: str, k: int = 10) -> list[Neighbor]:
        """Return the k words nearest to ``minus - from_ + plus``, each scaled to length 1."""
        vectors = [self.word(word) for word in (minus, from_, plus)]
        a, b, c = (vector / (float(np.linalg.norm(vector)) + 1e-8) for vector in vectors)
        return self._nearest(a - b + c, k, exclude={minus, from_, plus})

    def _nearest(self, query: F32, k: int, exclude: set[str]) -> list[Neighbor]:
        norm = float(np.linalg.norm(query))
        scores = self._unit_vectors @ (query / (norm if norm > 1e-8 else 1.0))
        best = np.argsort(-scores, kind="stable")[: k + len(exclude)]
        neighbors = [(float(scores[row]), self.words[row]) for row in best]
        return [neighbor for neighbor in neighbors if neighbor[1] not in exclude][:k]

    @cached_property
    def _unit_vectors(self) -> F32:
        vectors = np.stack([self.word(word) for word in self.words])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: F32 = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        return unit


def classifier_vectors(encoder: TextEncoder, artifact: Artifact) -> WordVectors:
    """Return the vectors of a classifier's table."""
    scale = artifact.tensors.get("scale")
    return WordVectors(encoder, artifact.table, supervised=True, scale=scale)


def file_vectors(file: FastTextFile) -> WordVectors:
    """Return the vectors of a fastText file of word vectors.

    Raises:
        ArtifactError: a weight is not finite.
    """
    args = file.args
    maxn = args.maxn if args.maxn >= max(args.minn, 1) else 0
    table, buckets = input_table(file, hashed=maxn > 0)
    try:
        check_weights(table.tensors() if isinstance(table, Coded) else {"table": table})
    except ValueError as error:
        raise ArtifactError(f"the word vectors cannot be used: {error}") from None
    encoder = TextEncoder(
        load_tokenizer("fasttext"),
        vocabulary_of(file.dictionary),
        minn=args.minn if maxn else 0,
        maxn=maxn,
        bucket=args.bucket if maxn else 0,
        bucket_ids=buckets,
    )
    return WordVectors(encoder, table, supervised=False)


def read_words(path: str | Path, dim: int) -> pa.StringArray:
    """Return the words of a ``.bin`` or ``.ftz`` file whose vectors have dimension ``dim``.

    Raises:
        ArtifactError: the file cannot be read.
        DataError: its vectors have another dimension.
    """
    return _open(path, dim).encoder.vocabulary.words


def read_vectors(path: str | Path, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    """Read the vectors of a vocabulary's words from a ``.bin`` or ``.ftz`` file.

    A word that the file lacks gets the mean of its character n-grams, if any has a row.

    Raises:
        ArtifactError: the file cannot be read.
        DataError: its vectors have another dimension, or it knows none of the words.
    """
    vectors = _open(path, dim)
    bags = vectors.encoder.encode_words(vocabulary.words)
    rows = np.flatnonzero(bags.lengths)
    if not len(rows):
        raise no_vector(path, vocabulary)
    means = np.empty((len(rows), dim), np.float32)
    for start in range(0, len(rows), BLOCK_WORDS):
        block = bags.take(rows[start : start + BLOCK_WORDS])
        values = vectors.table[block.indices].astype(np.float32)
        sums = np.add.reduceat(values, block.offsets[:-1])
        means[start : start + BLOCK_WORDS] = sums / block.lengths[:, None].astype(np.float32)
    return PretrainedVectors(rows, means)


def _open(path: str | Path, dim: int) -> WordVectors:
    vectors = file_vectors(read_file(path))
    if vectors.dim != dim:
        raise DataError(
            f"{path}: its vectors have dimension {vectors.dim}; set model.dim = {vectors.dim}"
        )
    return vectors


def write_vectors(vectors: WordVectors, path: str | Path) -> None:
    """Write a ``.vec`` file: a line with the number of words and D, then a line for each word.

    Raises:
        ArtifactError: it cannot be written.
    """
    named = ((word, vectors.word(word)) for word in vectors.words)
    _write(path, (len(vectors.words), vectors.dim), named)


def write_output_vectors(artifact: Artifact, path: str | Path) -> None:
    """Write the rows of the linear layer in the same form, as the original's ``-saveOutput`` does.

    Raises:
        ArtifactError: it cannot be written.
    """
    weight = dense(artifact.weight)
    _write(path, weight.shape, zip(label_words(artifact), weight, strict=True))


def _write(path: str | Path, shape: tuple[int, ...], named: Iterable[tuple[str, F32]]) -> None:
    with atomic_file(path, ArtifactError) as partial, partial.open("wb") as file:
        file.write(f"{shape[0]} {shape[1]}\n".encode())
        for name, vector in named:
            file.write(f"{name} {vector_line(vector)}\n".encode("utf-8", "surrogateescape"))


def vector_line(vector: F32) -> str:
    """Return the values of a vector as the original prints them.

    >>> vector_line(np.array([0.5, -1.234567, 3], np.float32))
    '0.5 -1.2346 3 '
    """
    return "".join(f"{value:.5g} " for value in vector.tolist())
