"""The training loop: events, best weights, early ends and the device."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fasttext_app.config.schema import Config
from fasttext_app.core.device import torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.events import (
    EpochEnd,
    Event,
    StepEnd,
    TrainBegin,
    TrainEnd,
    TrainOutcome,
)
from fasttext_app.training.losses import OF_LOGITS
from fasttext_app.training.trainer import Trainer
from fasttext_app.training.validation import Validator
from tests import helpers

ROWS, CLASSES = 8, 2
State = dict[str, torch.Tensor]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


def toy(texts: int = 40, *, seed: int = 0, flip: bool = False, device: str = "cpu"):
    """Texts of class 0 have rows 0-3, those of class 1 rows 4-7; some have none."""
    generator = np.random.default_rng(seed)
    labels = np.arange(texts) % CLASSES
    bags = [
        [] if number % 10 == 9 else (generator.integers(0, 4, size=5) + 4 * label).tolist()
        for number, label in enumerate(labels)
    ]
    classes = 1 - labels if flip else labels
    return EncodedDataset(Ragged.from_lists(bags, np.int32), classes, device=device)


def make_config(**settings) -> Config:
    return helpers.make_config(**({"dim": 4, "batch_size": 8, "epochs": 3, "lr": 0.5} | settings))


def make_model(config: Config, seed: int = 0) -> FastTextClassifier:
    generator = torch.Generator().manual_seed(seed)
    return FastTextClassifier.from_config(config.model, ROWS, CLASSES, generator)


def state_of(model: FastTextClassifier) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: State, other: State) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def run(config: Config, validation=None, callback=None) -> tuple[FastTextClassifier, TrainOutcome]:
    model = make_model(config)
    outcome = Trainer(model, config, callback).fit(toy(), validation)
    return model, outcome


class Recorder:
    """Keeps the events, and the weights at the end of every epoch."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.states: list[State] = []
        self.model: FastTextClassifier | None = None

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, EpochEnd) and self.model is not None:
            self.states.append(state_of(self.model))


def test_events_come_in_order_and_count_right():
    recorder = Recorder()
    _, outcome = run(make_config(), toy(16, seed=1), recorder)

    names = [type(event).__name__ for event in recorder.events]
    epoch = ["StepEnd"] * 5 + ["EpochEnd"]
    assert names == ["TrainBegin", *epoch, *epoch, *epoch, "TrainEnd"]
    assert recorder.events[0] == TrainBegin(40, 16, 3, "cpu")
    steps = [event for event in recorder.events if isinstance(event, StepEnd)]
    assert [step.texts for step in steps] == [8, 16, 24, 32, 40] * 3
    assert [step.epoch for step in steps] == [1] * 5 + [2] * 5 + [3] * 5
    assert [step.lr for step in steps] == pytest.approx([0.5 * (1 - n / 15) for n in range(15)])
    ends = [event for event in recorder.events if isinstance(event, EpochEnd)]
    assert [end.record for end in ends] == outcome.history
    assert recorder.events[-1] == TrainEnd(outcome.best_epoch, interrupted=False)
    assert outcome.steps == 15


def test_the_epoch_loss_is_the_mean_over_its_texts():
    recorder = Recorder()
    _, outcome = run(make_config(batch_size=16, epochs=1), None, recorder)  # 16, 16 and 8 texts
    steps = [event for event in recorder.events if isinstance(event, StepEnd)]
    mean = sum(s.loss * n for s, n in zip(steps, [16, 16, 8], strict=True)) / 40
    assert outcome.history[0].train_loss == pytest.approx(mean)
    assert steps[0].loss == pytest.approx(math.log(2))  # the first step starts from zero logits


@pytest.mark.slow
def test_a_long_epoch_reports_about_fifty_times():
    recorder = Recorder()
    run(make_config(batch_size=1, epochs=1), None, recorder)
    assert sum(isinstance(event, StepEnd) for event in recorder.events) == 40
    recorder = Recorder()
    config = make_config(batch_size=1, epochs=1)
    Trainer(make_model(config), config, recorder).fit(toy(205))
    steps = [event for event in recorder.events if isinstance(event, StepEnd)]
    assert len(steps) == 52
    assert steps[-1].texts == 205


@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_training_matches_a_plain_loop(loss):
    config = make_config(name="sgd", loss=loss, seed=5, warmup=0.2, batch_size=16)
    trained, expected = make_model(config), make_model(config)
    data = toy()
    Trainer(trained, config).fit(data)

    order = torch.Generator().manual_seed(5)
    factors = iter([0.5, 1.0, *(1 - n / 7 for n in range(7))])  # 2 of 9 steps warm up
    for _ in range(3):
        for rows in torch.randperm(40, generator=order).split(16):
            batch = data.gather(rows)
            expected.zero_grad()
            OF_LOGITS[loss](expected(batch.indices, batch.offsets), batch.labels).mean().backward()
            rate = 0.5 * next(factors)
            for parameter in expected.parameters():
                parameter.data -= rate * parameter.grad.to_dense()
    for name, value in state_of(expected).items():
        torch.testing.assert_close(state_of(trained)[name], value, rtol=1e-4, atol=1e-6)


def test_validation_does_not_change_training():
    with_it, without = (run(make_config(), data)[1].history for data in (toy(8), None))
    assert [r.train_loss for r in with_it] == [r.train_loss for r in without]


def test_the_loss_falls_and_the_toy_data_is_learned():
    _, outcome = run(make_config(epochs=6), toy(36, seed=5))
    losses = [record.train_loss for record in outcome.history]
    assert losses[-1] < 0.5 * losses[0]
    assert outcome.history[-1].validation_accuracy >= 0.9  # a tenth of the texts are empty


def test_validation_scores_match_the_logits_of_the_model():
    config = make_config(epochs=1)
    validation = toy(30, seed=7)
    model, outcome = run(config, validation)
    batch = validation.gather(torch.arange(30))
    logits = model(batch.indices, batch.offsets).detach()
    record = outcome.history[0]
    right = (logits.argmax(dim=1) == batch.labels).float().mean().item()
    assert record.validation_accuracy == pytest.approx(right)
    loss = torch.nn.functional.cross_entropy(logits, batch.labels).item()
    assert record.validation_loss == pytest.approx(loss, rel=1e-5)


def with_scores(monkeypatch, name: str, scores: list[float]) -> None:
    """Let validation find these figures, epoch after epoch."""
    remaining = iter(scores)
    others = {"validation_accuracy": 0.5, "validation_macro_f1": 0.5, "validation_loss": 1.0}
    monkeypatch.setattr(
        Validator, "__call__", lambda *_: others | {f"validation_{name}": next(remaining)}
    )


@pytest.mark.parametrize(
    ("monitor", "scores", "best"),
    [
        ("accuracy", [0.5, 0.9, 0.7], 2),
        ("accuracy", [0.9, 0.5, 0.7], 1),
        ("accuracy", [0.5, 0.7, 0.9], 3),
        ("accuracy", [0.5, 0.9, 0.9], 2),
        ("macro_f1", [0.1, 0.3, 0.2], 2),
        ("loss", [2.0, 1.0, 3.0], 2),
        ("loss", [1.0, 2.0, 3.0], 1),
        ("loss", [1.0, 2.0, math.nan], 1),
        ("loss", [math.nan, 2.0, 3.0], 2),
        ("loss", [math.inf, math.nan, math.inf], 1),
    ],
)
def test_the_model_ends_with_the_weights_of_the_best_epoch(monkeypatch, monitor, scores, best):
    with_scores(monkeypatch, monitor, scores)
    config = make_config(monitor=monitor)
    recorder = Recorder()
    recorder.model = make_model(config)
    outcome = Trainer(recorder.model, config, recorder).fit(toy(), toy(4))
    assert outcome.best_epoch == best
    assert same(state_of(recorder.model), recorder.states[best - 1])
    assert not same(recorder.states[0], recorder.states[1])
    ends = [event for event in recorder.events if isinstance(event, EpochEnd)]
    assert [end.record.epoch for end in ends if end.best][-1] == best


def test_an_overfitted_epoch_is_not_kept():
    # Validation has the classes the wrong way round: the more is learnt, the worse.
    recorder = Recorder()
    config = make_config(monitor="loss", epochs=4)
    recorder.model = make_model(config)
    outcome = Trainer(recorder.model, config, recorder).fit(toy(), toy(20, flip=True))
    assert [record.validation_loss for record in outcome.history] == sorted(
        record.validation_loss for record in outcome.history
    )
    assert outcome.best_epoch == 1
    assert same(state_of(recorder.model), recorder.states[0])


def test_without_validation_the_last_epoch_is_kept():
    recorder = Recorder()
    config = make_config()
    recorder.model = make_model(config)
    outcome = Trainer(recorder.model, config, recorder).fit(toy())
    assert outcome.best_epoch == 3
    assert same(state_of(recorder.model), recorder.states[2])
    assert outcome.history[0].validation_loss is None


def test_stop_after_gives_the_first_epochs_of_the_complete_run():
    recorder = Recorder()
    config = make_config()
    recorder.model = make_model(config)
    Trainer(recorder.model, config, recorder).fit(toy())
    model, outcome = run(make_config(stop_after=2))
    assert (len(outcome.history), outcome.best_epoch) == (2, 2)
    assert not outcome.stopped_early
    assert same(state_of(model), recorder.states[1])
    with pytest.raises(ConfigError, match=r"stop_after = 4 is larger than trainer\.epochs = 3"):
        make_config(stop_after=4)


class Interrupt(Recorder):
    """Presses Ctrl-C at the n-th event of a kind."""

    def __init__(self, kind: type, number: int) -> None:
        super().__init__()
        self.kind, self.left = kind, number

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        self.left -= isinstance(event, self.kind)
        if isinstance(event, self.kind) and self.left == 0:
            raise KeyboardInterrupt


def test_ctrl_c_in_epoch_two_keeps_epoch_one(monkeypatch):
    with_scores(monkeypatch, "accuracy", [0.9])
    config = make_config()
    stop = Interrupt(StepEnd, 7)
    stop.model = make_model(config)
    outcome = Trainer(stop.model, config, stop).fit(toy(), toy(4))
    assert (outcome.interrupted, outcome.best_epoch, outcome.steps) == (True, 1, 7)
    assert len(outcome.history) == 1
    assert same(state_of(stop.model), stop.states[0])
    assert stop.events[-1] == TrainEnd(1, interrupted=True)


def test_ctrl_c_in_epoch_three_keeps_the_best_of_two(monkeypatch):
    with_scores(monkeypatch, "accuracy", [0.9, 0.8])
    config = make_config()
    stop = Interrupt(StepEnd, 12)
    stop.model = make_model(config)
    outcome = Trainer(stop.model, config, stop).fit(toy(), toy(4))
    assert outcome.best_epoch == 1
    assert same(state_of(stop.model), stop.states[0])


def test_ctrl_c_without_validation_keeps_the_latest_weights():
    config = make_config()
    stop = Interrupt(StepEnd, 7)
    stop.model = make_model(config)
    outcome = Trainer(stop.model, config, stop).fit(toy())
    assert (outcome.interrupted, outcome.best_epoch) == (True, 1)
    assert not same(state_of(stop.model), stop.states[0])  # two steps of epoch 2 are in it


def test_ctrl_c_during_the_copy_of_the_best_weights_keeps_the_earlier_copy(monkeypatch):
    with_scores(monkeypatch, "accuracy", [0.5, 0.9])
    config = make_config()
    model = make_model(config)
    plain, seen = model.state_dict, []

    def state_dict() -> State:
        seen.append({name: value.clone() for name, value in plain().items()})
        if len(seen) == 2:  # the copy at the end of epoch 2
            raise KeyboardInterrupt
        return plain()

    monkeypatch.setattr(model, "state_dict", state_dict)
    outcome = Trainer(model, config).fit(toy(), toy(4))
    assert (outcome.interrupted, outcome.best_epoch) == (True, 1)
    assert same(plain(), seen[0])


def test_the_outcome_as_a_dict_omits_scores_that_were_not_measured():
    _, outcome = run(make_config(epochs=1))
    assert outcome.as_dict().keys() == {
        *("best_epoch", "steps", "interrupted", "stopped_early", "epochs")
    }
    (epoch,) = outcome.as_dict()["epochs"]
    assert epoch.keys() == {"epoch", "train_loss", "seconds", "texts_per_second"}


@pytest.mark.parametrize("name", ["sgd", "sparse_adam"])
def test_a_diverged_loss_names_the_step_and_the_learning_rate(name):
    message = r"loss is not finite at epoch \d+, step \d+; lower optimizer.lr .*1e\+30"
    with pytest.raises(TrainingError, match=message):
        run(make_config(name=name, lr=1e30, epochs=20))


@pytest.mark.parametrize("validation", [None, toy(8)])
def test_a_diverged_last_step_is_detected(validation):
    class LastStep(Recorder):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if isinstance(event, StepEnd) and event.texts == 40:
                assert self.model is not None
                self.model.embedding.weight.data[0, 0] = math.nan

    config = make_config(epochs=1)
    ruin = LastStep()
    ruin.model = make_model(config)
    message = r"embedding.weight is not finite after training; lower optimizer.lr"
    with pytest.raises(TrainingError, match=message):
        Trainer(ruin.model, config, ruin).fit(toy(), validation)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "sparse_adam"])
def test_the_same_seed_gives_bit_identical_weights(name):
    one, other = (run(make_config(name=name, seed=3))[0] for _ in range(2))
    assert same(state_of(one), state_of(other))


def test_another_seed_gives_another_order():
    one, other = (run(make_config(seed=seed))[0] for seed in (3, 4))  # from the same first table
    assert not same(state_of(one), state_of(other))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "adagrad", "sparse_adam"])
def test_the_result_does_not_depend_on_the_number_of_threads(name):
    rows, texts, length = 5000, 1024, 60  # enough for torch to share the work out
    generator = np.random.default_rng(0)
    indices = generator.integers(0, rows, size=texts * length).astype(np.int32)
    bags = Ragged(indices, np.arange(0, texts * length + 1, length))
    data = EncodedDataset(bags, generator.integers(0, CLASSES, size=texts))
    config = make_config(name=name, dim=64, batch_size=256, epochs=1)
    states = []
    for threads in (1, 2):
        with torch_threads(threads):
            first_table = torch.Generator().manual_seed(0)
            model = FastTextClassifier.from_config(config.model, rows, CLASSES, first_table)
            Trainer(model, config).fit(data)
            states.append(state_of(model))
    assert same(*states)


def distance_moved(**settings) -> float:
    options = {"name": "sgd", "sparse": False, "schedule": "constant", "lr": 1.0, "epochs": 1}
    config = make_config(**options, **settings)
    before, after = state_of(make_model(config)), state_of(run(config)[0])
    return math.sqrt(sum(float((after[k] - before[k]).square().sum()) for k in before))


def test_clip_grad_norm_limits_every_step():
    assert distance_moved(clip_grad_norm=1e-3) <= 5 * 1e-3 * 1.001  # five steps
    assert distance_moved() > 0.1


def test_ova_is_trained_too():
    _, outcome = run(make_config(loss="ova", epochs=6), toy(36, seed=5))
    assert outcome.history[-1].validation_accuracy >= 0.9


def test_training_checks_no_sparse_tensors_and_leaves_the_setting_as_it_was():
    invariants = torch.sparse.check_sparse_tensor_invariants
    seen = []
    with invariants(enable=True):
        run(make_config(), callback=lambda event: seen.append(invariants.is_enabled()))
        assert invariants.is_enabled()
    assert seen[0]  # before the first step
    assert not any(seen[1:-1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ["sgd", "adagrad", "sparse_adam"])
def test_cuda_training_agrees_with_the_cpu(name):
    config = make_config(name=name, lr=0.1)
    states = []
    for device in ("cpu", "cuda"):
        model = make_model(config).to(device)
        Trainer(model, config).fit(toy(device=device), toy(16, seed=1, device=device))
        states.append({key: value.cpu() for key, value in state_of(model).items()})
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-3, atol=1e-4)
