"""Explanations: the parts add up to the model's own logit, and are those of the formula."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasttext_app as ft
from fasttext_app.config.loading import resolve
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.fasttext.convert import from_fasttext
from fasttext_app.fasttext.file_format import read_file
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.explain import Contribution, Explanation, label_features
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.quantize import product_quantize, quantize
from fasttext_app.text.features import TextFeature
from fasttext_app.text.vocabulary import Vocabulary

WORDS = ["to", "be", "or", "not", ",", "é", "😀"]
TEXTS = st.lists(st.sampled_from([*WORDS, "Be", "new", "ß", '"']), max_size=8).map(" ".join)
LABELS = "one", "two", "three"
KINDS = {
    "mean": {},
    "sum": {"model": {"mode": "sum"}},
    "max": {"model": {"mode": "max", "sparse": False}},
    "tfidf": {"model": {"mode": "sum"}, "text": {"term_weighting": "tfidf"}},
    "ova": {"model": {"loss": "ova"}},
    "padding, mean": {"model": {"padding_idx": 1}},
    "padding, max": {"model": {"padding_idx": 1, "mode": "max", "sparse": False}},
    "padding, tfidf": {
        "model": {"mode": "sum", "padding_idx": 0},
        "text": {"term_weighting": "tfidf"},
    },
}
FORMS = {
    "floats": lambda artifact: artifact,
    "bytes": quantize,
    "codes": lambda artifact: product_quantize(artifact, width=2),
    "codes with norms": lambda artifact: product_quantize(artifact, width=3, norms=True),
}


@cache
def made(kind="mean", form="floats", pruned=False, **text):
    """Make a model of random numbers; it has words, bigrams and character n-grams."""
    text = {"word_ngrams": 2, "minn": 2, "maxn": 3, "bucket": 300} | text
    given_text = KINDS[kind].get("text", {})
    config = resolve(
        {
            "model": {"dim": 5, **KINDS[kind].get("model", {})},
            "text": {"term_weighting": "none"} | text | given_text,
        }
    )
    chance = np.random.default_rng(len(kind))
    buckets = np.arange(0, 300, 1 if form.startswith("codes") else 3, dtype=np.int32)
    rows = len(WORDS) + (len(buckets) if pruned else config.text.bucket_count)
    tensors = {
        "table": chance.normal(size=(rows, 5)).astype(np.float32),
        "weight": chance.normal(size=(3, 5)).astype(np.float32),
        "bias": chance.normal(size=3).astype(np.float32),
    }
    if pruned:
        tensors["buckets"] = buckets
    if "text" in KINDS[kind]:
        tensors["idf"] = chance.uniform(1, 9, size=rows).astype(np.float32)
    counts = np.arange(len(WORDS), 0, -1)
    vocabulary = Vocabulary(pa.array(WORDS, pa.string()), counts)
    labels = Labels(LABELS, (3, 2, 1))
    return TextClassifier(FORMS[form](Artifact(config, vocabulary, labels, tensors)))


def total(explanation):
    return explanation.bias + sum(part.value for part in explanation.contributions)


def close(value):
    return pytest.approx(value, rel=1e-4, abs=1e-4)


# --- the law


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *((kind, form) for kind in KINDS for form in ("floats", "bytes")),
        *((kind, "codes") for kind in ("mean", "max", "padding, tfidf")),
        *((kind, "codes with norms") for kind in ("sum", "tfidf", "padding, max")),
    ],
)
@given(text=TEXTS, label=st.sampled_from(LABELS), pruned=st.booleans())
@settings(deadline=None, max_examples=10)
def test_contributions_and_bias_are_the_logit(kind, form, text, label, pruned):
    model = made(kind, form, pruned)
    found = model.explain(text, label)
    assert found.logit == float(model.logits([text])[0, LABELS.index(label)])
    assert total(found) == close(found.logit)
    assert found.bias + sum(found.token_values()) == close(found.logit)
    assert found.bias + sum(part.value for part in found.totals()) == close(found.logit)
    assert found.probability == model.predict_proba([text])[0, LABELS.index(label)]
    for part in found.contributions:
        assert part.feature.row is not None or part.value == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS, labels=st.permutations(LABELS))
@settings(deadline=None, max_examples=8)
def test_the_difference_of_two_logits_is_explained_too(kind, text, labels):
    model = made(kind)
    label, against, _ = labels
    found, one, other = (model.explain(text, *names) for names in (
        (label, against), (label,), (against,)))  # fmt: skip
    assert total(found) == close(found.logit) == close(one.logit - other.logit)
    for part, plus, minus in zip(
        found.contributions, one.contributions, other.contributions, strict=True
    ):
        assert part.value == close(plus.value - minus.value)


@pytest.mark.slow
@given(text=TEXTS)
@settings(deadline=None, max_examples=30)
def test_a_mean_is_taken_over_the_features_with_a_row(text):
    model = made()
    table, weight = model.artifact.tensors["table"], model.artifact.tensors["weight"][2]
    found = model.explain(text, "three")
    known = [part for part in found.contributions if part.feature.row is not None]
    for part in known:
        assert part.value == close(float(table[part.feature.row] @ weight) / len(known))


def test_the_largest_number_of_a_dimension_takes_its_part():
    artifact = made("max", word_ngrams=1, minn=0, maxn=0).artifact
    table = np.zeros_like(artifact.tensors["table"])
    table[0, :3], table[1, :3] = (1, -2, 3), (1, 5, -9)
    weight = np.tile(np.array([10, 1, 1, 0, 0], np.float32), (3, 1))
    model = TextClassifier(
        replace(artifact, tensors={**artifact.tensors, "table": table, "weight": weight})
    )
    found = model.explain("to be", "one")
    assert [part.value for part in found.contributions] == [13, 5]  # "to" wins 0 (a tie) and 2


# --- what else there is to know


def test_the_best_label_is_explained_where_none_is_named():
    model = made()
    for text in ("to be", "", "not or 😀"):
        assert model.explain(text).label == model.predict(text).labels[0]


def test_unknown_features_are_named_once_and_add_nothing():
    found = made(word_ngrams=1, minn=0, maxn=0).explain("new to new ß")
    assert found.unknown() == ["new", "ß"]
    assert [total.name for total in found.totals()] == ["to"]
    pruned = made(pruned=True).explain("to be or not")
    assert pruned.unknown()
    assert all("new" not in name for name in pruned.unknown())


def test_a_text_without_known_features_is_the_bias():
    for kind in KINDS:
        model = made(kind, word_ngrams=1, minn=0, maxn=0)
        for text in ("", "new ß"):
            found = model.explain(text, "two")
            assert found.logit == found.bias == float(model.artifact.tensors["bias"][1])
            assert found.totals() == []


def test_repeated_features_are_summed_up():
    found = made(word_ngrams=1, minn=0, maxn=0).explain("to be to", "one")
    to = next(total for total in found.totals() if total.name == "to")
    values = [part.value for part in found.contributions]
    assert (to.count, to.value) == (2, values[0] + values[2])
    assert [total.value for total in found.totals()] == sorted(
        (total.value for total in found.totals()), reverse=True
    )


def test_an_ngram_counts_for_its_words_in_equal_parts():
    features = [
        TextFeature("a", "word", 0, 1, 0),
        TextFeature("<a", "character n-gram", 0, 1, 7),
        TextFeature("b", "word", 1, 2, None),
        TextFeature("a b", "word n-gram", 0, 2, 8),
    ]
    parts = [Contribution(f, v) for f, v in zip(features, (1.0, 4.0, 0.0, -6.0), strict=True)]
    found = Explanation(
        "A b", "x", None, 0.5, -1.0, 0.0, ("a", "b"), ((0, 1), (2, 3)), tuple(parts)
    )
    assert found.token_values() == [2.0, -3.0]
    assert found.pieces() == [("A", 2.0), (" ", None), ("b", -3.0)]
    assert replace(found, spans=None).pieces() == [("a", 2.0), (" ", None), ("b", -3.0)]


@given(TEXTS)
@settings(deadline=None, max_examples=30)
def test_the_pieces_are_the_text(text):
    found = made().explain(text)
    assert "".join(shown for shown, _ in found.pieces()) == text
    values = [value for _, value in found.pieces() if value is not None]
    assert values == found.token_values()


def test_tokens_that_overlap_share_their_letters():
    spans = ((0, 1), (0, 1), (1, 3), (2, 4), (4, 4))
    parts = tuple(
        Contribution(TextFeature(str(n), "word", n, n + 1, n), float(2**n)) for n in range(5)
    )
    found = Explanation("😀abc", "x", None, 0.5, 0.0, 0.0, tuple("01234"), spans, parts)
    assert found.pieces() == [("😀", 3.0), ("a", 2.0), ("b", 6.0), ("c", 4.0), ("4", 16.0)]


def test_the_document_is_plain_and_whole():
    found = made(minn=0, maxn=0).explain("Be new", "two", "one")
    document = found.as_dict()
    assert json.loads(json.dumps(document)) == document
    assert list(document) == [
        *("text", "label", "against", "probability", "logit", "bias", "tokens", "features")
    ]
    assert [(t["token"], t["start"], t["end"]) for t in document["tokens"]] == [
        ("be", 0, 2),
        ("new", 3, 6),
    ]
    assert [(f["name"], f["row"] is None) for f in document["features"]] == [
        ("be", False),
        ("new", True),
        ("be new", False),
    ]
    assert sum(f["value"] for f in document["features"]) + document["bias"] == close(
        document["logit"]
    )
    unplaced = replace(found, spans=None).as_dict()["tokens"]
    assert [(t["start"], t["end"]) for t in unplaced] == [(None, None)] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"wordNgrams": 3, "bucket": 5000}, {"minn": 2, "maxn": 4, "bucket": 500}]
)
@pytest.mark.parametrize("quantized", [None, {"retrain": False, "cutoff": 300}])
def test_an_imported_model_is_explained(train_original, odd_texts, options, quantized):
    path = train_original(quantized, **options)
    model = TextClassifier(from_fasttext(read_file(path), str(path)))
    for text in odd_texts[:40]:
        found = model.explain(text)
        assert found.tokens[-1] == "</s>"
        assert total(found) == close(found.logit)
        assert "".join(shown for shown, _ in found.pieces()).removesuffix("</s>") in (
            text,
            text.removesuffix("</s>"),
        )


def test_a_trained_model_is_explained(tiny_model_dir):
    model = ft.load(tiny_model_dir)
    found = model.explain("The bank, the cup!", "money")
    assert total(found) == close(found.logit)
    adds = {part.name: part.value for part in found.totals()}
    assert adds["bank"] > 0 > adds["cup"]


# --- what cannot be


@pytest.mark.parametrize("loss", ["hs", "adaptive"])
def test_a_loss_whose_logit_is_no_sum_is_refused(loss):
    texts, labels = ["a b", "c d", "e f"] * 4, ["x", "y", "z"] * 4
    model = ft.train(texts, labels, loss=loss, epochs=1, dim=4, validation=0.0)
    for explained in (lambda: model.explain("a"), lambda: model.label_features("x")):
        with pytest.raises(ConfigError, match=rf'model\.loss = "{loss}": a l'):
            explained()


def test_a_label_that_is_not_there_is_refused():
    model = made()
    with pytest.raises(ConfigError, match="no label 'tow'; did you mean 'two'"):
        model.explain("to", "tow")
    with pytest.raises(ConfigError, match="no label 'x'; the labels are one, two, three"):
        model.explain("to", "one", "x")
    with pytest.raises(ConfigError, match="'one' cannot be explained against itself"):
        model.explain("to", "one", "one")


@pytest.mark.parametrize("text", [None, 3, ["to"], "\ud800"])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(DataError, match=r"^text: "):
        made().explain(text)


# --- the features of a label


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_adds_alone_what_a_text_of_it_alone_shows(kind):
    model = made(kind, word_ngrams=1, minn=0, maxn=0)
    found = model.label_features("two", top=100)
    assert sorted(feature.name for feature in found) == sorted(WORDS)
    assert [feature.value for feature in found] == sorted((f.value for f in found), reverse=True)
    for feature in found:
        explained = model.explain(feature.name, "two")
        assert feature.value == close(explained.logit - explained.bias)
        assert feature.count == len(WORDS) - WORDS.index(feature.name)
    assert model.label_features("two", top=2) == found[:2]


def test_a_label_against_another():
    model = made(word_ngrams=1, minn=0, maxn=0)
    found = label_features(model, "two", 100, against="one")
    value = {label: {f.name: f.value for f in model.label_features(label, 100)} for label in LABELS}
    for feature in found:
        assert feature.value == close(value["two"][feature.name] - value["one"][feature.name])


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pruned", [False, True])
@given(st.lists(TEXTS, max_size=6))
@settings(deadline=None, max_examples=8)
def test_features_of_texts_are_named_and_counted_there(form, pruned, texts):
    model = made("sum", form, pruned)
    expected: dict[int, list] = {}
    for text in texts:
        for part in model.explain(text, "two").contributions:
            if part.feature.row is not None:
                expected.setdefault(part.feature.row, []).append(part)
    found = model.label_features("two", 10_000, texts)
    assert [f.value for f in found] == sorted((f.value for f in found), reverse=True)
    seen = set()
    for parts in expected.values():
        names = Counter((part.feature.name, part.feature.kind) for part in parts)
        most = max(names.values())
        name, kind = min(name for name, count in names.items() if count == most)
        feature = next(f for f in found if (f.name, f.kind) == (name, kind))
        assert (feature.count, feature.sharing) == (most, len(names) - 1)
        assert feature.value == close(parts[0].value)
        seen.add((name, kind))
    assert len(found) == len(seen)
    assert model.label_features("two", 3, pa.array(texts, pa.string())) == found[:3]


def test_no_features_without_texts_or_at_the_top_zero():
    assert made().label_features("one", 5, []) == []
    with pytest.raises(ConfigError, match="top = 0: must be"):
        made().label_features("one", 0)
