"""``trainer.refit``: held-out rows choose the epoch, then the model learns from all rows."""

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.model.train_warnings import Interrupted
from fasttext_app.training.events import EpochEnd, StepEnd, TrainBegin
from tests.conftest import TINY_EXAMPLES
from tests.helpers import run_cli

TEXTS, LABELS = map(list, zip(*TINY_EXAMPLES * 3, strict=True))
SETTINGS = {"validation": 0.2, "epochs": 3, "dim": 4, "threads": 1, "batch_size": 16}


def train(**settings):
    return ft.train(TEXTS, LABELS, **{**SETTINGS, "refit": True, **settings})


def test_the_final_model_is_that_of_a_run_on_all_rows():
    model = train(calibrate=False)
    best = model.artifact.history["best_epoch"]
    settings = model.artifact.config.optimizer.model_dump()
    plain = train(
        **{name: settings[name] for name in ("lr", "eps")},
        validation=0.0,
        refit=False,
        stop_after=best,
    )
    for name, values in plain.artifact.tensors.items():
        np.testing.assert_array_equal(model.artifact.tensors[name], values)
    assert model.artifact.vocabulary.words == plain.artifact.vocabulary.words


def test_scores_and_temperature_are_of_the_model_without_the_held_out_rows():
    # The model must not be right on all held-out rows: no temperature would fit.
    first = train(refit=False, calibrate=True, lr=0.02)
    final = train(calibrate=True, fold=False, lr=0.02)
    assert final.artifact.metrics == first.artifact.metrics
    assert final.artifact.calibration == first.artifact.calibration
    assert final.artifact.data["refit_rows"] == final.artifact.data["train_rows"] == len(TEXTS)
    assert final.artifact.data["validation_rows"] == 12
    uncalibrated = train(calibrate=False, fold=False, lr=0.02)
    temperature = np.float32(final.artifact.calibration["temperature"]["value"])
    np.testing.assert_array_equal(
        final.artifact.tensors["weight"], uncalibrated.artifact.tensors["weight"] / temperature
    )


def test_it_is_the_same_on_every_run():
    one, other = train(), train()
    assert all((one.artifact.tensors[n] == v).all() for n, v in other.artifact.tensors.items())


def test_the_latest_epoch_within_a_standard_error_is_chosen():
    # All epochs are right on all 12 rows, or nearly so: the last one is chosen.
    assert train(epochs=6).artifact.history["best_epoch"] == 6


def test_events_tell_the_two_runs_apart():
    events = []
    train(callback=events.append)
    begins = [event for event in events if isinstance(event, TrainBegin)]
    assert [(begin.texts, begin.refit) for begin in begins] == [(48, False), (60, True)]
    last_begin = events.index(begins[1])
    assert not any(
        event.record.validation_accuracy
        for event in events[last_begin:]
        if isinstance(event, EpochEnd)
    )


def test_an_interrupted_refit_keeps_the_first_model():
    class Interrupt:
        refit = False

        def __call__(self, event):
            self.refit |= isinstance(event, TrainBegin) and event.refit
            if self.refit and isinstance(event, StepEnd):
                raise KeyboardInterrupt

    model = train(callback=Interrupt())
    assert model.training_warnings[-1] == Interrupted()
    first = train(refit=False)
    for name, values in first.artifact.tensors.items():
        np.testing.assert_array_equal(model.artifact.tensors[name], values)


@pytest.mark.parametrize("settings", [{"validation": 0.0}, {"validation": "dev"}])
def test_without_held_out_rows_it_is_refused(settings):
    with pytest.raises((ConfigError, DataError), match=r"refit|no splits"):
        train(**settings)


def test_the_command_says_which_model_its_scores_are_of(tmp_path):
    data = tmp_path / "rows.csv"
    rows = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    data.write_text("text,label\n" + rows)
    result = run_cli(
        *("train", "--data", data, "--output", tmp_path / "model", "--epochs", 2),
        *("--set", "trainer.refit=true", "--set", "data.validation=0.2", "--threads", 1),
    )
    assert "trained again on all 60 rows" in result.stdout
    assert "training the final model on all 60 texts" in result.stderr
