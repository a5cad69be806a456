"""Checkpoints: complete or absent on disk, found after any damage, resumed bit-identically."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.config.interval import Interval
from fasttext_app.config.schema import Config
from fasttext_app.core.checksummed_dir import refuse_unfinished_run, write_json
from fasttext_app.core.device import torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import CheckpointError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.checkpoints import (
    PROGRESS,
    CheckpointRef,
    Checkpoints,
    Snapshot,
    find_checkpoint,
    remove_checkpoints,
)
from fasttext_app.training.dataset import EncodedDataset, ShardedDataset
from fasttext_app.training.events import CheckpointEnd, StepEnd, TrainBegin
from fasttext_app.training.trainer import Trainer
from tests import helpers

RUN = {
    "versions": {},
    "platform": "",
    "seed": 1,
    "git": None,
    "data": {"source": "a.csv", "train_rows": 1, "validation_rows": 0, "fingerprint": ""},
    "config": {},
}


def progress(steps: int) -> dict[str, Any]:
    return {
        **{"epoch": 1, "step": steps, "texts": steps, "loss_sum": 0.5, "seconds": 1.0},
        **{"steps": steps, "stopped_early": False, "best_epoch": 0, "best_score": []},
        "history": [],
    }


EACH = Interval(steps=1)


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    """Only a power failure shows whether data has reached the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def snapshot(steps: int) -> Snapshot:
    return Snapshot(progress(steps), {"table": torch.full((3, 2), float(steps))})


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def saved(place: Path, *steps: int, keep: int = 9) -> None:
    with Checkpoints(place, RUN, EACH, keep) as checkpoints:
        for step in steps:
            checkpoints.save(snapshot(step))


# ----------------------------------------------------------------------------------- on the disk


def test_the_newest_checkpoint_is_found_with_the_manifest_of_its_run(tmp_path):
    saved(tmp_path, 9, 10, 100)
    found = find_checkpoint(tmp_path)
    assert (found.path.name, found.run, found.damaged) == ("000000100", RUN, [])
    again = found.snapshot()
    assert again.progress == progress(100)
    assert torch.equal(again.tensors["table"], torch.full((3, 2), 100.0))


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    saved(tmp_path, 1, 2, 3, 4, keep=2)
    assert names_in(tmp_path / "checkpoints") == ["000000003", "000000004", "lock"]


@pytest.mark.slow
def test_after_any_damage_the_newest_intact_checkpoint_is_found_and_the_damaged_one_named(tmp_path):
    saved(tmp_path / "good", 1, 2)
    newest = Path("checkpoints", "000000002")
    for file in sorted((tmp_path / "good" / newest).iterdir()):
        whole = file.read_bytes()
        cuts = {0, 1, len(whole) // 2, len(whole) - 3}
        flipped = bytearray(whole)
        flipped[whole.index(b'"')] ^= 1
        for content in (None, bytes(flipped), *(whole[:cut] for cut in cuts)):
            shutil.copytree(tmp_path / "good", tmp_path / "bad")
            bad = tmp_path / "bad" / newest / file.name
            bad.unlink() if content is None else bad.write_bytes(content)
            found = find_checkpoint(tmp_path / "bad")
            assert found.path.name == "000000001", (file.name, content)
            assert len(found.damaged) == 1
            assert found.damaged[0].startswith(str(tmp_path / "bad" / newest))
            shutil.rmtree(tmp_path / "bad")


def test_a_partial_checkpoint_of_a_killed_run_is_ignored_and_removed(tmp_path):
    saved(tmp_path, 1)
    half = tmp_path / "checkpoints" / ".000000002.77.partial"
    half.mkdir()
    assert find_checkpoint(tmp_path).path.name == "000000001"
    with Checkpoints(tmp_path, RUN, EACH, resumed=tmp_path / "checkpoints" / "000000001"):
        assert not half.exists()


def test_without_an_intact_checkpoint_the_error_says_why(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint to resume from; is this the --output"):
        find_checkpoint(tmp_path)
    (tmp_path / "manifest.json").touch()
    with pytest.raises(CheckpointError, match="no checkpoint to resume from; the run is finished"):
        find_checkpoint(tmp_path)
    saved(tmp_path, 1)
    (tmp_path / "checkpoints" / "000000001" / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint is damaged: .*state.json: the file is"):
        find_checkpoint(tmp_path)


def test_a_full_disk_leaves_earlier_checkpoints_untouched(tmp_path, monkeypatch):
    saved(tmp_path, 1, 2)
    with Checkpoints(tmp_path, RUN, EACH, resumed=tmp_path) as checkpoints:
        with monkeypatch.context() as patch:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(full))
            with pytest.raises(CheckpointError, match="000000003: cannot be written: No space"):
                checkpoints.save(snapshot(3))
        assert find_checkpoint(tmp_path).path.name == "000000002"
        assert names_in(checkpoints.folder) == ["000000001", "000000002", "lock"]
        checkpoints.save(snapshot(3))
    assert find_checkpoint(tmp_path).path.name == "000000003"


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "checkpoints").touch()
    with pytest.raises(CheckpointError, match="checkpoints: cannot be written"):
        Checkpoints(tmp_path, RUN, EACH).__enter__()


def test_two_runs_cannot_write_to_one_folder(tmp_path):
    with (
        Checkpoints(tmp_path, RUN, EACH),
        pytest.raises(CheckpointError, match="another run writes its checkpoints there"),
    ):
        Checkpoints(tmp_path, RUN, EACH).__enter__()
    with Checkpoints(tmp_path, RUN, EACH):
        pass


def test_a_new_run_does_not_start_over_an_unfinished_one(tmp_path):
    saved(tmp_path, 5)
    with pytest.raises(CheckpointError, match=f"resume it with --resume {tmp_path}, or delete"):
        Checkpoints(tmp_path, RUN, EACH).__enter__()
    with pytest.raises(CheckpointError, match="an unfinished run"):
        refuse_unfinished_run(tmp_path)
    remove_checkpoints(tmp_path)
    refuse_unfinished_run(tmp_path)


def test_a_checkpoint_is_due_by_steps_or_by_time(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    by_steps = Checkpoints(tmp_path, RUN, Interval.parse("3"))
    assert [step for step in range(1, 10) if by_steps.due(step)] == [3, 6, 9]
    by_epoch = Checkpoints(tmp_path, RUN, Interval.parse("epoch"))
    assert not any(by_epoch.due(step) for step in range(1, 10))
    with Checkpoints(tmp_path, RUN, Interval.parse("2m")) as by_time:
        now += 119
        assert not by_time.due(1)
        now += 1
        assert by_time.due(2)
        by_time.save(snapshot(2))
        assert not by_time.due(3)


def test_a_jump_of_the_wall_clock_makes_no_checkpoint_due(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, RUN, Interval.parse("1h"))
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert not checkpoints.due(1)


# ------------------------------------------------------------------------- on the way of training

ROWS, TEXTS, CLASSES = 30, 50, 3
CASES = [
    {"name": "sgd"},
    {"name": "adagrad"},
    {"name": "rowwise_adagrad"},
    {"name": "sparse_adam"},
    {"name": "sgd", "implementation": "torch"},
    {"name": "sgd", "sparse": False, "momentum": 0.9},
    {"name": "adagrad", "implementation": "torch"},
    {"name": "rowwise_adagrad", "implementation": "torch"},
    {"name": "sparse_adam", "implementation": "torch"},
    {"mode": "max", "sparse": False},
    {"mode": "sum", "term_weighting": "tfidf"},
    {"loss": "ova", "max_norm": 0.5},
    {"loss": "ns"},
    {"loss": "hs", "bias": False},
    {"loss": "adaptive", "cutoffs": [1], "name": "sparse_adam"},
    {"loss": "adaptive", "cutoffs": [1], "implementation": "torch"},
    {"token_dropout": 0.3},
    {"token_dropout": 0.3, "implementation": "torch", "mode": "sum", "term_weighting": "tfidf"},
    {"bag_dropout": 0.4},
    {"bag_dropout": 0.4, "implementation": "torch", "loss": "ns"},
    {"focal_gamma": 1.5, "loss": "ova"},
    {"label_smoothing": 0.1, "token_dropout": 0.2, "bag_dropout": 0.2},
]
SHARDED_CASES = [
    {"name": "sparse_adam"},
    {"name": "sgd", "implementation": "torch", "loss": "ns"},
    {"mode": "sum", "term_weighting": "tfidf", "token_dropout": 0.3},
    {"implementation": "torch", "token_dropout": 0.3},
    {"bag_dropout": 0.4},
    {"implementation": "torch", "bag_dropout": 0.4},
]
RUNS = [(case, False) for case in CASES] + [(case, True) for case in SHARDED_CASES]


def make_config(**settings: object) -> Config:
    values = {"dim": 4, "batch_size": 8, "epochs": 3, "lr": 0.3, "warmup": 0.1, "threads": 1}
    return helpers.make_config(**(values | settings))


def make_data(texts: int, seed: int, *, weighted: bool = False) -> EncodedDataset:
    generator = np.random.default_rng(seed)
    bags = [generator.integers(0, ROWS, generator.integers(0, 9)).tolist() for _ in range(texts)]
    idf = np.linspace(1, 2, ROWS, dtype=np.float32) if weighted else None
    return EncodedDataset(
        Ragged.from_lists(bags, np.int32), generator.integers(0, CLASSES, texts), idf
    )


def sharded(data: EncodedDataset) -> ShardedDataset:
    """Cut a data set into shards of 20, 17 and 13 texts."""
    bounds, shards, lengths = [0, 20, 37, TEXTS], [], []
    for start, end in pairwise(bounds):
        texts = np.arange(start, end)
        part = EncodedDataset(data.bags.take(texts), data.labels.numpy()[texts], data.idf)
        shards.append(lambda part=part: part)
        lengths.append(end - start)
    return ShardedDataset(shards, lengths)


class Stopped:
    """Asks a run to end after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def train(config, place: Path | None, stop_after: int = 0, *, shards=False, sets=None, every="4"):
    """Train, or go on where there is a checkpoint in ``place``; return the weights and outcome."""
    weighted = config.text.term_weighting == "tfidf"
    data, validation = make_data(TEXTS, 0, weighted=weighted), make_data(11, 1, weighted=weighted)
    model = FastTextClassifier.from_config(
        config.model, ROWS, CLASSES, torch.Generator().manual_seed(0)
    )
    events: list[object] = []
    stop = Stopped(stop_after) if stop_after else None
    trainer = Trainer(model, config, events.append, None, sets, stop)
    training = sharded(data) if shards else data
    if place is None:
        outcome = trainer.fit(training, validation)
    else:
        under_way = any(place.glob("checkpoints/[0-9]*"))
        found = find_checkpoint(place) if under_way else None
        resumed = found.path if found else None
        with Checkpoints(place, RUN, Interval.parse(every), 2, resumed) as checkpoints:
            resume = found.snapshot() if found else None
            outcome = trainer.fit(training, validation, checkpoints, resume)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return weights, outcome, events


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def figures(outcome) -> list[tuple[float | None, ...]]:
    return [
        (record.train_loss, record.validation_loss, record.validation_accuracy)
        for record in outcome.history
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "shards"), RUNS, ids=str)
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(tmp_path, case, shards):
    config = make_config(**case)
    with torch_threads(1):
        whole, whole_outcome, _ = train(config, None, shards=shards)
        for steps in (6, 3, 8):  # within epochs and over their ends
            _, outcome, _ = train(config, tmp_path, steps, shards=shards, every="epoch")
            assert outcome.interrupted
            assert outcome.checkpoint == str(find_checkpoint(tmp_path).path)
        pieces, outcome, events = train(config, tmp_path, shards=shards, every="epoch")
    assert_same(whole, pieces)
    assert figures(outcome) == figures(whole_outcome)
    assert (outcome.best_epoch, outcome.steps) == (whole_outcome.best_epoch, whole_outcome.steps)
    assert isinstance(events[0], TrainBegin)
    assert events[0].resumed_from.endswith("000000017")


@pytest.fixture(scope="module")
def whole_runs():
    """The weights of a run that was not interrupted, by optimizer."""
    with torch_threads(1):
        return {name: train(make_config(name=name), None)[0] for name in ("adagrad", "sparse_adam")}


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(
    name=st.sampled_from(["adagrad", "sparse_adam"]), steps=st.integers(5, 20), killed=st.booleans()
)
def test_a_run_can_be_resumed_from_any_step_and_from_any_older_checkpoint(
    whole_runs, tmp_path_factory, name, steps, killed
):
    """A kill leaves the last checkpoint behind, which may be older than the last step."""
    place = tmp_path_factory.mktemp("run")
    config = make_config(name=name)
    with torch_threads(1):
        train(config, place, steps)
        if killed:  # not stopped, so that its last checkpoint is missing
            shutil.rmtree(find_checkpoint(place).path)
        pieces, _, _ = train(config, place)
    assert_same(whole_runs[name], pieces)


def test_a_resumed_run_draws_the_same_labels_of_multi_label_rows(tmp_path):
    sets = Ragged.from_lists([[0], [0, 1], [1, 2]])
    config = make_config(label_separator="|")
    with torch_threads(1):
        whole, _, _ = train(config, None, sets=sets)
        train(config, tmp_path, 10, sets=sets)
        pieces, _, _ = train(config, tmp_path, sets=sets)
    assert_same(whole, pieces)


@pytest.mark.slow
def test_the_best_epoch_before_an_interruption_is_restored(tmp_path):
    config = make_config(monitor="loss", lr=3.0, name="sgd", epochs=6)
    with torch_threads(1):
        whole, outcome, _ = train(config, None)
        assert 1 <= outcome.best_epoch < 5, "the case shows nothing"
        train(config, tmp_path, 7 * 5)
        pieces, again, _ = train(config, tmp_path)
    assert again.best_epoch == outcome.best_epoch
    assert_same(whole, pieces)


def test_a_run_that_stops_early_stays_stopped(tmp_path):
    config = make_config(monitor="loss", lr=3.0, name="sgd", epochs=30, patience=2)
    with torch_threads(1):
        whole, outcome, events = train(config, tmp_path)
        assert outcome.stopped_early
        assert len(outcome.history) == outcome.best_epoch + 2 < 30
        pieces, again, events = train(config, tmp_path)
    assert again.stopped_early
    assert not any(isinstance(event, StepEnd) for event in events)
    assert_same(whole, pieces)


def test_checkpoints_do_not_change_the_result_of_a_run(tmp_path):
    config = make_config()
    with torch_threads(1):
        assert_same(train(config, None)[0], train(config, tmp_path)[0])


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch):
    def full(self, snapshot):
        raise CheckpointError("no space")

    monkeypatch.setattr(Checkpoints, "save", full)
    with torch_threads(1):
        _, outcome, events = train(make_config(), tmp_path)
    problems = [event.problem for event in events if isinstance(event, CheckpointEnd)]
    assert problems == ["no space"] * 8  # after steps 4, 8, 12, 16 and 20, and 3 epochs
    assert len(outcome.history) == 3


def test_the_state_on_disk_is_plain_json_and_tensors(tmp_path):
    with torch_threads(1):
        train(make_config(), tmp_path, 9)
    path = find_checkpoint(tmp_path).path
    assert sorted(file.name for file in path.iterdir()) == [
        "manifest.json", "run.json", "state.json", "state.safetensors",
    ]  # fmt: skip
    progress = json.loads((path / "state.json").read_text())
    assert (progress["epoch"], progress["step"], progress["steps"]) == (2, 2, 9)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", 0),
        ("epoch", 3),
        ("epoch", 2**40),
        ("step", -1),
        ("step", 99),
        ("steps", "many"),
        ("steps", None),
        ("loss_sum", math.nan),
        ("best_epoch", 1),
        ("best_score", ["x"]),
        ("history", [{"epoch": 1}]),
        ("history", [None]),
    ],
)
def test_impossible_progress_is_refused(tmp_path, key, value):
    saved(tmp_path, 1)
    folder = find_checkpoint(tmp_path).path
    write_json(folder / PROGRESS, progress(1) | {key: value})
    with pytest.raises(CheckpointError, match=r"000000001: cannot be read: state.json: "):
        CheckpointRef(folder, RUN, []).snapshot()


def test_a_weight_that_is_not_finite_is_refused(tmp_path):
    tensors = {"table": torch.full((3, 2), math.nan)}
    with Checkpoints(tmp_path, RUN, EACH) as checkpoints:
        checkpoints.save(Snapshot(progress(1), tensors))
    with pytest.raises(CheckpointError, match="the tensor table has a weight that is not finite"):
        find_checkpoint(tmp_path).snapshot()


@pytest.mark.parametrize("optimizer", ["adagrad", "sparse_adam"])
def test_a_checkpoint_with_tensors_of_another_run_is_refused(optimizer):
    """Compiled steps would write outside of them."""
    config = helpers.make_config(name=optimizer, lr=0.01, epochs=2)
    bags = Ragged.from_lists([[0, 1], [2]], np.int32)
    data = EncodedDataset(bags, np.array([0, 1]), include_last_offset=True)

    def trainer() -> Trainer:
        model = FastTextClassifier.from_config(config.model, 3, 2)
        return Trainer(model, config)

    first = trainer()
    first.fit(data)
    good = first._snapshot()
    trainer()._restore(good, steps=1)
    for name in [name for name in good.tensors if not name.startswith("best.")]:
        wrong = {**good.tensors, name: torch.zeros(7)}
        with pytest.raises(CheckpointError, match="does not fit the run"):
            trainer()._restore(Snapshot(good.progress, wrong), steps=1)
    fewer = {name: value for name, value in good.tensors.items() if name != "order"}
    with pytest.raises(CheckpointError, match="does not fit the run"):
        trainer()._restore(Snapshot(good.progress, fewer), steps=1)
    with pytest.raises(CheckpointError, match="does not fit the run"):
        trainer()._restore(Snapshot({**good.progress, "step": 5}, good.tensors), steps=1)
