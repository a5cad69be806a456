"""Training with the original's options and files, compared with the original library."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from fasttext_app import compat
from fasttext_app.compat.model import FastText
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.fasttext.file_format import read_file
from tests.fasttext.cases import LOSSES
from tests.helpers import WORDS_ONLY, run_cli

QUICK = {"dim": 4, "epoch": 1, "thread": 1}


@pytest.fixture
def trained(original, tmp_path):
    """Train on a file of these bytes with the original and here; return the files of both."""

    def train(data, **options):
        path = tmp_path / "train.txt"
        path.write_bytes(data)
        settings = {**QUICK, **options}
        original.train_supervised(str(path), verbose=0, **settings).save_model(f"{path}.theirs")
        compat.train_supervised(path, **settings).save_model(f"{path}.ours")
        return read_file(f"{path}.theirs"), read_file(f"{path}.ours")

    return train


def entries(names, counts):
    return dict(zip(names, counts.tolist(), strict=True))


def assert_same_dictionary(theirs, ours):
    theirs, ours = theirs.dictionary, ours.dictionary
    assert entries(ours.words, ours.word_counts) == entries(theirs.words, theirs.word_counts)
    assert entries(ours.labels, ours.label_counts) == entries(theirs.labels, theirs.label_counts)


# --- lines


LINES = {
    "labels in any place": b"__label__a u v\nu __label__b w\nx __label__a\n__label__b y z\n",
    "several labels": b"__label__a __label__b u\n__label__b v __label__c\n",
    "lines without a label": b"u v\n__label__a u\n\n   \nv w\n__label__b v\n",
    "bytes that are not UTF-8": b"__label__a \xff u\xfe\n__label__b v\xe9t\xe9 \xff\n",
    "spaces of all kinds": b"\t__label__a u\x00v\x0bw\x0cx\ry\n__label__b\tu\xc2\xa0v\n",
    "Windows line ends": b"__label__a u\r\n__label__b v\r\n",
    "an end of line word inside": b"__label__a u </s> v\n__label__b w </s> __label__a x\n",
    "an end of line word at the end": b"__label__a u </s>\n__label__b v </s>\n",
    "a word that contains it": b"__label__a u</s> </s>v\n__label__b w\n",
    "the prefix alone": b"__label__ u\n__label__b __label__ v\n__label____label__ w\n",
    "labels in other scripts": "__label__日本 u\n__label__été v\n".encode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LINES)
def test_words_and_labels_are_counted_as_in_the_original(trained, kind):
    assert_same_dictionary(*trained(LINES[kind]))


def test_a_byte_order_mark_is_skipped(tmp_path):
    """The original makes it part of the first word, and so loses the label."""
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf__label__a u\n__label__b v\n")
    model = compat.train_supervised(path, **QUICK)
    assert sorted(model.labels) == ["__label__a", "__label__b"]


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_lines_without_a_label_are_not_trained_on(labeled_file, tmp_path, loss):
    """Their words are in the vocabulary, with rows that keep their initial values."""
    lines = labeled_file.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(lines[:200])
    (tmp_path / "more.txt").write_text(text + "word\n" * 3, encoding="utf-8")
    options = {**QUICK, "loss": loss, "lr": 0.5}
    model = compat.train_supervised(tmp_path / "more.txt", **options)
    assert "word" in model
    untrained = model.get_input_vector(model.get_word_id("word"))
    assert (np.abs(untrained) <= 0.25).all()  # the range of initial values
    again = compat.train_supervised(tmp_path / "more.txt", **{**options, "epoch": 3})
    row = again.get_word_id("word")
    np.testing.assert_array_equal(again.get_input_vector(row), untrained)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", DataError, r"train\.txt: the file is empty"),
        (b"u v\nw\n", TrainingError, r"train\.txt: no row has a label to learn"),
    ],
)
def test_a_file_without_anything_to_learn_is_refused(tmp_path, data, error, message):
    path = tmp_path / "train.txt"
    path.write_bytes(data)
    with pytest.raises(error, match=message):
        compat.train_supervised(path, **QUICK)
    with pytest.raises(DataError, match="cannot be opened: Is a directory"):
        compat.train_supervised(tmp_path, **QUICK)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_file_with_one_label_trains(original, tmp_path, loss):
    path = tmp_path / "train.txt"
    path.write_text("__label__a u\n__label__a v\n", encoding="utf-8")
    compat.train_supervised(path, loss=loss, **QUICK).save_model(tmp_path / "m.bin")
    for library in (compat, original):
        labels, proba = library.load_model(str(tmp_path / "m.bin")).predict("u")
        assert labels == ("__label__a",)
        assert proba[0] <= 1.0001


@pytest.mark.parametrize("options", [{"epoch": 0}, {"lr": 0.0}])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_epoch_leaves_the_initial_weights(original, labeled_file, tmp_path, loss, options):
    settings = {"dim": 4, "thread": 1, "loss": loss, **options}
    model = compat.train_supervised(labeled_file, **settings)
    assert not model.get_output_matrix().any()
    assert 0 < np.abs(model.get_input_matrix()).max() <= 0.25
    model.save_model(tmp_path / "m.bin")
    theirs = original.load_model(str(tmp_path / "m.bin"))
    np.testing.assert_allclose(model.predict("u", k=-1)[1], theirs.predict("u", k=-1)[1], 1e-5)
    assert theirs.f.getArgs().epoch == model.f.getArgs().epoch == 0


def test_numbers_may_be_numpys(labeled_file):
    options = {"dim": np.int64(3), "lr": np.float32(0.5), "epoch": True, "thread": 1}
    assert compat.train_supervised(labeled_file, **options).get_dimension() == 3


def test_the_prefix_alone_is_a_label_with_the_answers_of_the_original(original, tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("__label__ x y\n__label__b z q\n__label__c k l\n" * 30, encoding="utf-8")
    options = {"dim": 5, "bucket": 10, "epoch": 20, "lr": 0.5, "thread": 1}
    model = compat.train_supervised(path, **options)
    model.save_model(tmp_path / "ours.bin")
    original.train_supervised(str(path), verbose=0, **options).save_model(f"{path}.bin")
    theirs = original.load_model(str(tmp_path / "ours.bin"))
    for other in (
        theirs,
        compat.load_model(f"{path}.bin"),
        compat.load_model(tmp_path / "ours.bin"),
    ):
        assert other.labels == model.labels == ["__label__", "__label__b", "__label__c"]
        assert other.predict("x y")[0] == ("__label__",)
        assert other.test(str(path)) == (90, 1, 1)
    assert model.get_line("__label__ x")[1] == ["__label__"]
    assert run_cli("predict", f"{path}.bin", "x y").stdout.startswith("__label__ 0.9")


# --- options


@pytest.mark.slow
@pytest.mark.parametrize("least", [0, 1, 80, 130])
@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_rare_labels_are_left_out_as_in_the_original(trained, labeled_file, least, loss):
    theirs, ours = trained(labeled_file.read_bytes(), minCountLabel=least, loss=loss)
    assert_same_dictionary(theirs, ours)
    assert len(ours.dictionary.labels) == {80: 3, 130: 2}.get(least, 4)


@pytest.mark.slow
def test_options_without_effect_are_written_to_the_file(trained, labeled_file):
    options = {"ws": 7, "lrUpdateRate": 33, "t": 0.25, "neg": 3, "minCount": 2, "wordNgrams": 2}
    theirs, ours = trained(labeled_file.read_bytes(), bucket=500, **options)
    assert ours.args == theirs.args


@pytest.mark.slow
def test_positional_arguments_have_the_order_of_the_original(original, labeled_file):
    values = (str(labeled_file), 0.25, 6, 9, 2, 3)
    theirs = original.train_supervised(*values, thread=1, verbose=0)
    ours = compat.train_supervised(*values, thread=1, verbose=0)
    for name in ATTRIBUTES - {"loss"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.loss.name == theirs.loss.name == "softmax"
    assert (ours.lr, ours.dim, ours.ws, ours.epoch, ours.minCount) == (0.25, 6, 9, 2, 3)
    with pytest.raises(ConfigError, match="lr: is given twice"):
        compat.train_supervised(str(labeled_file), 0.25, lr=0.5)
    with pytest.raises(ConfigError, match="99 values for 20 options"):
        compat.train_supervised(*range(99))
    with pytest.raises(ConfigError, match="input: name a file to train on"):
        compat.train_supervised(lr=0.5)


ATTRIBUTES = {
    *("lr", "dim", "ws", "epoch", "minCount", "minCountLabel", "minn", "maxn", "neg", "loss"),
    *("wordNgrams", "bucket", "thread", "lrUpdateRate", "t", "label", "verbose"),
    "pretrainedVectors",
}


def test_the_file_may_be_a_keyword_argument(labeled_file):
    assert compat.train_supervised(input=labeled_file, **QUICK).get_dimension() == 4


@pytest.mark.slow
def test_labels_come_in_the_order_of_the_original(original, labeled_file, tmp_path):
    for loss in LOSSES:
        theirs = original.train_supervised(str(labeled_file), loss=loss, verbose=0, **QUICK)
        ours = compat.train_supervised(labeled_file, loss=loss, **QUICK)
        assert ours.labels == theirs.labels
        ours.save_model(tmp_path / "m.bin")
        again = original.load_model(str(tmp_path / "m.bin"))
        np.testing.assert_array_equal(again.get_output_matrix(), ours.get_output_matrix())
        expected, found = (dict(zip(*m.predict("u", k=-1), strict=True)) for m in (again, ours))
        assert found == pytest.approx(expected, abs=2e-6)


def test_a_label_of_several_words_cannot_be_written(tmp_path):
    import fasttext_app as ft

    labels = ["good news", "bad"] * 5
    model = ft.train(
        ["u v", "w x"] * 5, labels, **{**WORDS_ONLY, "tokenizer": "fasttext", "epochs": 1}
    )
    with pytest.raises(ConfigError, match="its label 'good news' contains white space or a NUL"):
        FastText.from_classifier(model).save_model(tmp_path / "m.bin")
    assert not list(tmp_path.iterdir())


# --- names and signatures


def test_every_name_of_the_original_package_is_here(original):
    from_future = {"absolute_import", "division", "print_function", "unicode_literals"}
    theirs = {name for name in dir(original) if not name.startswith("__")} - from_future
    assert theirs <= set(dir(compat))


def test_every_name_of_a_model_is_here(original, labeled_file):
    theirs = original.train_supervised(str(labeled_file), verbose=0, **QUICK)
    ours = compat.train_supervised(labeled_file, **QUICK)
    names = {name for name in dir(theirs) if not name.startswith("_")}
    names |= {"__getitem__", "__contains__"}
    assert names - set(dir(ours)) == set()
    assert names >= ATTRIBUTES


def test_every_method_takes_the_arguments_of_the_original(original):
    theirs = original.FastText._FastText
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if name.startswith("_"):
            continue
        expected = inspect.signature(method).parameters
        found = inspect.signature(getattr(FastText, name)).parameters
        assert list(found) == list(expected), name
        defaults = [parameter.default for parameter in expected.values()]
        assert [parameter.default for parameter in found.values()] == defaults, name


def test_every_name_of_a_meter_is_here(original):
    theirs = {n for n in dir(original.FastText._Meter) if not n.startswith("_")}
    assert theirs <= set(dir(compat.FastText._Meter))


@pytest.mark.parametrize("name", ["train_unsupervised", "cbow", "skipgram"])
def test_word_vectors_are_not_trained_here(name):
    with pytest.raises(ConfigError, match="this program trains classifiers only; train word v"):
        getattr(compat, name)("text.txt", model="cbow")


def test_the_old_training_function_is_refused_as_in_the_original(original):
    message = r"`supervised` is not supported any more\. Please use `train_supervised`"
    for library, error in ((original, Exception), (compat, ConfigError)):
        with pytest.raises(error, match=message):
            library.supervised("train.txt", "model")


# --- matrices


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_replaced_matrices_give_the_answers_of_the_original(
    original, train_original, odd_texts, tmp_path, loss
):
    path = train_original(loss=loss, wordNgrams=2, bucket=300)
    theirs, ours = original.load_model(str(path)), compat.load_model(path)
    dim, generator = 7, np.random.default_rng(0)
    rows, classes = len(ours.get_input_matrix()), len(ours.labels)
    matrices = generator.normal(size=(rows, dim)), generator.normal(size=(classes, dim))
    for model in (theirs, ours):
        model.set_matrices(*matrices)
        assert model.get_dimension() == dim
    np.testing.assert_array_equal(ours.get_input_matrix(), theirs.get_input_matrix())
    np.testing.assert_array_equal(ours.get_output_matrix(), theirs.get_output_matrix())
    for text in odd_texts[:40]:
        (labels, proba), (found, numbers) = theirs.predict(text, k=-1), ours.predict(text, k=-1)
        here = dict(zip(found, numbers, strict=True))
        errors = [abs(here[name] - min(p, 1)) for name, p in zip(labels, proba, strict=True)]
        assert max(errors, default=0) < 0.25 / 32 if loss in ("ova", "ns") else 2e-6
    ours.save_model(tmp_path / "m.bin")
    again = original.load_model(str(tmp_path / "m.bin"))
    np.testing.assert_array_equal(again.get_input_matrix(), ours.get_input_matrix())


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 4)), ((5, 4), (3, 4)), ((5, 4), (4, 3)), ((5, 0), (4, 0)), ((), (4, 4))]
)
def test_matrices_of_the_wrong_shape_are_refused(tmp_path, shapes):
    path = tmp_path / "train.txt"
    path.write_text("__label__a u v\n__label__b w u\n__label__c u\n__label__d u w u\n")
    model = compat.train_supervised(path, **QUICK)  # with </s>, 4 words
    before = model.get_input_matrix()
    with pytest.raises(ConfigError, match=r"set_matrices: .* should be \[4, D\] and \[4, D\]"):
        model.set_matrices(*(np.zeros(shape) for shape in shapes))
    np.testing.assert_array_equal(model.get_input_matrix(), before)


# --- scores and curves


@pytest.fixture(scope="module")
def scored_file(labeled_rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("scored") / "test.txt"
    lines = [f"__label__{label} {text}" for label, text in labeled_rows[:200]]
    lines += ["no label", "__label__none x", "__label__d __label__sport two", "", "__label__d"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def meters(original, train_original, scored_file):
    def both(k, **options):
        path = train_original(**options)
        models = original.load_model(str(path)), compat.load_model(path)
        return [model.get_meter(scored_file, k) for model in models]

    return both


CHOICES = [None, "__label__sport", "__label__d"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "k"), [*((loss, -1) for loss in LOSSES), ("softmax", 1), ("hs", 2)]
)
def test_scores_of_labels_match_the_original(meters, loss, k):
    theirs, ours = meters(k, loss=loss)
    for label in CHOICES[1:]:
        expected, found = theirs.score_vs_true(label), ours.score_vs_true(label)
        within = 0.25 / 32 if loss in ("ova", "ns") else 2e-6
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=within)
        assert found[1].sum() == expected[1].sum()
        assert found[0].dtype == expected[0].dtype


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, -1])
@pytest.mark.parametrize("label", CHOICES)
def test_curves_match_the_original(meters, k, label):
    theirs, ours = meters(k, epoch=1, lr=0.05)
    (precision, recall), (found, recalls) = (
        meter.precision_recall_curve(label) for meter in (theirs, ours)
    )
    # Scores that are equal there may differ in the last bit here, which adds a point.
    points = {(round(p, 9), round(r, 9)) for p, r in zip(precision, recall, strict=True)}
    our_points = {(round(p, 9), round(r, 9)) for p, r in zip(found, recalls, strict=True)}
    assert len(points) > (3 if k == 1 else 20)
    assert len(points ^ our_points) <= 0.05 * len(points)
    assert (found[-1], recalls[-1]) == (precision[-1], recall[-1]) == (1, 0)
    for level in (0, 0.25, 0.5, 0.9, 1):
        assert ours.precision_at_recall(level, label) == pytest.approx(
            theirs.precision_at_recall(level, label), abs=0.01
        )
        assert ours.recall_at_precision(level, label) == pytest.approx(
            theirs.recall_at_precision(level, label), abs=0.01
        )


def test_a_meter_without_lines_has_no_curve(original, train_original, tmp_path):
    (tmp_path / "none.txt").write_text("no label\n")
    path = train_original()
    for model in (original.load_model(str(path)), compat.load_model(path)):
        meter = model.get_meter(str(tmp_path / "none.txt"))
        assert [len(values) for values in meter.precision_recall_curve()] == [0, 0]
        assert [len(values) for values in meter.score_vs_true("__label__d")] == [0, 0]
        assert meter.precision_at_recall(0.5) == meter.recall_at_precision(0.5) == 0


def test_a_label_without_lines_has_no_recall(original, train_original, tmp_path):
    (tmp_path / "one.txt").write_text("__label__sport u\n")
    path = train_original()
    for model in (original.load_model(str(path)), compat.load_model(path)):
        precision, recall = model.get_meter(str(tmp_path / "one.txt")).precision_recall_curve(
            "__label__d"
        )
        assert precision.tolist() == [0, 1]
        assert math.isnan(recall[0])
        assert recall[1] == 0


def test_a_meter_refuses_an_unknown_label(train_original, scored_file):
    meter = compat.load_model(train_original()).get_meter(scored_file)
    with pytest.raises(ConfigError, match="there is no label 'sports'"):
        meter.score_vs_true("sports")


# --- words that are not UTF-8


def test_words_are_decoded_as_in_the_original(original, tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"__label__a \xff u\xfe\n__label__b v\xe9t\xe9 \xff\n" * 9)
    original.train_supervised(str(path), verbose=0, **QUICK).save_model(f"{path}.bin")
    theirs, ours = original.load_model(f"{path}.bin"), compat.load_model(f"{path}.bin")
    for errors in ("replace", "ignore"):
        found, expected = (model.get_words(on_unicode_error=errors) for model in (ours, theirs))
        assert found == expected
        near, others = (
            model.get_nearest_neighbors("u", 3, on_unicode_error=errors)
            if model.get_word_vector("u").any()
            else []
            for model in (ours, theirs)
        )
        assert [word for _, word in near] == [word for _, word in others]
    for model in (theirs, ours):
        with pytest.raises(UnicodeDecodeError):
            model.get_words()


@pytest.mark.slow
@pytest.mark.parametrize("text", ["u __label__a v", ["u", "__label__b x __label__a", ""]])
def test_lines_are_split_as_in_the_original(original, tmp_path, text):
    path = tmp_path / "train.txt"
    path.write_text("__label__a u\n__label__b v\n")
    model = original.train_supervised(str(path), verbose=0, **QUICK)
    ours = compat.train_supervised(path, **QUICK)
    assert ours.get_line(text) == model.get_line(text)


@pytest.mark.slow
def test_the_labels_of_word_vectors_are_their_words(original, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("u v w\n" * 9)
    model = original.train_unsupervised(
        str(path), minCount=1, dim=3, bucket=9, epoch=1, verbose=0, thread=1
    )
    model.save_model(f"{path}.bin")
    ours = compat.load_model(f"{path}.bin")
    assert ours.get_labels() == model.get_labels() == ours.labels
    np.testing.assert_array_equal(ours.get_labels(True)[1], model.get_labels(True)[1])
