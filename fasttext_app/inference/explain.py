"""Why a label: what each word and n-gram of a text adds to its logit.

A logit is linear in the vector of the text, which is made of the rows of its features. So it falls
apart, exactly, into the bias and one part for each of the n features that have a row:

======  ============================================================================
mode    what feature i with the row e adds to the logit of the label with weights w
======  ============================================================================
mean    ``w . e / n``
sum     ``w . e``, times its weight where there is tf-idf
max     the sum of ``w[d] * e[d]`` over the dimensions d in which e is the largest,
        the first of equals
======  ============================================================================

The hierarchical softmax has no such parts: a label is a way down a tree, each turn a logit of its
own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttext_app.core.arrays import F64, Array
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import ConfigError, did_you_mean
from fasttext_app.inference.forward import table_rows
from fasttext_app.model.heads import probabilities
from fasttext_app.model.metrics import top_k_classes
from fasttext_app.model.product_quantizer import dense
from fasttext_app.text.encoder import TextLike, as_chunks
from fasttext_app.text.features import WORD, Kind, TextFeature, text_features
from fasttext_app.text.spans import Span
from fasttext_app.text.tfidf import tfidf_weights

if TYPE_CHECKING:
    import pyarrow as pa

    from fasttext_app.inference.predictor import Predictor


BLOCK = 1 << 16  # rows that are scored at a time
NAMED_LABELS = 20

TextScan: TypeAlias = Callable[[], Iterable[TextLike]]
"""Reads texts from the start at each call."""

Piece: TypeAlias = tuple[str, float | None]
"""A part of a text, and what it adds; None between tokens."""


@dataclass(frozen=True)
class Contribution:
    """What a feature adds to the logit, where it stands in the text."""

    feature: TextFeature
    value: float
    """0 for a feature without a row, which is unknown to the model."""


@dataclass(frozen=True)
class Total:
    """What a word or an n-gram adds in all the places where it stands."""

    name: str
    kind: Kind
    count: int
    value: float


@dataclass(frozen=True)
class Explanation:
    """A logit in parts: ``bias`` and all contributions add up to ``logit``, to float rounding.

    With ``against`` it is the difference of two logits; with softmax, the log of the odds.
    """

    text: str
    label: str
    against: str | None
    probability: float
    logit: float
    bias: float
    tokens: tuple[str, ...]
    spans: tuple[Span, ...] | None
    """Where each token stands in ``text``; None where the tokenizer cannot tell."""
    contributions: tuple[Contribution, ...]
    """By their order in the bag: words with their character n-grams, then word n-grams."""

    def token_values(self) -> list[float]:
        """Return what each token adds: itself, and its even part of the n-grams it stands in."""
        values = [0.0] * len(self.tokens)
        for part in self.contributions:
            places = range(part.feature.start, part.feature.end)
            for place in places:
                values[place] += part.value / len(places)
        return values

    def totals(self) -> list[Total]:
        """Return the features that the model knows, each once, those that add most first."""
        found: dict[tuple[Kind, str], list[float]] = {}
        for part in self.contributions:
            if part.feature.row is not None:
                found.setdefault((part.feature.kind, part.feature.name), []).append(part.value)
        totals = [Total(name, kind, len(v), sum(v)) for (kind, name), v in found.items()]
        return sorted(totals, key=lambda total: -total.value)

    def unknown(self) -> list[str]:
        """Return the words and n-grams that have no row, each once; they add nothing."""
        parts = (part.feature for part in self.contributions)
        return list(dict.fromkeys(feature.name for feature in parts if feature.row is None))

    def pieces(self) -> list[Piece]:
        """Return the text in pieces: a token with what it adds, or what is between tokens.

        Where it is not known where tokens stand, they are set apart by spaces. Tokens that share a
        letter (parts of its bytes) are one piece.
        """
        valued = list(zip(self.tokens, self.token_values(), strict=True))
        if self.spans is None:
            spaced: list[Piece] = [piece for pair in valued for piece in ((" ", None), pair)]
            return spaced[1:]
        pieces: list[Piece] = []
        done = 0
        for (token, value), (start, end) in zip(valued, self.spans, strict=True):
            if start < done:
                shown, before = pieces.pop()
                pieces.append((shown + self.text[done:end], (before or 0.0) + value))
            else:
                pieces += [(self.text[done:start], None), (self.text[start:end] or token, value)]
            done = max(done, end)
        return [piece for piece in [*pieces, (self.text[done:], None)] if piece[0]]

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
        names = ("text", "label", "against", "probability", "logit", "bias")
        return {**{name: getattr(self, name) for name in names}, "tokens": tokens} | {
            "features": features
        }


@dataclass(frozen=True)
class LabelFeature:
    """What a feature says for a label: the part of the logit in a text of nothing else."""

    name: str
    kind: Kind
    count: int
    """How often it stands in the training texts, or in those that were given."""
    value: float
    sharing: int = 0
    """How many other n-grams of those texts fall into its hash bucket, and so have its row."""


def explain(
    model: Predictor, text: str, label: str | None = None, against: str | None = None
) -> Explanation:
    """Take apart the logit of a label for a text.

    Args:
        model: any but one trained with the hierarchical softmax.
        text: the text.
        label: None: the best one.
        against: take apart how much larger the logit of ``label`` is than the logit of this one.

    Raises:
        ConfigError: the model has no such label, or its logits have no parts.
        DataError: the text is no string.
    """
    logits = model.logits([text])
    best = model.labels[top_k_classes(logits, 1)[0, 0]]
    contrast = _Contrast.between(model, best if label is None else label, against)
    tokens = model.encoder.tokenizer.split([text])[0]
    features = text_features(tokens, model.encoder)
    known = [feature.row for feature in features if feature.row is not None]
    values = iter(_parts(model, np.array(known, np.int32), contrast.weight).tolist())
    parts = [
        Contribution(feature, next(values) if feature.row is not None else 0.0)
        for feature in features
    ]
    spans = model.encoder.tokenizer.spans
    logit = float(logits[0, contrast.label])
    if contrast.against is not None:
        logit -= float(logits[0, contrast.against])
    return Explanation(
        text=text,
        label=model.labels[contrast.label],
        against=against,
        probability=float(probabilities(logits, model.config.model)[0, contrast.label]),
        logit=logit,
        bias=contrast.bias,
        tokens=tuple(tokens),
        spans=None if spans is None else tuple(spans(text)),
        contributions=tuple(parts),
    )


def label_features(
    model: Predictor,
    label: str,
    top: int = 10,
    *,
    against: str | None = None,
    scan: TextScan | None = None,
) -> list[LabelFeature]:
    """Return the features that speak most for a label, those that say most first.

    Hashed n-grams have no names in a model. With texts, features are those of the texts, n-grams
    too, and are counted there; without, they are the words of the vocabulary.

    Args:
        model: any but one trained with the hierarchical softmax.
        label: for which label.
        top: at most so many features.
        against: rather than which other label.
        scan: reads texts, twice.

    Raises:
        ConfigError: the model has no such label, or its logits have no parts.
    """
    if top < 1:
        raise ConfigError(f"top = {top}: must be at least 1")
    weight = _Contrast.between(model, label, against).weight
    if scan is not None:
        return _named_features(model, weight, top, scan)
    vocabulary = model.encoder.vocabulary
    scores = _scores(model, np.arange(len(vocabulary)), weight)
    best = np.argsort(-scores, kind="stable")[:top].tolist()
    words = python_strings(vocabulary.words)
    return [
        LabelFeature(words[row], WORD, int(vocabulary.counts[row]), float(scores[row]))
        for row in best
    ]


@dataclass(frozen=True)
class _Contrast:
    """A label, or the difference of two."""

    label: int
    against: int | None
    weight: F64  # [D]
    bias: float

    @classmethod
    def between(cls, model: Predictor, label: str, against: str | None) -> _Contrast:
        if model.config.model.loss == "hs":
            raise ConfigError(
                'model.loss = "hs": a label is a way down a tree with a logit at each turn, and '
                "not one sum over features; only models of the other losses can be explained"
            )
        if not model.artifact.is_linear:
            raise ConfigError(
                'model.loss = "adaptive": a logit is a log-probability over clusters, and not one '
                "sum over features; only models of the other losses can be explained"
            )
        artifact, one = model.artifact, _class(model, label)
        weight = dense(artifact.weight).astype(np.float64)
        bias = artifact.tensors["bias"].astype(np.float64)
        if against is None:
            return cls(one, None, weight[one], float(bias[one]))
        other = _class(model, against)
        if one == other:
            raise ConfigError(f"{label!r} cannot be explained against itself; name another label")
        return cls(one, other, weight[one] - weight[other], float(bias[one] - bias[other]))


def _class(model: Predictor, label: str) -> int:
    if label in model.labels:
        return model.labels.index(label)
    hint = did_you_mean(label, model.labels)
    if not hint and len(model.labels) <= NAMED_LABELS:
        hint = f"; it has: {', '.join(model.labels)}"
    raise ConfigError(f"the model has no label {label!r}{hint}")


def _parts(model: Predictor, rows: Array, weight: F64) -> F64:
    """Return what each id of one bag adds to the logit, [N]."""
    config, tensors = model.config.model, model.artifact.tensors
    parts = np.zeros(len(rows))
    used = np.flatnonzero(rows != config.padding_idx)
    if not len(used):
        return parts
    vectors = table_rows(model.artifact.table, rows[used], tensors.get("scale"))
    if config.mode == "max":
        winners = used[vectors.argmax(axis=0)]  # [D]
        np.add.at(parts, winners, weight * vectors.max(axis=0))
        return parts
    parts[used] = vectors @ weight
    if config.mode == "mean":
        parts /= len(used)
    if "idf" in tensors:
        parts *= tfidf_weights(Ragged(rows, np.array([0, len(rows)])), tensors["idf"])
    return parts


def _scores(model: Predictor, rows: Array, weight: F64) -> F64:
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
    """Find the best rows among those that texts have, then their names in the texts."""
    counts = np.zeros(model.encoder.rows, np.int64)
    for _, bags in _encoded(model, scan):
        np.add.at(counts, bags.indices, 1)
    rows = np.flatnonzero(counts)
    scores = _scores(model, rows, weight)
    best = np.argsort(-scores, kind="stable")[:top]
    value_of = dict(zip(rows[best].tolist(), scores[best].tolist(), strict=True))
    wanted = np.zeros(model.encoder.rows, np.bool_)
    wanted[rows[best]] = True
    names: dict[int, Counter[tuple[str, Kind]]] = {row: Counter() for row in value_of}
    for texts, bags in _encoded(model, scan):
        holding = np.repeat(np.arange(len(bags)), bags.lengths)[wanted[bags.indices]]
        chosen = [texts[number].as_py() for number in np.unique(holding).tolist()]
        for tokens in model.encoder.tokenizer.split(chosen):
            for feature in text_features(tokens, model.encoder):
                if feature.row is not None and feature.row in value_of:
                    names[feature.row][feature.name, feature.kind] += 1
    named = []
    for row, counted in names.items():
        (name, kind), count = min(counted.items(), key=lambda item: (-item[1], item[0]))
        named.append(LabelFeature(name, kind, count, value_of[row], len(counted) - 1))
    return named


def _encoded(model: Predictor, scan: TextScan) -> Iterable[tuple[pa.StringArray, Ragged]]:
    def encode(texts: pa.StringArray) -> tuple[pa.StringArray, Ragged]:
        return texts, model.encoder.encode_chunk(texts)

    pieces = (piece for texts in scan() for piece in as_chunks(texts))
    return map_threads(encode, pieces, model.threads)
