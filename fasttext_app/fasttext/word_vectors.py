"""``WordVectors``: the vectors of words and sentences in a fastText model, and what is near what.

The rules are the original's: the vector of a word is the mean of its row and the rows of its
character n-grams, so words that were never seen have one too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from fasttext_app.core.arrays import F32, Array
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.data.pretrained_vectors import PretrainedVectors
from fasttext_app.errors import ArtifactError, DataError
from fasttext_app.fasttext.convert import column_of, label_prefix, ordered_table
from fasttext_app.fasttext.file_format import FastTextFile, read_file
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.product_quantizer import Coded, dense
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.fasttext_tokenizer import split_words
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.vocabulary import Vocabulary

Neighbor = tuple[float, str]
"""The cosine of the angle between two vectors, and the word."""


class WordVectors:
    """Looks up vectors.

    Args:
        encoder: says which rows a word has.
        table: [V, D].
        supervised: whether it is a classifier's table: a sentence is then the mean of all that its
            line has, else the mean of its words at length 1.
        scale: what each row is multiplied by, [V]; None: rows are as they are.
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

    @property
    def dim(self) -> int:
        """D."""
        return int(self.table.shape[1])

    @cached_property
    def words(self) -> list[str]:
        """The V words, the most frequent first."""
        return python_strings(self.encoder.vocabulary.words)

    def subwords(self, word: str) -> tuple[list[str], list[int]]:
        """Return the word, if it has a row, and its character n-grams, with their rows."""
        row = self.encoder.vocabulary.row(word)
        names, rows = ([word], [row]) if row >= 0 else ([], [])
        for name, value in self.encoder.char_ngrams(word):
            for found in self.encoder.hashed.rows([value]):
                names.append(name)
                rows.append(found)
        return names, rows

    def rows(self, numbers: list[int]) -> F32:
        """Return some rows of the table."""
        chosen = np.array(numbers, np.int64)
        found: F32 = self.table[chosen].astype(np.float32)
        return found if self._scale is None else found * self._scale[chosen, None]

    def word(self, word: str) -> F32:
        """Return the vector of a word, [D]; zeros where nothing is known of it."""
        return self._mean(self.subwords(word)[1])

    def sentence(self, text: str) -> F32:
        """Return the vector of a line, [D]."""
        if self._supervised:
            return self._mean(self.encoder.encode_few([text]).indices.tolist())
        vectors = [self.word(word) for word in split_words(text)]
        norms = [float(np.linalg.norm(vector)) for vector in vectors]
        unit = [vector / norm for vector, norm in zip(vectors, norms, strict=True) if norm > 0]
        return np.mean(unit, axis=0, dtype=np.float32) if unit else np.zeros(self.dim, np.float32)

    def _mean(self, rows: list[int]) -> F32:
        if not rows:
            return np.zeros(self.dim, np.float32)
        mean: F32 = self.rows(rows).mean(axis=0, dtype=np.float32)
        return mean

    def nearest(self, word: str, k: int = 10) -> list[Neighbor]:
        """Return the words whose vectors point most nearly the same way, the nearest first."""
        return self._nearest(self.word(word), k, {word})

    def analogies(self, minus: str, from_: str, plus: str, k: int = 10) -> list[Neighbor]:
        """Return the words nearest to ``minus - from_ + plus``, each taken at length 1."""
        parts = [self.word(word) for word in (minus, from_, plus)]
        one, two, three = (part / (float(np.linalg.norm(part)) + 1e-8) for part in parts)
        return self._nearest(one - two + three, k, {minus, from_, plus})

    def _nearest(self, query: F32, k: int, banned: set[str]) -> list[Neighbor]:
        norm = float(np.linalg.norm(query))
        scores = self._unit_vectors @ (query / (norm if norm > 1e-8 else 1.0))
        most = min(k + len(banned), len(scores))
        best = np.argsort(-scores, kind="stable")[:most]
        named = [(float(scores[row]), self.words[row]) for row in best]
        return [entry for entry in named if entry[1] not in banned][:k]

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
    """Return the vectors of a fastText file of word vectors."""
    settings = file.settings
    maxn = settings.maxn if settings.maxn >= max(settings.minn, 1) else 0
    table, kept = ordered_table(file, hashed=maxn > 0)
    encoder = TextEncoder(
        load_tokenizer("fasttext"),
        Vocabulary(column_of(file.words), file.word_counts),
        minn=settings.minn if maxn else 0,
        maxn=maxn,
        bucket=settings.bucket if maxn else 0,
        kept=kept,
    )
    return WordVectors(encoder, table, supervised=False)


def numbers_line(vector: F32) -> str:
    """Return the numbers of a vector as the original prints them.

    >>> numbers_line(np.array([0.5, -1.234567, 3], np.float32))
    '0.5 -1.2346 3 '
    """
    return "".join(f"{number:.5g} " for number in vector.tolist())


def write_vectors(vectors: WordVectors, path: str | Path) -> None:
    """Write a ``.vec`` file: ``words dim``, then each word and its numbers.

    Raises:
        ArtifactError: it cannot be written.
    """
    named = ((word, vectors.word(word)) for word in vectors.words)
    _write(named, (len(vectors.words), vectors.dim), path)


def write_outputs(artifact: Artifact, path: str | Path) -> None:
    """Write the rows of the linear layer in the same form, as the original's ``-saveOutput`` does.

    Raises:
        ArtifactError: it cannot be written.
    """
    prefix, weight = label_prefix(artifact), dense(artifact.weight)
    named = ((prefix + name, row) for name, row in zip(artifact.labels.names, weight, strict=True))
    _write(named, weight.shape, path)


def _write(named: Iterable[tuple[str, F32]], shape: tuple[int, ...], path: str | Path) -> None:
    with atomic_file(path, ArtifactError) as place, place.open("wb") as file:
        file.write(f"{shape[0]} {shape[1]}\n".encode())
        for name, numbers in named:
            file.write(f"{name} {numbers_line(numbers)}\n".encode("utf-8", "surrogateescape"))


def pretrained_vectors(path: str | Path, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    """Read the vectors of words from a ``.bin`` or ``.ftz`` file.

    A word that the file does not have gets the mean of its character n-grams, where there are some.

    Raises:
        ArtifactError: the file cannot be read.
        DataError: its vectors are of another dimension, or it knows none of the words.
    """
    vectors = file_vectors(read_file(path))
    if vectors.dim != dim:
        raise DataError(
            f"{path}: the vectors have {vectors.dim} numbers; set model.dim = {vectors.dim}"
        )
    rows, found = [], []
    for row, word in enumerate(python_strings(vocabulary.words)):
        _, numbers = vectors.subwords(word)
        if numbers:
            rows.append(row)
            found.append(vectors.rows(numbers).mean(axis=0, dtype=np.float32))
    if not rows:
        raise DataError(f"{path}: has a vector for none of the {len(vocabulary)} words of the data")
    return PretrainedVectors(np.array(rows, np.int64), np.stack(found))
