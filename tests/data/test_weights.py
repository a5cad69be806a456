"""Weights of rows, from a column or from their class, in every loss."""

from __future__ import annotations

import json
import re
import tomllib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import fasttext_app
from fasttext_app.config.loading import dump_config, parse_assignments, resolve
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.labels import LabelEncoder, Labels
from fasttext_app.data.spec import open_source
from fasttext_app.data.split import Examples
from fasttext_app.data.weights import text_weights
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Grouping, collate
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.loader import epoch
from fasttext_app.training.losses import build_loss
from fasttext_app.training.optim.cuda_batches import cut_on_cuda
from fasttext_app.training.prepare import prepare, prepare_source
from fasttext_app.training.trainer import Trainer
from tests.helpers import WORDS_ONLY, make_config

WEIGHTS = [0.5, 2.0, 0.0, 1.0, 3.25]
ROWS = [(f"w{n % 7} common", f"label {n % 2}", WEIGHTS[n % 5]) for n in range(40)]


def labels_of(classes: int) -> LabelEncoder:
    names = tuple(f"c{number}" for number in range(classes))
    return LabelEncoder(Labels(names, (0,) * classes))


# ---------------------------------------------------------------------------- how much a row counts


def test_rows_without_weights_weigh_the_same():
    numbers = np.array([0, 1])
    assert text_weights(numbers, numbers >= 0, labels_of(2), "none") is None


@pytest.mark.slow
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
@settings(deadline=None, max_examples=25)
def test_balanced_class_weights_equal_those_of_scikit_learn(classes):
    utils = pytest.importorskip("sklearn.utils.class_weight")
    numbers = np.array(classes)
    found = text_weights(numbers, numbers >= 0, labels_of(4), "balanced")
    by_class = utils.compute_class_weight("balanced", classes=np.unique(numbers), y=numbers)
    expected = dict(zip(np.unique(numbers).tolist(), by_class.tolist(), strict=True))
    assert found == pytest.approx(np.array([expected[c] for c in classes]), rel=1e-5)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=20).filter(
        lambda rows: any(times for _, times in rows)
    ),
    st.sampled_from(["none", "balanced", "table"]),
)
@settings(deadline=None, max_examples=40)
def test_a_weight_of_k_counts_like_k_copies_of_the_row(rows, kind):
    class_weights = {"c1": 2.5, "c2": 0.25} if kind == "table" else kind
    numbers, times = (np.array([row[side] for row in rows]) for side in (0, 1))
    losses = np.linspace(0.1, 3, len(rows))  # arbitrary, one for each row
    given = [times.astype(np.float32)]
    weights = text_weights(numbers, numbers >= 0, labels_of(3), class_weights, given)
    again = np.repeat(np.arange(len(rows)), times)
    copies = text_weights(numbers[again], again >= 0, labels_of(3), class_weights)
    copies = np.ones(len(again)) if copies is None else copies
    assert (weights * losses).mean() == pytest.approx((copies * losses[again]).mean(), rel=1e-4)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_class_weights_can_be_set_label_by_label():
    numbers = np.array([0, 1, 2, 0])
    found = text_weights(numbers, numbers >= 0, labels_of(3), {"c0": 4.0, "c2": 0.0})
    assert found == pytest.approx(np.array([4, 1, 0, 4]) / 2.25)


def test_held_out_rows_do_not_count_for_the_mean_weight():
    numbers, train = np.array([0, 0, 1, 1]), np.array([True, True, True, False])
    found = text_weights(numbers, train, labels_of(2), "balanced")
    assert found[train] == pytest.approx([0.75, 0.75, 1.5])


def test_a_row_with_several_labels_has_the_mean_of_their_weights():
    labels = LabelEncoder(Labels(("a", "b"), (0, 0)), "|", allow_empty=True)
    numbers = labels.encode(pa.array(["a", "a|b", "|"]))
    found = text_weights(numbers, numbers >= 0, labels, {"a": 3.0})
    assert found == pytest.approx(np.array([3, 2, 1]) / 2)


def test_class_weights_of_an_unknown_label_are_refused_with_a_suggestion():
    numbers = np.array([0, 1])
    with pytest.raises(ConfigError, match=r"class_weights: there is no label 'c00'; did you mean"):
        text_weights(numbers, numbers >= 0, labels_of(2), {"c00": 2.0})
    with pytest.raises(ConfigError, match="there is no label 'spam'; the labels are c0, c1"):
        text_weights(numbers, numbers >= 0, labels_of(2), {"spam": 2.0})


def test_weights_that_are_all_0_are_refused():
    with pytest.raises(TrainingError, match="every training row has the weight 0"):
        fasttext_app.train(["a b", "b c"], ["x", "y"], weights=[0, 0], validation=0.0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("even", 'must be "none", "balanced" or a table of labels'),
        (3, 'must be "none", "balanced" or a table of labels'),
        ({"spam": -1}, "the weight of 'spam' must be a finite number >= 0"),
        ({"spam": "5"}, "the weight of 'spam' must be a finite number >= 0"),
        ({"spam": float("inf")}, "the weight of 'spam' must be a finite number >= 0"),
        ({"spam": True}, "the weight of 'spam' must be a finite number >= 0"),
    ],
)
def test_invalid_class_weights_are_refused(value, reason):
    with pytest.raises(ConfigError, match=rf"^trainer\.class_weights: {re.escape(reason)}"):
        resolve({"trainer": {"class_weights": value}})


def test_class_weights_survive_toml():
    layer = parse_assignments(['trainer.class_weights={"Sci/Tech" = 5, World = 0.5}'])
    config = resolve(layer)
    assert config.trainer.class_weights == {"Sci/Tech": 5.0, "World": 0.5}
    text = dump_config(config)
    assert resolve(tomllib.loads(text)) == config


# ----------------------------------------------------------------------------- from rows to batches


@pytest.fixture
def folder(tmp_path):
    """The same rows in every format that can have a column of weights."""
    texts, labels, weights = zip(*ROWS, strict=True)
    table = pa.table({"text": texts, "label": labels, "votes": weights})
    pq.write_table(table, tmp_path / "rows.parquet")
    for name, separator in (("csv", ","), ("tsv", "\t")):
        lines = [separator.join(map(str, row)) for row in [("text", "label", "votes"), *ROWS]]
        (tmp_path / f"rows.{name}").write_text("\n".join(lines) + "\n")
    objects = [dict(zip(("text", "label", "votes"), row, strict=True)) for row in ROWS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    return tmp_path


QUICK = WORDS_ONLY | {"dim": 4, "epochs": 2, "lr": 0.5, "threads": 1, "batch_size": 8}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_weights_from_a_file_equal_weights_in_python(folder, form):
    texts, labels, weights = zip(*ROWS, strict=True)
    of_file = fasttext_app.train(folder / f"rows.{form}", weight_column="votes", **QUICK)
    in_python = fasttext_app.train(texts, labels, weights=weights, **QUICK)
    without = fasttext_app.train(texts, labels, **QUICK)
    tables = [model.artifact.tensors["table"] for model in (of_file, in_python, without)]
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


def test_weights_stay_with_their_rows_across_shards_and_held_out_rows(folder, monkeypatch):
    monkeypatch.setattr("fasttext_app.training.tokenized.SHARD_IDS", 12)
    monkeypatch.setattr("fasttext_app.training.tokenized.PART_ROWS", 5)
    config = make_config(source=str(folder / "rows.csv"), weight_column="votes", in_memory_mb=0)
    prepared = prepare_source(config, str(folder))
    assert len(prepared.train.shards) > 3
    kept = np.flatnonzero(prepared.train_mask)
    given = np.array([ROWS[row][2] for row in kept])
    found = np.concatenate(prepared.train.weights)
    assert found == pytest.approx(given / given.mean(), rel=1e-5)
    assert found.dtype == np.float32
    assert list(map(len, prepared.train.weights)) == list(map(len, prepared.train.classes))
    words = [bags.to_lists() for bags in (load() for load in prepared.train.shards)]
    rows = [prepared.encoder.encode_chunk(pa.array([ROWS[row][0]])).to_lists()[0] for row in kept]
    assert [bag for shard in words for bag in shard] == rows
    assert prepared.validation is not None
    assert prepared.validation.weights is None


def test_a_run_over_shards_with_weights_ends(folder, monkeypatch):
    monkeypatch.setattr("fasttext_app.training.tokenized.SHARD_IDS", 12)
    monkeypatch.setattr("fasttext_app.training.tokenized.PART_ROWS", 5)
    model = fasttext_app.train(
        folder / "rows.csv",
        weight_column="votes",
        in_memory_mb=0,
        class_weights="balanced",
        **QUICK,
    )
    assert set(model.labels) == {"label 0", "label 1"}


@pytest.mark.parametrize(
    ("form", "content", "reason"),
    [
        ("csv", "text,label,w\na,x,1\n\na,x,-2\n", "rows.csv:4: column 'w' has the weight -2; a"),
        ("csv", "text,label,w\na,x,1\na,x,nan\n", "rows.csv:3: column 'w' has the weight nan"),
        ("csv", "text,label,w\na,x,1\na,x,1e39\n", "rows.csv:3: column 'w' has the weight 1e+39"),
        ("csv", "text,label,w\na,x,1\na,x,\n", "rows.csv:3: column 'w' has no weight"),
        ("csv", "text,label,w\na,x,1\na,x,much\n", "rows.csv:3: column 'w' holds 'much', which is"),
        ("csv", "text,label\na,x\n", "the columns are 'text', 'label' (choose with data.weight_"),
        ("jsonl", '{"text": "a", "label": "x", "w": 1}\n{"text": "a", "label": "x"}\n',
         "rows.jsonl:2: column 'w' has no weight"),
        ("jsonl", '{"text": "a", "label": "x", "w": "1"}\n',
         "rows.jsonl:1: field 'w' is str where float is expected"),
        ("txt", "__label__x a\n", "rows.txt: fastText text has no columns, so data."),
    ],
)  # fmt: skip
def test_an_invalid_weight_is_refused_with_its_row(tmp_path, form, content, reason):
    path = tmp_path / f"rows.{form}"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        fasttext_app.train(path, weight_column="w")
    assert reason in str(caught.value)


def test_a_parquet_column_that_is_not_numeric_is_refused_as_weights(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": ["x"], "w": [True]}), tmp_path / "r.parquet")
    with pytest.raises(DataError, match="column 'w' holds bool, not weights"):
        fasttext_app.train(tmp_path / "r.parquet", weight_column="w")


@pytest.mark.parametrize("spec", ["sample", "ag_news"])
def test_built_in_sources_have_no_weights(spec, request):
    if spec == "ag_news":
        request.getfixturevalue("ag_news_dir")
    with pytest.raises(DataError, match=f"^{spec}: has no column of weights"):
        fasttext_app.train(spec, weight_column="w")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"weights": [1.0]}, "train: got 1 weights for 2 texts"),
        ({"weights": [1.0, -1.0]}, "train, row 2: column 'weight' has the weight -1"),
        ({"weights": [1.0, None]}, "train, row 2: column 'weight' has no weight"),
        ({"weights": [1.0, "x"]}, "train, weights, row 2: got a str where other rows have a float"),
        ({"weight_column": "w"}, r"data.weight_column: texts have no columns; pass weights="),
    ],
)
def test_weights_in_python_are_validated(settings, reason):
    with pytest.raises((DataError, ConfigError), match=reason):
        fasttext_app.train(["a b", "c d"], ["x", "y"], **settings)
    if "weights" in settings:
        with pytest.raises(DataError, match="weights can only be passed with texts; for a SPEC"):
            fasttext_app.train("sample", weights=[1.0])


def test_validation_and_test_rows_need_no_weight_column(folder, tmp_path):
    place = tmp_path / "split"
    place.mkdir()
    (place / "train.csv").write_text((folder / "rows.csv").read_text())
    for split in ("validation", "test"):
        (place / f"{split}.csv").write_text("text,label\nw1 common,label 1\nw0 common,label 0\n")
    model = fasttext_app.train(place, weight_column="votes", **QUICK)
    assert model.artifact.data["validation_rows"] == 2
    assert model.evaluate(place)["examples"] == 2


def test_the_fingerprint_depends_on_the_weights():
    digests = set()
    for weights in (None, [1.0, 2.0], [2.0, 1.0]):
        columns = {"text": ["a", "b"], "label": ["x", "y"]}
        if weights is not None:
            columns["weight"] = pa.array(weights, pa.float32())
        fingerprint = Fingerprint()
        fingerprint.update(pa.record_batch(columns))
        digests.add(fingerprint.digest())
    assert len(digests) == 3


def make_data(texts: int = 30, *, weighted: bool = True, last: bool = True) -> EncodedDataset:
    rng = np.random.default_rng(0)
    bags = [rng.integers(0, 9, rng.integers(0, 6)).tolist() for _ in range(texts)]
    weights = rng.uniform(0, 3, texts).astype(np.float32)
    return EncodedDataset(
        Ragged.from_lists(bags, np.int32),
        np.arange(texts) % 3,
        None,
        weights if weighted else None,
        include_last_offset=last,
    )


def test_every_way_to_build_a_batch_carries_the_weights():
    data, order = make_data(), [torch.Generator().manual_seed(1) for _ in range(3)]
    grouping = Grouping(rows=9, mean=True, threads=1)
    ways = [
        list(epoch(data, 4, order[0])),
        list(epoch(data, 4, order[1], grouping)),
        list(cut_on_cuda(data, torch.randperm(len(data), generator=order[2]), 4, grouping)),
    ]
    for batches in zip(*ways, strict=True):
        for batch in batches:
            assert torch.equal(batch.weights, batches[0].weights)
    whole = data.gather(torch.arange(30))
    assert torch.equal(whole.weights, collate([data[row] for row in range(30)]).weights)
    assert make_data(weighted=False).gather(torch.arange(3)).weights is None


# ------------------------------------------------------------------------------------ in the losses


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", ["softmax", "ova", "ns", "hs"])
def test_the_loss_of_a_batch_is_the_weighted_sum_over_the_number_of_texts(name, several):
    torch.manual_seed(0)
    linear, bags, labels = nn.Linear(3, 4), torch.randn(3, 3), torch.tensor([1, 0, 2])
    sets = Ragged.from_lists([[0, 2], [1], [1, 3]]) if several else None
    config = resolve({"model": {"loss": name}, "data": {"label_separator": "|"}})

    def loss(weights):
        weights = None if weights is None else torch.tensor(weights)
        draws = torch.Generator().manual_seed(0)  # the same at each call
        return build_loss(config, [4, 3, 2, 1], sets, draws)(linear, bags, labels, weights)

    alone = [3 * loss([float(n == row) for n in range(3)]) for row in range(3)]
    torch.testing.assert_close(loss([2.0, 0.5, 0.0]), (2 * alone[0] + 0.5 * alone[1]) / 3)
    torch.testing.assert_close(loss(None), sum(alone) / 3)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_training_with_weights_equals_a_plain_loop(implementation):
    config = make_config(
        name="sgd", lr=0.5, epochs=3, batch_size=8, dim=4,
        schedule="constant", implementation=implementation,
    )  # fmt: skip
    data = make_data()
    trained, plain = (
        FastTextClassifier.from_config(config.model, 9, 3, torch.Generator().manual_seed(2))
        for _ in range(2)
    )
    Trainer(trained, config).fit(data)
    order = torch.Generator().manual_seed(0)
    for _ in range(3):
        for rows in torch.randperm(30, generator=order).split(8):
            batch = data.gather(rows)
            plain.zero_grad()
            logits = plain(batch.indices, batch.offsets)
            losses = functional.cross_entropy(logits, batch.labels, reduction="none")
            (losses * data.text_weights[rows]).mean().backward()
            for parameter in plain.parameters():
                parameter.data -= 0.5 * parameter.grad.to_dense()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_a_weight_of_2_trains_like_a_duplicate_row():
    """With all rows in one batch, the gradient is the expected one, and so are the weights."""
    config = make_config(name="sgd", epochs=9, batch_size=99, dim=4)
    bags, classes = [[0, 1], [2], [1, 3], [4, 0]], np.array([0, 1, 2, 0])
    times = np.array([2, 1, 3, 1])
    again = np.repeat(np.arange(4), times)
    weights = (times / times.mean()).astype(np.float32)
    models = []
    for rows, own in ((np.arange(4), weights), (again, None)):
        model = FastTextClassifier.from_config(config.model, 5, 3, torch.Generator().manual_seed(2))
        ragged = Ragged.from_lists([bags[row] for row in rows], np.int32)
        Trainer(model, config).fit(EncodedDataset(ragged, classes[rows], None, own))
        models.append(model.state_dict())
    for name, value in models[0].items():
        torch.testing.assert_close(value, models[1][name], rtol=1e-4, atol=1e-6)


def test_balanced_weights_find_a_rare_class():
    texts = ["a b c"] * 95 + ["a b c rare"] * 5  # only the rare word tells the classes apart
    labels = ["often"] * 95 + ["seldom"] * 5
    quick = {"epochs": 2, "lr": 0.1, "dim": 4, "validation": 0.0, "threads": 1}
    plain = fasttext_app.train(texts, labels, **quick)
    balanced = fasttext_app.train(texts, labels, class_weights="balanced", **quick)
    assert plain.predict("a b c rare").labels == ("often",)
    assert balanced.predict("a b c rare").labels == ("seldom",)


def test_weights_are_scaled_over_training_rows_only():
    rows = pa.table({"text": ["a b"] * 20, "label": ["x"] * 15 + ["y"] * 5})
    config = resolve({"trainer": {"class_weights": "balanced"}})
    with SpillBuffer(2**30) as spill_buffer:
        prepared = prepare(config, Examples(rows, validation_fraction=0.2), spill_buffer)
    weights = np.concatenate(prepared.train.weights)
    assert len(weights) == 16
    assert weights.mean() == pytest.approx(1)
    by_class = [weights[np.concatenate(prepared.train.classes) == c].sum() for c in (0, 1)]
    assert by_class == pytest.approx([8, 8])


def test_a_dataset_can_have_weights(tmp_path):
    datasets = pytest.importorskip("datasets")
    texts, labels, weights = zip(*ROWS, strict=True)
    columns = {"text": texts, "label": labels, "votes": weights}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "saved")
    config = resolve({"data": {"source": str(tmp_path / "saved"), "weight_column": "votes"}})
    table = open_source(config.data, weights=True).read("train")
    assert table["weight"].to_pylist() == list(weights)
    assert open_source(config.data).read("train").column_names == ["text", "label"]


@pytest.mark.parametrize("name", ["focal_gamma", "bag_dropout"])
def test_only_the_plain_softmax_loss_is_plain(name):
    def is_plain(sets=None, **trainer):
        return build_loss(resolve({"trainer": trainer}), [1, 1], sets).plain

    assert is_plain()
    assert is_plain(token_dropout=0.5, label_smoothing=0.5)
    assert not is_plain(**{name: 0.5})
    assert not is_plain(Ragged.from_lists([[0]]))
