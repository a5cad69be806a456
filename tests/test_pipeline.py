"""Training: which rows are held out, what is refused, and what goes into the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fasttext_app as ft
from fasttext_app.config.schema import Config, DataConfig
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.describe import describe_data
from fasttext_app.data.spec import open_source
from fasttext_app.data.split import Examples, choose_validation_rows, load_examples, split_examples
from fasttext_app.errors import DataError, DeviceError, TrainingError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.pipeline import train
from fasttext_app.text.tfidf import tfidf_weights
from fasttext_app.training.events import EpochEnd, StepEnd
from fasttext_app.training.optim.cpu_step import CpuStep
from fasttext_app.training.prepare import prepare
from fasttext_app.training.trainer import Trainer
from fasttext_app.training.validation import Validator
from tests import helpers

GOOD = ["great fun", "loved it so", "a joy to watch", "great joy"]
BAD = ["dull and slow", "a waste of time", "so dull", "slow waste"]


def table_of(texts: list[str], labels: list[str]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())})


def reviews(times: int = 3) -> pa.Table:
    return table_of((GOOD + BAD) * times, (["good"] * 4 + ["bad"] * 4) * times)


def make_config(**values: Any) -> Config:
    return helpers.make_config(**{"dim": 4, "epochs": 3, "lr": 0.5, "batch_size": 4} | values)


def run(examples: Examples | None = None, callback: Any = None, **values: Any) -> Any:
    return train(make_config(**values), examples or Examples(reviews(), None), callback)


def write_csv(path: Path, table: pa.Table) -> None:
    rows = [f"{row['text']},{row['label']}\n" for row in table.to_pylist()]
    path.write_text("text,label\n" + "".join(rows), encoding="utf-8")


# ------------------------------------------------------------------------------ held-out rows


@pytest.mark.slow
@given(st.integers(1, 300), st.floats(0, 0.999), st.integers(0, 2**63 - 1))
@settings(deadline=None, max_examples=100)
def test_the_fraction_of_rows_is_held_out_but_never_all(rows, fraction, seed):
    held = choose_validation_rows(np.zeros(rows, np.int64), fraction, seed)  # all of one label
    assert len(held) == rows
    assert held.sum() == min(round(rows * fraction), rows - 1)


def test_the_seed_decides_which_rows_are_held_out():
    same, again, other = (
        choose_validation_rows(np.zeros(200, np.int64), 0.1, s) for s in (1, 1, 2)
    )
    assert same.tolist() == again.tolist()
    assert same.tolist() != other.tolist()


def test_held_out_rows_are_encoded_apart_in_their_order():
    texts = [f"w{number}" for number in range(40)]
    examples = Examples(table_of(texts, ["x", "y"] * 20), validation_fraction=0.25)
    prepared = prepare(make_config(), examples)
    held = choose_validation_rows(np.array([0, 1] * 20), 0.25, 0)
    kept = [text for text, out in zip(texts, held, strict=True) if not out]
    assert sorted(prepared.encoder.vocabulary.words.to_pylist()) == sorted(kept)
    assert bags_of(prepared.train) == prepared.encoder.encode(kept).to_lists()
    assert bags_of(prepared.validation) == [[]] * 10  # no word of theirs was seen
    classes = np.array([0, 1] * 20)
    assert prepared.train.classes[0].tolist() == classes[~held].tolist()
    assert prepared.validation.classes[0].tolist() == classes[held].tolist()


def bags_of(encoded: Any) -> list[list[int]]:
    return [bag for shard in encoded.shards for bag in shard().to_lists()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source of three splits; ``a`` rows train, ``b`` rows validate, ``c`` rows test."""
    for split, letter, rows in (("train", "a", 20), ("validation", "b", 3), ("test", "c", 4)):
        labels = ["x", "y"] * 10
        write_csv(tmp_path / f"{split}.csv", table_of([letter] * rows, labels[:rows]))
    return tmp_path


def lengths(config: Config) -> tuple[int, int | None]:
    prepared = prepare(config, load_examples(config))
    return len(prepared.train), None if prepared.validation is None else len(prepared.validation)


@pytest.mark.parametrize(
    ("validation", "expected", "letters"),
    [
        ("auto", (20, 3), {"b"}),
        ("test", (20, 4), {"c"}),
        (0.25, (15, 5), {"a"}),
        (0, (20, None), None),
        (0.02, (20, None), None),
    ],
)
def test_validation_rows_come_from_a_split_or_a_fraction(folder, validation, expected, letters):
    config = make_config(source=str(folder), validation=validation)
    assert lengths(config) == expected
    examples = load_examples(config)
    assert set(texts_of(examples.train)) == {"a"}
    if examples.validation is not None:
        assert set(texts_of(examples.validation)) == letters
    assert examples.source == str(folder)


def texts_of(batches: Any) -> list[str]:
    return [text for batch in batches for text in batch.column("text").to_pylist()]


def test_auto_holds_out_a_tenth_where_there_is_no_split(folder):
    (folder / "validation.csv").unlink()
    assert lengths(make_config(source=str(folder))) == (18, 2)
    assert lengths(make_config(source=str(folder / "train.csv"))) == (18, 2)


def test_another_split_can_be_trained_on(folder):
    config = make_config(source=str(folder), train_split="test", validation=0)
    assert texts_of(load_examples(config).train) == ["c"] * 4


def test_an_unknown_split_is_refused(folder):
    with pytest.raises(DataError, match="no split 'tset'; did you mean 'test'"):
        load_examples(make_config(source=str(folder), validation="tset"))


def test_a_single_file_has_no_named_split(folder):
    with pytest.raises(DataError, match=r"train\.csv has no splits; name a file"):
        load_examples(make_config(source=str(folder / "train.csv"), validation="test"))


def test_the_label_order_of_the_source_is_passed_on(folder):
    source = open_source(DataConfig(source=str(folder)))
    ordered = type(source)(source.spec, source.scans, ["y", "x"])
    assert split_examples(reviews(), ordered, make_config()).label_order == ["y", "x"]


# ------------------------------------------------------------------------------------- prepare


def test_only_the_buckets_that_training_uses_have_a_row():
    texts, labels = ["a b", "a b c", "b c"], ["x", "y", "x"]

    def rows(**values: Any) -> Any:
        config = make_config(word_ngrams=2, bucket=1000, **values)
        return prepare(config, Examples(table_of(texts, labels), None))

    whole, pruned = rows(prune=False), rows()
    assert (whole.encoder.rows, pruned.encoder.rows) == (3 + 1000, 3 + 2)
    buckets = [row - 3 for row in bags_of(whole.train)[1][3:]]
    assert pruned.encoder.buckets.ids.tolist() == sorted(buckets)
    assert [len(bag) for bag in bags_of(pruned.train)] == [3, 5, 3]
    assert (
        pruned.encoder.encode(["b a"]).to_lists()[0]
        == whole.encoder.encode(["b a"]).to_lists()[0][:2]
    )
    counted = rows(min_ngram_count=3)
    assert (counted.encoder.rows, bags_of(counted.train)) == (
        3,
        [bag[:n] for bag, n in zip(bags_of(whole.train), (2, 3, 2), strict=True)],
    )


def test_data_beyond_the_limit_of_memory_gives_the_same_ids_from_files(monkeypatch):
    monkeypatch.setattr("fasttext_app.training.tokenized.SHARD_IDS", 20)
    monkeypatch.setattr("fasttext_app.training.tokenized.PART_ROWS", 5)
    config, examples = (
        make_config(word_ngrams=2, bucket=100),
        Examples(reviews(4), validation_fraction=0.2),
    )
    in_memory = prepare(config, examples)
    with SpillBuffer(0) as spill_buffer:
        from_files = prepare(config, examples, spill_buffer)
        assert spill_buffer.spilled
        assert len(from_files.train.shards) > 1
        for side in ("train", "validation"):
            one, other = getattr(in_memory, side), getattr(from_files, side)
            assert bags_of(one) == bags_of(other)
            assert np.concatenate(one.classes).tolist() == np.concatenate(other.classes).tolist()


@pytest.mark.slow
def test_training_from_files_learns_too(monkeypatch):
    monkeypatch.setattr("fasttext_app.training.tokenized.SHARD_IDS", 40)
    monkeypatch.setattr("fasttext_app.training.tokenized.PART_ROWS", 7)
    result = run(Examples(reviews(6), None), in_memory_mb=0, epochs=20)
    assert [prediction.labels for prediction in result.model.predict(GOOD)] == [("good",)] * 4


def test_the_statistics_count_the_rows():
    texts = ["a b", "", "b c c", "  "]
    prepared = prepare(
        make_config(word_ngrams=2, bucket=10),
        Examples(table_of(texts, ["x", "y", "x", "y"]), None, source="here"),
    )
    assert prepared.statistics.as_dict() == {
        "source": "here",
        "train_rows": 4,
        "labels": {"x": 2, "y": 2},
        "empty_texts": 2,
        "tokens": 5,
        "median_tokens": 1.0,
        "vocabulary": 3,
        "ids": 5 + 3,
        "table_rows": 3 + len(prepared.encoder.buckets),
        "validation_rows": 0,
        "validation_rows_of_unknown_labels": 0,
        "fingerprint": prepared.statistics.fingerprint,
        "files": {},
    }
    assert prepared.train.classes[0].tolist() == [0, 1, 0, 1]
    assert bags_of(prepared.train)[1] == []


def test_validation_rows_of_a_label_that_training_never_saw_are_left_out():
    validation = table_of(["great", "what", "dull"], ["good", "so-so", "bad"])
    prepared = prepare(make_config(), Examples(reviews(), validation))
    assert prepared.statistics.validation_rows == 2
    assert prepared.statistics.validation_rows_of_unknown_labels == 1
    assert prepared.labels.names == ("bad", "good")
    assert prepared.validation.classes[0].tolist() == [1, 0]
    assert bags_of(prepared.validation) == prepared.encoder.encode(["great", "dull"]).to_lists()


def test_only_validation_rows_of_unknown_labels_leave_no_validation():
    prepared = prepare(make_config(), Examples(reviews(), table_of(["great"], ["so-so"])))
    assert prepared.validation is None
    assert prepared.statistics.validation_rows_of_unknown_labels == 1


def test_validation_text_does_not_enter_the_vocabulary():
    prepared = prepare(make_config(), Examples(reviews(), table_of(["secret"], ["good"])))
    assert "secret" not in prepared.encoder.vocabulary.words.to_pylist()
    assert bags_of(prepared.validation) == [[]]


def test_a_label_of_the_given_order_without_rows_keeps_its_class():
    prepared = prepare(make_config(), Examples(reviews(), None, ["good", "so-so", "bad"]))
    assert prepared.labels.names == ("good", "so-so", "bad")
    assert prepared.labels.counts == (12, 0, 12)
    assert set(prepared.train.classes[0].tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        (table_of(["a", "b"], ["x", "x"]), {}, "every training row has the label 'x'"),
        (table_of(["", " "], ["x", "y"]), {}, "none of the 2 training texts has a word"),
        (table_of(["a", "b"], ["x", "y"]), {"min_count": 2}, "check .* text.min_count"),
        (
            table_of(["a", "b"], ["x", "y"]),
            {"padding_idx": 2},
            "model.padding_idx = 2 is outside the table, which has 2 rows",
        ),
    ],
)
def test_rows_that_leave_nothing_to_learn(table, values, message):
    with pytest.raises(TrainingError, match=message):
        prepare(make_config(**values), Examples(table, None, source="here"))


def test_every_label_keeps_a_row_in_training():
    labels = [str(row) for row in range(30)] + ["common"] * 30
    classes = np.unique(labels, return_inverse=True)[1]
    held = choose_validation_rows(classes, 0.5, 0)
    assert set(classes[~held]) == set(classes)
    assert 0 < held.sum() < 30


def test_the_last_row_of_the_table_can_be_the_padding():
    run(padding_idx=prepare(make_config(), Examples(reviews(), None)).encoder.rows - 1)


# --------------------------------------------------------------------------------------- train


def test_the_result_holds_the_model_and_the_outcome_of_its_training():
    validation = table_of(["great fun", "dull"], ["good", "bad"])
    result = run(Examples(reviews(), validation))
    assert [prediction.labels for prediction in result.model.predict(GOOD)] == [("good",)] * 4
    assert len(result.outcome.history) == 3
    artifact = result.model.artifact
    assert artifact.data == result.statistics.as_dict()
    assert artifact.history["best_epoch"] == result.outcome.best_epoch
    best = result.outcome.history[result.outcome.best_epoch - 1]
    assert artifact.metrics == {
        "validation_loss": best.validation_loss,
        "validation_accuracy": best.validation_accuracy,
        "validation_macro_f1": best.validation_macro_f1,
    }
    scores = result.model.evaluate(["great fun", "dull"], ["good", "bad"])
    assert scores["accuracy"] == best.validation_accuracy


def test_the_metrics_are_those_of_the_best_epoch(monkeypatch):
    losses = iter([3.0, 1.0, 2.0])
    scores = {"validation_accuracy": 0.5, "validation_macro_f1": 0.5}
    monkeypatch.setattr(
        Validator, "__call__", lambda *_: scores | {"validation_loss": next(losses)}
    )
    result = run(Examples(reviews(), reviews(1)), monitor="loss")
    assert result.model.artifact.history["best_epoch"] == 2
    assert result.model.artifact.metrics["validation_loss"] == 1.0


def test_without_validation_there_are_no_metrics():
    assert run().model.artifact.metrics == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"mode": "sum"},
        {"mode": "max", "sparse": False},
        {"loss": "ova"},
        {"term_weighting": "tfidf", "mode": "sum"},
        {"scale_grad_by_freq": True, "sparse": False},
        {"max_norm": 0.5},
        {"padding_idx": 0},
        {"name": "sgd", "sparse": False, "momentum": 0.5, "weight_decay": 1e-4},
        {"name": "sparse_adam", "lr": 0.05},
        {"clip_grad_norm": 1.0, "sparse": False},
        {"word_ngrams": 2, "minn": 2, "maxn": 3, "bucket": 100},
        {"include_last_offset": False},
        {"tokenizer": "whitespace"},
    ],
    ids=lambda values: "-".join(values),
)
def test_every_kind_of_model_learns_and_is_the_same_from_disk(tmp_path, values):
    model = run(**({"epochs": 15} | values)).model
    right = [prediction.labels[0] for prediction in model.predict(GOOD + BAD)]
    assert right == ["good"] * 4 + ["bad"] * 4
    model.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    several = [*GOOD, "", "unknown words", "great dull"]
    assert np.array_equal(loaded.predict_proba(several), model.predict_proba(several))


def test_rare_words_weigh_more_and_the_weights_of_a_text_sum_to_one():
    model = run(term_weighting="tfidf", mode="sum").model
    idf = model.artifact.tensors["idf"]
    words = model.artifact.vocabulary.words.to_pylist()
    assert idf[words.index("joy")] < idf[words.index("watch")]
    bags = model.encoder.encode(["a joy to watch", ""])
    weights = tfidf_weights(bags, idf)
    assert weights.sum() == pytest.approx(1)
    assert weights == pytest.approx(idf[bags.indices] / idf[bags.indices].sum())


def test_validation_of_a_weighted_model_agrees_with_the_saved_one():
    validation = table_of(["great dull", "so slow", "joy"], ["good", "bad", "bad"])
    result = run(Examples(reviews(), validation), term_weighting="tfidf", mode="sum", epochs=1)
    proba = result.model.predict_proba(validation["text"])
    loss = -np.log(proba[[0, 1, 2], [1, 0, 0]]).mean()
    assert result.outcome.history[0].validation_loss == pytest.approx(loss, rel=1e-4)


def test_the_form_of_the_offsets_does_not_change_the_weights():
    one, other = (run(include_last_offset=last).model.artifact.tensors for last in (True, False))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_the_padding_row_stays_zero():
    tensors = run(padding_idx=0).model.artifact.tensors
    assert not tensors["table"][0].any()
    assert tensors["table"][1].any()


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "words.vec"
    path.write_text("3 4\ngreat 1 2 3 4\ndull -1 -2 -3 -4\nelse 9 9 9 9\n", encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("values", [{}, {"sparse": False}, {"name": "sparse_adam"}])
def test_frozen_pretrained_rows_land_in_the_table_and_stay(vectors, values):
    result = run(pretrained=str(vectors), freeze_pretrained=True, epochs=5, **values)
    table = dict(
        zip(
            result.model.artifact.vocabulary.words.to_pylist(),
            result.model.artifact.tensors["table"].tolist(),
            strict=True,
        )
    )
    assert table["great"] == [1, 2, 3, 4]
    assert table["dull"] == [-1, -2, -3, -4]
    assert max(abs(x) for x in table["slow"]) > 0.25  # beyond ±1/dim: it was trained


def test_pretrained_rows_that_are_not_frozen_are_trained_from_there(vectors):
    model = run(pretrained=str(vectors), epochs=1, lr=1e-3).model
    row = model.artifact.vocabulary.words.to_pylist().index("great")
    found = model.artifact.tensors["table"][row]
    assert found.tolist() != [1, 2, 3, 4]
    assert found == pytest.approx([1, 2, 3, 4], abs=0.1)


def test_the_coverage_of_pretrained_vectors_is_reported(vectors):
    result = run(pretrained=str(vectors))
    vocabulary = result.model.artifact.vocabulary
    counts = dict(zip(vocabulary.words.to_pylist(), vocabulary.counts.tolist(), strict=True))
    assert result.statistics.pretrained_coverage == {
        "added": 1,
        "words": pytest.approx(2 / (len(vocabulary) - 1)),
        "occurrences": pytest.approx((counts["great"] + counts["dull"]) / sum(counts.values())),
    }
    assert result.model.artifact.data["pretrained_coverage"]["words"] > 0


def test_pretrained_vectors_of_another_dimension(vectors):
    with pytest.raises(DataError, match=r"words\.vec:1: .* set model\.dim = 4"):
        run(pretrained=str(vectors), dim=5)


def test_a_table_that_no_memory_holds():
    # 2^31 rows of 65,536 numbers are more than the address space: nothing is ever allocated.
    message = r"not enough memory .* 2,147,483,\d+ rows x 65536 numbers .* lower text\.bucket"
    with pytest.raises(TrainingError, match=message):
        run(word_ngrams=2, bucket=2**31 - 100, dim=65_536, prune=False)


def test_memory_that_runs_out_in_training(monkeypatch):
    def fit(*arguments: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(TrainingError, match=r"not enough memory .* trainer\.batch_size"):
        run()


def test_another_error_of_torch_stays_itself(monkeypatch):
    error = RuntimeError("something else")

    def fit(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(RuntimeError, match="something else") as caught:
        run()
    assert caught.value is error
    assert caught.value.__cause__ is None  # not itself, which would send a printer in circles


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_found_before_any_work():
    with pytest.raises(DeviceError, match="has no CUDA"):
        run(Examples(table_of([], []), None), device="cuda")


@pytest.mark.slow
def test_training_is_bit_identical_for_any_number_of_threads():
    """With 15 labels, torch would share the products of the linear layer out."""
    settings = {"epochs": 1, "maxn": 0, "refit": False}
    one, two, four = (ft.train("sample", threads=n, **settings).artifact for n in (1, 2, 4))
    assert one.metrics == two.metrics == four.metrics
    for name, values in one.tensors.items():
        np.testing.assert_array_equal(two.tensors[name], values)
        np.testing.assert_array_equal(four.tensors[name], values)


def test_the_threads_of_torch_are_put_back():
    before = torch.get_num_threads()
    run(threads=before + 1)
    assert torch.get_num_threads() == before


def press_ctrl_c_at(kind: type, number: int) -> Any:
    left = [number]

    def callback(event: object) -> None:
        left[0] -= isinstance(event, kind)
        if isinstance(event, kind) and not left[0]:
            raise KeyboardInterrupt

    return callback


def test_ctrl_c_before_the_first_step_ends_it_all(monkeypatch):
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CpuStep, "train_some", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()


def test_ctrl_c_in_the_first_epoch_keeps_what_was_learnt():
    result = run(callback=press_ctrl_c_at(StepEnd, 2))
    assert (result.outcome.interrupted, result.outcome.steps) == (True, 2)
    assert result.model.artifact.history["interrupted"]
    assert result.model.artifact.metrics == {}
    assert result.model.artifact.tensors["weight"].any()


def test_ctrl_c_later_keeps_the_best_epoch(tmp_path):
    validation = table_of(["great fun", "dull"], ["good", "bad"])
    result = run(Examples(reviews(), validation), callback=press_ctrl_c_at(EpochEnd, 2))
    assert result.outcome.interrupted
    assert result.outcome.best_epoch in (1, 2)
    assert result.model.artifact.metrics["validation_accuracy"] >= 0.5
    result.model.save(tmp_path / "model")


def test_a_model_with_a_tokenizer_file_holds_it(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = sorted({word for text in GOOD + BAD for word in text.split()})
    model = tokenizers.models.WordLevel({"?": 0} | {w: n + 1 for n, w in enumerate(words)}, "?")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))

    trained = run(tokenizer=f"hf:{path}", epochs=15).model
    trained.save(tmp_path / "model")
    path.unlink()

    loaded = TextClassifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(GOOD + BAD), trained.predict_proba(GOOD + BAD))
    assert loaded.evaluate(GOOD + BAD, ["good"] * 4 + ["bad"] * 4)["accuracy"] == 1.0


# ------------------------------------------------------------------------ ranking and describing


def test_predict_batches_gives_each_text_with_its_answer():
    model = run().model
    texts = pa.table({"text": GOOD + BAD})
    batches = model.predict_batches(texts.to_batches(max_chunksize=3), top_k=2)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["text"] for row in rows] == GOOD + BAD
    expected = model.predict(GOOD + BAD, top_k=2)
    assert [tuple(row["labels"]) for row in rows] == [answer.labels for answer in expected]
    np.testing.assert_allclose(
        [row["probabilities"] for row in rows], [answer.probabilities for answer in expected]
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_predict_batches_takes_any_column_of_strings(kind):
    model = run().model
    texts = (GOOD + BAD) * 3000  # enough for the compiled way
    batch = pa.record_batch({"text": pa.array(texts, kind)})
    rows = pa.Table.from_batches(model.predict_batches([batch]))
    assert rows["text"].to_pylist() == texts
    assert rows["labels"].to_pylist()[:8] == [[label] for label in ["good"] * 4 + ["bad"] * 4]
    with pytest.raises(DataError, match="there is no text"):
        list(model.predict_batches([pa.record_batch({"text": pa.array(["a", None], kind)})]))


def test_describe_data_counts_one_split(tmp_path):
    texts = ["a b c", "", "a", "b b", "c", "d", "e e e e"]
    labels = ["y", "x", "x", "x", "z", "y", "x"]
    write_csv(tmp_path / "train.csv", table_of(texts, labels))
    write_csv(tmp_path / "test.csv", table_of(["t"], ["x"]))
    found = describe_data(open_source(DataConfig(source=str(tmp_path))), "train")
    assert found["rows"] == 7
    assert found["splits"] == ["test", "train"]
    assert found["words"] == {"total": 12, "mean": 12 / 7, "median": 1.0, "longest": 4}
    assert found["empty_texts"] == 1
    assert list(found["labels"].items()) == [("x", 4), ("y", 2), ("z", 1)]
    assert [row["text"] for row in found["first_rows"]] == texts[:5]


def test_there_is_nothing_to_describe_in_no_rows(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(DataError, match="there are no rows"):
        describe_data(open_source(DataConfig(source=str(tmp_path / "train.csv"))), "train")
