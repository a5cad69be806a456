"""Explanations: what each word and n-gram of a text adds to the logit of a label.

A logit is linear in the vector of a text, and that vector is made of the rows of its features. So
it splits exactly into the bias and one part for each of the n features that have a row:

======  ============================================================================
mode    part of feature i with row e, in the logit of a label with weights w
======  ============================================================================
mean    ``w . e / n``
sum     ``w . e``, times the tf-idf weight if there is one
max     sum of ``w[d] * e[d]`` over the dimensions d in which e is the largest; the
        first feature wins a tie
======  ============================================================================
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F64, Array
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.data.labels import find_label
from fasttext_app.errors import ConfigError
from fasttext_app.inference.forward import table_rows
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.metrics import top_k_classes
from fasttext_app.model.product_quantizer import dense
from fasttext_app.text.chunks import TextLike, as_chunks, one_text
from fasttext_app.text.features import WORD, Kind, TextFeature, text_features
from fasttext_app.text.spans import Span
from fasttext_app.text.tfidf import tfidf_weights

BLOCK = 1 << 16  # rows that are scored at a time
MIN_SHARE = 0.05  # of the largest value; a piece that adds less is not colored

TextScan: TypeAlias = Callable[[], Iterable[TextLike]]
"""Reads texts from the start at each call."""

Piece: TypeAlias = tuple[str, float | None]
"""A token and what it adds, or the text between two tokens and None."""


@dataclass(frozen=True)
class Contribution:
    """A feature at its position in the text, and what it adds to the logit."""

    feature: TextFeature
    value: float
    """0 for a feature without a row."""


@dataclass(frozen=True)
class Total:
    """A word or n-gram, and what it adds at all its positions together."""

    name: str
    kind: Kind
    count: int
    value: float


@dataclass(frozen=True)
class Explanation:
    """A logit in parts: ``bias`` and all contributions sum to ``logit``, up to float rounding.

    With ``against``, it is the difference of two logits: for a softmax, the log of the odds.
    """

    text: str
    label: str
    against: str | None
    probability: float
    logit: float
    bias: float
    tokens: tuple[str, ...]
    spans: tuple[Span, ...] | None
    """Position of each token in ``text``; None if the tokenizer does not tell."""
    contributions: tuple[Contribution, ...]
    """In the order of the bag: words with their character n-grams, then word n-grams."""

    def token_values(self) -> list[float]:
        """Return what each token adds: its own value, and an equal part of each of its n-grams."""
        values = [0.0] * len(self.tokens)
        for part in self.contributions:
            positions = range(part.feature.start, part.feature.end)
            for position in positions:
                values[position] += part.value / len(positions)
        return values

    def totals(self) -> list[Total]:
        """Return each distinct feature that has a row, in descending order of its value."""
        values: dict[tuple[Kind, str], list[float]] = {}
        for part in self.contributions:
            if part.feature.row is not None:
                values.setdefault((part.feature.kind, part.feature.name), []).append(part.value)
        totals = [Total(name, kind, len(v), sum(v)) for (kind, name), v in values.items()]
        return sorted(totals, key=lambda total: -total.value)

    def unknown(self) -> list[str]:
        """Return the distinct words and n-grams without a row; they add nothing."""
        features = (part.feature for part in self.contributions)
        return list(dict.fromkeys(feature.name for feature in features if feature.row is None))

    def pieces(self) -> list[Piece]:
        """Return the text as tokens with their values and the text between them.

        Where tokens overlap (such as pairs of letters), the text is cut at all their ends, and each
        token gives its parts a share by their length. If the positions of the tokens are unknown,
        they are joined by spaces.
        """
        valued = list(zip(self.tokens, self.token_values(), strict=True))
        if self.spans is None:
            spaced: list[Piece] = [piece for pair in valued for piece in ((" ", None), pair)]
            return spaced[1:]
        bounds = sorted({0, len(self.text), *chain.from_iterable(self.spans)})
        values: list[float | None] = [None] * len(bounds)  # of the piece that begins at each bound
        outside: dict[int, list[Piece]] = {}  # tokens that are not in the text, by their place
        for (token, value), (start, end) in zip(valued, self.spans, strict=True):
            if start == end:
                outside.setdefault(start, []).append((token, value))
            first, last = (bisect_left(bounds, bound) for bound in (start, end))
            for index in range(first, last):
                share = (bounds[index + 1] - bounds[index]) / (end - start)
                values[index] = (values[index] or 0.0) + value * share
        pieces: list[Piece] = []
        for (start, end), total in zip(pairwise([*bounds, bounds[-1]]), values, strict=True):
            pieces += [*outside.get(start, []), (self.text[start:end], total)]
        return [piece for piece in pieces if piece[0]]

    def shaded_pieces(self) -> list[tuple[str, float | None, float]]:
        """Return the pieces, each with its value and the share to color it by, from -1 to 1.

        The share is that of the largest value of a piece, and 0 if it is too small to be seen.
        """
        pieces = self.pieces()
        largest = max((abs(value) for _, value in pieces if value is not None), default=0.0)
        shaded = []
        for text, value in pieces:
            share = value / largest if value is not None and largest else 0.0
            shaded.append((text, value, share if abs(share) >= MIN_SHARE else 0.0))
        return shaded

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``docs/explain.md`` lists the keys."""
        spans: Sequence[Span | tuple[None, None]] = self.spans or [(None, None)] * len(self.tokens)
        tokens = [
            {"token": token, "start": start, "end": end, "value": value}
            for token, (start, end), value in zip(
                self.tokens, spans, self.token_values(), strict=True
            )
        ]
        features = [{**asdict(part.feature), "value": part.value} for part in self.contributions]
        keys = ("text", "label", "against", "probability", "logit", "bias")
        return {
            **{key: getattr(self, key) for key in keys},
            "tokens": tokens,
            "features": features,
        }


@dataclass(frozen=True)
class LabelFeature:
    """A word or n-gram, and what it adds to the logit of a label in a text without any other."""

    name: str
    kind: Kind
    count: int
    """How often it occurs in the training texts, or in the texts that were searched."""
    value: float
    sharing: int = 0
    """How many other n-grams of those texts have the same hash bucket, and so the same row."""


def explain(
    model: Predictor, text: str, label: str | None = None, against: str | None = None
) -> Explanation:
    """Split the logit of a label for a text; see :meth:`.TextClassifier.explain`."""
    text = one_text(text)
    logits = model.logits([text])
    if label is None:
        label = model.labels[top_k_classes(logits, 1)[0, 0]]
    weight, bias = _direction(model, label, against)
    tokenizer = model.encoder.tokenizer
    tokens = tokenizer.split([text])[0]
    features = text_features(tokens, model.encoder)
    rows = [feature.row for feature in features if feature.row is not None]
    values = iter(_parts(model, np.array(rows, np.int32), weight).tolist())
    contributions = [
        Contribution(feature, 0.0 if feature.row is None else next(values)) for feature in features
    ]
    index = find_label(label, model.labels)
    logit = float(logits[0, index])
    if against is not None:
        logit -= float(logits[0, find_label(against, model.labels)])
    return Explanation(
        text=text,
        label=label,
        against=against,
        probability=float(model.head.probabilities(logits)[0, index]),
        logit=logit,
        bias=bias,
        tokens=tuple(tokens),
        spans=None if tokenizer.spans is None else tuple(tokenizer.spans(text)),
        contributions=tuple(contributions),
    )


def label_features(
    model: Predictor,
    label: str,
    top: int = 10,
    *,
    against: str | None = None,
    scan: TextScan | None = None,
) -> list[LabelFeature]:
    """Return the features that add most to the logit of a label, in descending order.

    A model does not know the names of its hashed n-grams. With ``scan``, the features are the words
    and n-grams of the texts, named and counted there; without it, the words of the vocabulary.

    Args:
        model: the model.
        label: the label.
        top: how many features to return.
        against: rank by the difference to the logit of this label.
        scan: reads the texts; called twice.

    Raises:
        ConfigError: the model does not have a label, its loss has no additive logits, or ``top`` is
            below 1.
    """
    if top < 1:
        raise ConfigError(f"top = {top}: must be at least 1")
    weight, _ = _direction(model, label, against)
    if scan is not None:
        return _named_features(model, weight, top, scan)
    vocabulary = model.encoder.vocabulary
    scores = _row_scores(model, np.arange(len(vocabulary)), weight)
    best = np.argsort(-scores, kind="stable")[:top].tolist()
    words = python_strings(vocabulary.words)
    return [
        LabelFeature(words[row], WORD, int(vocabulary.counts[row]), float(scores[row]))
        for row in best
    ]


def _direction(model: Predictor, label: str, against: str | None) -> tuple[F64, float]:
    """Return the weights [D] and bias of the logit of a label, or of its difference to another."""
    if model.head.not_additive:
        raise ConfigError(
            f'model.loss = "{model.config.model.loss}": {model.head.not_additive}; explain a model '
            "with another loss"
        )
    weights = dense(model.artifact.weight).astype(np.float64)
    biases = model.artifact.tensors["bias"].astype(np.float64)
    index = find_label(label, model.labels)
    if against is None:
        return weights[index], float(biases[index])
    other = find_label(against, model.labels)
    if index == other:
        raise ConfigError(f"{label!r} cannot be explained against itself; name another label")
    return weights[index] - weights[other], float(biases[index] - biases[other])


def _parts(model: Predictor, ids: Array, weight: F64) -> F64:
    """Return what each id of one bag adds to the logit, [N]."""
    config, tensors = model.config.model, model.artifact.tensors
    parts = np.zeros(len(ids))
    used = np.flatnonzero(ids != config.padding_idx)
    if not len(used):
        return parts
    vectors = table_rows(model.artifact.table, ids[used], tensors.get("scale"))
    if config.mode == "max":
        winners = used[vectors.argmax(axis=0)]  # [D]
        np.add.at(parts, winners, weight * vectors.max(axis=0))
        return parts
    parts[used] = vectors @ weight
    if config.mode == "mean":
        parts /= len(used)
    if "idf" in tensors:
        parts *= tfidf_weights(Ragged(ids, np.array([0, len(ids)])), tensors["idf"])
    return parts


def _row_scores(model: Predictor, rows: Array, weight: F64) -> F64:
    """Return what each row adds to the logit in a text of nothing else, [rows]."""
    scale, table = model.artifact.tensors.get("scale"), model.artifact.table
    blocks = [
        table_rows(table, rows[start : start + BLOCK], scale) @ weight
        for start in range(0, len(rows), BLOCK)
    ]
    scores = np.concatenate([np.zeros(0), *blocks])
    scores[rows == model.config.model.padding_idx] = 0.0
    return scores


def _named_features(model: Predictor, weight: F64, top: int, scan: TextScan) -> list[LabelFeature]:
    # First pass: find the best of the rows that occur in the texts.
    counts = np.zeros(model.encoder.rows, np.int64)
    for _, bags in _encoded(model, scan):
        np.add.at(counts, bags.indices, 1)
    rows = np.flatnonzero(counts)
    scores = _row_scores(model, rows, weight)
    best = np.argsort(-scores, kind="stable")[:top]
    value_of = dict(zip(rows[best].tolist(), scores[best].tolist(), strict=True))
    # Second pass: count the words and n-grams that these rows stand for.
    is_best = np.zeros(model.encoder.rows, np.bool_)
    is_best[rows[best]] = True
    names: dict[int, Counter[tuple[str, Kind]]] = {row: Counter() for row in value_of}
    for texts, bags in _encoded(model, scan):
        bag_of_id = np.repeat(np.arange(len(bags)), bags.lengths)
        with_best = np.unique(bag_of_id[is_best[bags.indices]]).tolist()
        for tokens in model.encoder.tokenizer.split([texts[index].as_py() for index in with_best]):
            for feature in text_features(tokens, model.encoder):
                if feature.row is not None and feature.row in value_of:
                    names[feature.row][feature.name, feature.kind] += 1
    # A row is named after its most frequent feature.
    named = []
    for row, features in names.items():
        (name, kind), count = min(features.items(), key=lambda item: (-item[1], item[0]))
        named.append(LabelFeature(name, kind, count, value_of[row], len(features) - 1))
    return named


def _encoded(model: Predictor, scan: TextScan) -> Iterable[tuple[pa.StringArray, Ragged]]:
    def encode(chunk: pa.StringArray) -> tuple[pa.StringArray, Ragged]:
        return chunk, model.encoder.encode_chunk(chunk)

    chunks = (chunk for texts in scan() for chunk in as_chunks(texts))
    return map_threads(encode, chunks, model.threads)
