"""Calibration: measures, temperatures, thresholds, and that a calibrated model is one to trust."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import fasttext_app
from fasttext_app.cli.render.evaluation import show_reliability
from fasttext_app.cli.render.plots import check_plot_path, draw_reliability
from fasttext_app.config.loading import resolve
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ArtifactError, ConfigError, DataError, MissingDependencyError
from fasttext_app.fasttext.convert import to_fasttext
from fasttext_app.inference.calibrate import calibrate_artifact, linear_outputs
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.calibration import (
    CalibrationMeter,
    fit_temperature,
    margin_slope,
    softmax_slope,
)
from fasttext_app.model.directory import load_artifact
from fasttext_app.model.heads import build_head
from fasttext_app.model.huffman import HuffmanTree
from fasttext_app.model.quantize import quantize
from fasttext_app.model.thresholds import Goal, choose_threshold, parse_goal
from tests.helpers import WORDS_ONLY, run_cli

LOSSES = ("softmax", "ova", "ns", "hs")
WORDS = [f"w{n}" for n in range(40)]
ORIGIN = {"source": "rows", "rows": 1}


def run(*arguments):
    return run_cli(*arguments, code=None)


@cache
def noisy_rows(seed, rows, separator=None):
    """Texts whose words hint at their label, or labels, and mostly at nothing."""
    chance = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(rows):
        classes = chance.choice(4, p=[0.5, 0.3, 0.15, 0.05], size=2 if separator else 1)
        words = [WORDS[c * 10 + w] for c in classes for w in chance.integers(0, 10, 2)]
        texts.append(" ".join([*words, *chance.choice(WORDS, 5)]))
        labels.append((separator or "").join(sorted({"abcd"[c] for c in classes})))
    return texts, labels


def train(loss, separator=None, rows=400, **settings_):
    texts, labels = noisy_rows(1, rows, separator)
    quick = WORDS_ONLY | {
        "lr": 0.5,
        "epochs": 30,
        "dim": 8,
        "validation": 0.0,
        "threads": 1,
        "device": "cpu",
    }
    return fasttext_app.train(
        texts, labels, loss=loss, label_separator=separator, **quick | settings_
    )


@pytest.fixture(scope="module")
def overfitted():
    return {loss: train(loss) for loss in LOSSES}


@pytest.fixture(scope="module")
def several():
    return train("ova", "|", epochs=8)


# --- measures


def expected_error(confidence, right, bins):
    """Do it bin by bin, as the definition says."""
    errors = []
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if number == 0:
            inside |= confidence == 0
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            errors.append((inside.mean() * gap, gap))
    return sum(part for part, _ in errors), max(gap for _, gap in errors)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 5), st.booleans())
@settings(deadline=None, max_examples=25)
def test_measures_equal_their_definitions_and_scikit_learn(seed, rows, classes, pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(seed)
    proba = chance.dirichlet(np.ones(classes), rows)
    true = chance.integers(0, classes, rows)
    flags = true[:, None] == np.arange(classes)
    meter = CalibrationMeter(pairs=pairs)
    for part in np.array_split(np.arange(rows), 3):  # in batches, one maybe empty
        meter.add(proba[part], flags[part])
    figures = meter.result()
    if pairs:
        confidence, right = proba.ravel(), flags.ravel()
        nll = metrics.log_loss(right, confidence, labels=[False, True])
        brier = np.mean((confidence - right) ** 2)
    else:
        confidence, right = proba.max(axis=1), proba.argmax(axis=1) == true
        nll = metrics.log_loss(true, proba, labels=range(classes))
        brier = np.mean(((proba - flags) ** 2).sum(axis=1))
    ece, mce = expected_error(confidence, right, 15)
    assert figures["ece"] == pytest.approx(ece)
    assert figures["mce"] == pytest.approx(mce)
    assert figures["nll"] == pytest.approx(nll)
    assert figures["brier"] == pytest.approx(brier)
    assert figures["count"] == sum(row["count"] for row in figures["bins"]) == len(confidence)


def test_a_probability_at_an_edge_is_in_the_bin_below():
    meter = CalibrationMeter(pairs=True, bins=4)
    meter.add(np.array([[0.0, 0.25, 0.250001, 1.0]]), np.zeros((1, 4), bool))
    assert [row["count"] for row in meter.result()["bins"]] == [2, 1, 0, 1]


def test_one_sure_error_is_a_large_but_finite_loss():
    meter = CalibrationMeter(pairs=False)
    meter.add(np.array([[1.0, 0.0]]), np.array([[False, True]]))
    assert meter.result()["nll"] == pytest.approx(-np.log(np.finfo(float).eps))


def test_a_label_without_a_class_is_an_error_without_a_likelihood():
    meter = CalibrationMeter(pairs=False)
    meter.add(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([[False, False], [True, False]]))
    figures = meter.result()
    assert figures["nll"] == pytest.approx(np.log(2))
    assert figures["brier"] == pytest.approx((0.75**2 + 0.25**2 + 1 + 0.5) / 2)
    assert [row["share"] for row in figures["bins"] if row["count"]] == [1, 0]


# --- temperature


@pytest.mark.slow
@given(st.integers(0, 10_000), st.floats(0.1, 8), st.integers(2, 6))
@settings(deadline=None, max_examples=12)
def test_the_temperature_of_a_softmax_has_the_least_likelihood_loss(seed, spread, classes):
    chance = np.random.default_rng(seed)
    logits = (chance.normal(size=(200, classes)) * spread).astype(np.float32)
    shares = np.exp(logits / (2 * spread))
    shares /= shares.sum(axis=1, keepdims=True)
    true = np.array([chance.choice(classes, p=row) for row in shares])
    found = fit_temperature(softmax_slope(logits, true))

    def loss(temperature):
        scaled = logits.astype(np.float64) / temperature
        scaled -= np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        return -scaled[np.arange(200), true].mean()

    assert loss(found) <= min(loss(found * factor) for factor in (0.9, 0.99, 1.01, 1.1)) + 1e-12


@pytest.mark.slow
@given(arrays.arrays(np.float32, (30, 3), elements=st.floats(-20, 20, width=32)), st.floats(0.2, 5))
@settings(deadline=None, max_examples=30)
def test_a_slope_is_the_derivative_of_the_loss_and_rises(margins, inverse):
    slope = margin_slope(margins)

    def loss(at):
        return np.logaddexp(0, -at * margins.astype(np.float64)).mean()

    step = 1e-5
    numeric = (loss(inverse + step) - loss(inverse - step)) / (2 * step)
    assert slope(inverse) == pytest.approx(numeric, abs=1e-4)
    assert slope(inverse * 1.5) >= slope(inverse) - 1e-12


@pytest.mark.slow
def test_the_temperature_that_made_the_labels_is_found():
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(60_000, 3)) * 2
    true = (logits + chance.gumbel(size=logits.shape)).argmax(axis=1)  # softmax(logits) made them
    assert fit_temperature(softmax_slope(logits * 3, true)) == pytest.approx(3, rel=0.03)
    positive = chance.random(logits.shape) < 1 / (1 + np.exp(-logits))
    margins = np.where(positive, logits, -logits) * 0.25
    assert fit_temperature(margin_slope(margins)) == pytest.approx(0.25, rel=0.03)


def test_rows_that_are_all_right_or_tell_nothing_have_no_temperature():
    logits = np.array([[4.0, 0.0], [0.0, 4.0]])
    with pytest.raises(DataError, match="every one of these rows is predicted correctly"):
        fit_temperature(softmax_slope(logits, np.array([0, 1])))
    with pytest.raises(DataError, match="the predictions are unrelated to these labels"):
        fit_temperature(softmax_slope(logits, np.array([1, 0])))


@pytest.mark.slow
@pytest.mark.parametrize("probabilities_", ["exact", "fasttext"])
@pytest.mark.parametrize("loss", LOSSES)
def test_calibration_lowers_the_loss_on_other_rows_for_every_loss(overfitted, loss, probabilities_):
    model = overfitted[loss]
    if probabilities_ == "fasttext":
        config = resolve(model.config.model_dump() | {"model": model.config.model.model_dump()})
        changed = config.model.model_copy(update={"probabilities": "fasttext"})
        config = config.model_copy(update={"model": changed})
        model = TextClassifier(replace(model.artifact, config=config), threads=1)
    calibrated = model.calibrate(*noisy_rows(2, 500))
    record = calibrated.artifact.calibration["temperature"]
    assert record["after"]["nll"] < record["before"]["nll"]
    assert record["value"] > 1, "trained to the end on noise, it is too sure"
    texts, labels = noisy_rows(3, 500)
    before, after = (m.evaluate(texts, labels)["calibration"] for m in (model, calibrated))
    assert after["nll"] < before["nll"]
    assert after["ece"] < before["ece"]
    assert after["over"] == ("pairs" if loss in ("ova", "ns") else "texts")
    if loss != "hs":  # where the order may change, for a class is the product of turns
        best = [m.rank(texts).classes for m in (model, calibrated)]
        np.testing.assert_array_equal(*best)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_temperature_is_in_the_linear_layer_and_nowhere_else(overfitted, loss):
    model = overfitted[loss]
    calibrated = model.calibrate(*noisy_rows(2, 300))
    value = np.float32(calibrated.artifact.calibration["temperature"]["value"])
    before, after = model.artifact.tensors, calibrated.artifact.tensors
    np.testing.assert_array_equal(after["weight"], before["weight"] / value)
    np.testing.assert_array_equal(after["bias"], before["bias"] / value)
    assert after["table"] is before["table"]
    texts = noisy_rows(3, 20)[0]
    outputs = TextClassifier(linear_outputs(model.artifact), threads=1).logits(texts)
    head = model.artifact.head()
    expected = head.probabilities(head.logits(outputs / value))
    np.testing.assert_allclose(calibrated.predict_proba(texts), expected, atol=1e-6)


def test_the_slope_of_the_tree_is_that_of_its_log_probabilities(overfitted):
    artifact = overfitted["hs"].artifact
    texts, labels = noisy_rows(2, 100)
    outputs = TextClassifier(linear_outputs(artifact), threads=1).logits(texts)
    true = np.array(["abcd".index(label) for label in labels])
    found = calibrate_artifact(
        artifact,
        outputs,
        Ragged(true, np.arange(101)),
        multi_label=False,
        origin=ORIGIN,
    ).calibration["temperature"]["value"]
    tree = HuffmanTree.build(artifact.labels.counts)

    def loss(temperature):
        scores = tree.log_probabilities(outputs.astype(np.float64) / temperature)
        return -scores[np.arange(100), true].mean(dtype=np.float64)

    assert loss(found) <= min(loss(found * factor) for factor in (0.95, 1.05)) + 1e-6


def test_calibrating_again_multiplies_the_temperatures(overfitted):
    rows = noisy_rows(2, 300)
    once = overfitted["softmax"].calibrate(*rows)
    twice = once.calibrate(*rows)
    values = [m.artifact.calibration["temperature"]["value"] for m in (once, twice)]
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_quantized_models_are_calibrated_and_calibrated_ones_quantized(overfitted):
    model, rows = overfitted["softmax"], noisy_rows(2, 300)
    small = TextClassifier(quantize(model.artifact), threads=1).calibrate(*rows)
    assert small.artifact.tensors["table"].dtype == np.int8
    other = TextClassifier(quantize(model.calibrate(*rows).artifact), threads=1)
    np.testing.assert_allclose(
        small.predict_proba(rows[0][:20]), other.predict_proba(rows[0][:20]), atol=5e-3
    )


@pytest.mark.slow
def test_a_fasttext_file_keeps_the_temperature():
    model = train("softmax", tokenizer="fasttext", bias=False, probabilities="fasttext")
    calibrated = model.calibrate(*noisy_rows(2, 300))
    file = to_fasttext(calibrated.artifact)
    value = np.float32(calibrated.artifact.calibration["temperature"]["value"])
    assert value != 1
    np.testing.assert_allclose(file.output * value, to_fasttext(model.artifact).output, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("printed", ["exact", "fasttext"])
@pytest.mark.parametrize("loss", LOSSES)
@given(logits=arrays.arrays(np.float32, (4, 5), elements=st.floats(-300, 300, width=32)))
@settings(deadline=None, max_examples=12)
def test_no_probability_is_above_one(loss, printed, kind, logits):
    model = resolve({"model": {"loss": loss, "probabilities": printed}}).model
    if loss == "hs":
        logits = HuffmanTree.build([5, 4, 3, 2, 1]).log_probabilities(logits)
    proba = build_head(model).probabilities(logits).astype(kind)
    assert proba.min() >= 0
    assert proba.max() <= 1
    if loss == "softmax" and printed == "exact":
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=4 * np.finfo(kind).eps)


@pytest.mark.slow
def test_rows_of_several_labels_need_a_question_for_each():
    model = train("softmax", "|")
    with pytest.raises(ConfigError, match=r'model\.loss = "softmax" predicts one distribution'):
        model.calibrate(*noisy_rows(2, 100, "|"))
    thresholded = model.calibrate(*noisy_rows(2, 100, "|"), temperature=False, thresholds="f1")
    assert list(thresholded.artifact.calibration) == ["thresholds"]


def test_there_must_be_something_to_fit_and_rows_to_fit_it_on(overfitted):
    model = overfitted["softmax"]
    with pytest.raises(ConfigError, match="there is nothing to fit"):
        model.calibrate(["w1"], ["a"], temperature=False)
    with pytest.raises(DataError, match="no rows with a label of the model"):
        model.calibrate(["w1"], ["other"])
    with pytest.raises(DataError, match="calibrate: got 0 labels for 1 texts"):
        model.calibrate(["w1"], [])
    rows = noisy_rows(2, 300)
    some = model.calibrate([*rows[0], "w1"], [*rows[1], "other"]).artifact.calibration
    assert some == model.calibrate(*rows).artifact.calibration
    assert some["temperature"]["rows"] == 300


# --- thresholds


def scores_at(threshold, proba, positive):
    chosen = proba >= threshold
    hits = (chosen & positive).sum()
    precision = hits / max(chosen.sum(), 1)
    return precision, hits / positive.sum(), 2 * hits / (chosen.sum() + positive.sum())


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.booleans()), min_size=1),
    st.sampled_from(["f1", "precision:0.8", "recall:0.6", "recall:1"]),
)
@settings(deadline=None, max_examples=80)
def test_a_threshold_is_the_best_of_all_that_there_are(rows, goal):
    proba, positive = np.array([p for p, _ in rows]), np.array([flag for _, flag in rows])
    threshold, reached = choose_threshold(proba, positive, parse_goal(goal))
    assert 0 <= threshold <= 1
    if not positive.any():
        assert (threshold, reached) == (0.5, False)
        return
    kind, _, target = goal.partition(":")
    found = dict(
        zip(("precision", "recall", "f1"), scores_at(threshold, proba, positive), strict=True)
    )
    others = [scores_at(value, proba, positive) for value in set(proba)]
    if kind == "f1":
        assert found["f1"] == max(f1 for _, _, f1 in others)
    elif kind == "recall":
        assert found["recall"] >= float(target)
        enough = [
            value for value in set(proba) if scores_at(value, proba, positive)[1] >= float(target)
        ]
        assert (proba >= threshold).sum() == (proba >= max(enough)).sum()
    else:
        enough = [recall for precision, recall, _ in others if precision >= float(target)]
        assert reached == bool(enough)
        best = max(enough) if enough else None
        assert found["recall"] == best if reached else found["precision"] == max(others)[0]


def test_a_threshold_holds_between_two_neighbors():
    below = np.nextafter(1.0, 0.0)
    proba, positive = np.array([1.0, below]), np.array([True, False])
    threshold, _ = choose_threshold(proba, positive, Goal("f1"))
    assert (proba >= threshold).tolist() == [True, False]


@pytest.mark.parametrize("text", ["f2", "precision", "precision:0", "recall:1.5", "precision:x"])
def test_an_unknown_goal_is_refused(text):
    with pytest.raises(ConfigError, match=r"must be f1, precision:P or recall:R"):
        parse_goal(text)


@pytest.mark.slow
def test_thresholds_are_used_by_evaluate_and_by_predict(several):
    model = several.calibrate(*noisy_rows(2, 600, "|"), thresholds="f1")
    texts, labels = noisy_rows(3, 600, "|")
    own, half = model.evaluate(texts, labels), model.evaluate(texts, labels, threshold=0.5)
    assert (own["threshold"], half["threshold"]) == ("fitted", 0.5)
    assert own["macro_f1"] > half["macro_f1"]
    fitted = dict(zip(model.labels, model.fitted_thresholds, strict=True))
    assert len(set(fitted.values())) == 4
    proba = model.predict_proba(texts[:50])
    for prediction, row in zip(model.predict(texts[:50], threshold="fitted"), proba, strict=True):
        above = {n for n, p in zip(model.labels, row, strict=True) if p >= fitted[n]}
        assert set(prediction.labels) == above
    first = model.predict(texts[:50], 1, "fitted")
    everything = model.predict(texts[:50], threshold="fitted")
    assert [p.labels for p in first] == [p.labels[:1] for p in everything]
    batches = [pa.record_batch({"text": pa.array(texts[:50])})]
    (answers,) = model.predict_batches(batches, threshold="fitted")
    assert answers["labels"].to_pylist() == [list(p.labels) for p in everything]


def test_the_best_label_may_be_left_out_and_the_next_kept(several):
    record = {"thresholds": {**ORIGIN, "goal": "f1", "values": dict.fromkeys("abcd", 0.0)}}
    text = "w1 w2 w3"
    best = several.predict(text, 2).labels
    record["thresholds"]["values"][best[0]] = 1.0
    model = TextClassifier(replace(several.artifact, calibration=record))
    assert model.predict(text, 1, "fitted").labels == best[1:]
    assert len(model.predict(text, threshold="fitted").labels) == 3


def test_thresholds_that_are_not_there_are_asked_for_with_the_remedy(several):
    with pytest.raises(ConfigError, match=r"no fitted thresholds; fit them with .*--thresholds"):
        several.predict("w1", threshold="fitted")
    with pytest.raises(ConfigError, match="must be a number or 'fitted'"):
        several.predict("w1", threshold="best")


def test_labels_without_a_positive_row_are_named(several):
    texts, labels = noisy_rows(2, 200, "|")
    kept = [row for row, label in enumerate(labels) if "d" not in label]
    model = several.calibrate(
        [texts[row] for row in kept], [labels[row] for row in kept], thresholds="precision:1"
    )
    fitted = model.artifact.calibration["thresholds"]
    assert fitted["without_positives"] == ["d"]
    assert fitted["values"]["d"] == 0.5


# --- the model directory, and the commands


@pytest.mark.slow
def test_the_record_travels_with_the_model(several, tmp_path):
    model = several.calibrate(*noisy_rows(2, 300, "|"), thresholds="recall:0.9")
    model.save(tmp_path / "m")
    loaded = TextClassifier.load(tmp_path / "m")
    assert loaded.artifact.calibration == model.artifact.calibration
    card = (tmp_path / "m" / "README.md").read_text()
    assert "- temperature: " in card
    assert "- thresholds: for recall:0.9, chosen on 300 rows of texts given in Python" in card
    shown = run("info", tmp_path / "m")
    assert "for recall:0.9, chosen on 300 rows" in shown.output
    told = json.loads(run("info", tmp_path / "m", "--json").stdout)
    assert told["calibration"] == model.artifact.calibration


FIGURES = {**ORIGIN, "before": {"ece": 0.1}, "after": {"ece": 0.1}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"temperature": {"value": 0.5}},
            "cannot be read: calibration.json: temperature.source is missing",
        ),
        ({"temperature": {"value": -1.0, **FIGURES}}, "temperature.value must be greater than 0"),
        ({"temperature": {"value": "warm", **FIGURES}}, "cannot be read"),
        ({"thresholds": {"values": {"a": 0.5}}}, "not one threshold from 0 to 1 per label"),
        ({"thresholds": {"values": dict.fromkeys("abcd", 1.5)}}, "must be less than or equal to 1"),
        ({"thresholds": {"values": dict.fromkeys("abcd", "x")}}, "cannot be read"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(several, tmp_path, record, message):
    if "thresholds" in record:
        record["thresholds"] |= {"goal": "f1", **ORIGIN}
    several.save(tmp_path / "m")
    path = tmp_path / "m" / "calibration.json"
    path.write_text(json.dumps(record))
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=message):
        load_artifact(tmp_path / "m")


@pytest.fixture
def folder(tmp_path, several):
    """A model, and rows in a folder of splits."""
    several.save(tmp_path / "m")
    for seed, name in ((2, "validation"), (3, "test")):
        texts, labels = noisy_rows(seed, 300, "|")
        lines = [f"{text},{label}\n" for text, label in zip(texts, labels, strict=True)]
        (tmp_path / "rows").mkdir(exist_ok=True)
        (tmp_path / "rows" / f"{name}.csv").write_text("text,label\n" + "".join(lines))
    return tmp_path


@pytest.mark.slow
def test_the_command_calibrates_into_another_folder(folder):
    before = {path.name: path.read_bytes() for path in (folder / "m").iterdir()}
    done = run("calibrate", folder / "m", "--data", folder / "rows", "--output", folder / "c",
               "--thresholds", "f1")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "expected calibration error" in done.output
    assert f"saved the calibrated model to {folder / 'c'}" in done.output
    assert {path.name: path.read_bytes() for path in (folder / "m").iterdir()} == before
    figures = [
        json.loads(run("evaluate", folder / name, "--data", folder / "rows", "--json").stdout)
        for name in "mc"
    ]
    assert figures[1]["calibration"]["nll"] < figures[0]["calibration"]["nll"]
    assert figures[1]["threshold"] == "fitted"
    assert figures[1]["macro_f1"] > figures[0]["macro_f1"]
    shown = run("predict", folder / "c", "--threshold", "fitted", "--format", "csv", "w1 w2 w11")
    assert shown.stdout.startswith("text,label_1,probability_1,label_2")
    again = run("calibrate", folder / "c", "--data", folder / "rows", "--output", folder / "d")
    assert "dropped the model's thresholds" in again.output
    assert "thresholds" not in load_artifact(folder / "d").calibration


@pytest.mark.slow
def test_the_command_refuses_to_lose_a_model_or_to_be_flattered(folder):
    rows = ["--data", folder / "rows"]
    same = run("calibrate", folder / "m", *rows, "--output", folder / "m")
    assert same.exit_code == 1
    assert "is the model itself; choose another --output" in same.output
    several = ["--set", "data.label_separator=|", "--set", "model.loss=ova", "--epochs", 1]
    other = ["--set", "data.train_split=test", "--output", folder / "t"]
    trained = run("train", *rows, *several, *other)
    assert trained.exit_code == 0, trained.output
    for split in ("test", "testing"):
        own = run("calibrate", folder / "t", *rows, "--split", split, "--output", folder / "x")
        assert own.exit_code == 1
        assert "the model was trained on these rows" in own.output
    none = run("calibrate", folder / "t", *rows, "--split", "dev2", "--output", folder / "x")
    assert "no split 'dev2'" in none.output
    assert not (folder / "x").exists()


@pytest.mark.slow
def test_training_calibrates_on_its_validation_rows(tmp_path):
    texts, labels = noisy_rows(1, 600)
    settings_ = {"lr": 0.5, "epochs": 8, "dim": 8, "validation": 0.3, "threads": 1}
    settings_ |= {"refit": False, "fold": False}
    plain = fasttext_app.train(texts, labels, calibrate=False, **settings_)
    model = fasttext_app.train(texts, labels, calibrate=True, **settings_)
    record = model.artifact.calibration["temperature"]
    assert (record["rows"], record["split"]) == (180, "validation")
    assert record["before"]["nll"] == pytest.approx(
        plain.artifact.metrics["validation_loss"], rel=1e-4
    )
    assert record["after"]["nll"] < record["before"]["nll"]
    np.testing.assert_array_equal(
        model.artifact.tensors["weight"],
        plain.artifact.tensors["weight"] / np.float32(record["value"]),
    )


@pytest.mark.slow
def test_training_calibrates_rows_of_several_labels():
    texts, labels = noisy_rows(1, 600, "|")
    model = fasttext_app.train(
        texts, labels, loss="ova", label_separator="|", calibrate=True, epochs=6, lr=0.5, dim=8
    )
    record = model.artifact.calibration["temperature"]
    assert record["after"]["nll"] < record["before"]["nll"]


def test_training_on_rows_that_leave_nothing_to_fit_keeps_the_model(tmp_path):
    rows = ["good fun,good\n", "dull slow,bad\n"] * 20
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(rows))
    done = run("train", "--data", tmp_path / "rows.csv", "--output", tmp_path / "m", "--lr", 0.5,
               "--set", "trainer.calibrate=true")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "not calibrated: no temperature fits: every one of these rows" in done.output
    assert load_artifact(tmp_path / "m").calibration == {}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"data": {"validation": 0.0}}, r"needs validation rows; data\.validation is 0"),
        ({"data": {"label_separator": "|"}}, r"whose probabilities sum to 1"),
    ],
)
def test_what_training_cannot_calibrate_is_refused_at_once(layer, message):
    with pytest.raises(ConfigError, match=message):
        resolve({"trainer": {"calibrate": True}}, layer)


# --- pictures


@pytest.mark.slow
def test_the_diagram_is_shown_and_drawn(folder, capsys):
    done = run("evaluate", folder / "m", "--data", folder / "rows",
               "--reliability", folder / "r.svg")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Reliability (1,200 pairs of text and label; a bar should end at its |)" in done.output
    assert "ECE" in done.output
    assert "<svg" in (folder / "r.svg").read_text()
    figures = json.loads(run("evaluate", folder / "m", "--data", folder / "rows", "--json").stdout)[
        "calibration"
    ]
    draw_reliability(figures, folder / "r.png")
    assert (folder / "r.png").read_bytes().startswith(b"\x89PNG")


def test_empty_bins_are_not_shown(capsys):
    meter = CalibrationMeter(pairs=False, bins=2)
    meter.add(np.array([[0.9, 0.1]]), np.array([[True, False]]))
    show_reliability(meter.result())
    assert "0.00-0.50" not in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"the name of a plot must end in \.png or \.svg"):
        check_plot_path(tmp_path / "r.pdf")
    with pytest.raises(DataError, match="there is no folder"):
        check_plot_path(tmp_path / "no" / "r.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"\.\[plots\]"):
        check_plot_path(tmp_path / "r.png")
