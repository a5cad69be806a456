"""The training loop. It prints nothing: it emits events, which a callback may render."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels
from fasttext_app.errors import CheckpointError, TrainingError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.checkpoints import Checkpoints, Snapshot
from fasttext_app.training.dataset import EncodedDataset, ShardedDataset
from fasttext_app.training.events import (
    Callback,
    CheckpointEnd,
    EpochEnd,
    EpochRecord,
    StepEnd,
    TrainBegin,
    TrainEnd,
    TrainOutcome,
)
from fasttext_app.training.loader import epoch
from fasttext_app.training.losses import build_loss, is_plain
from fasttext_app.training.optim.build import build_step
from fasttext_app.training.optim.schedules import lr_factor
from fasttext_app.training.token_dropout import TokenDropout
from fasttext_app.training.validation import Validator

REPORTS_PER_EPOCH = 50

TrainingData = EncodedDataset | ShardedDataset


class NonFiniteLossError(TrainingError):
    """The loss of a batch is no longer a finite number; ``texts`` has the numbers of its texts."""

    def __init__(self, message: str, texts: list[int]) -> None:
        super().__init__(message)
        self.texts = texts


class _StopAskedFor(Exception):  # noqa: N818 - it is no error
    """Training ends between two steps."""


@dataclass
class _Position:
    """Where a run stands: in which epoch, and how much of it is done."""

    epoch: int = 1
    step: int = 0
    texts: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    steps: int = 0  # of the whole run


class Trainer:
    """Trains a classifier on an encoded data set, and keeps the best epoch.

    Args:
        model: the classifier; it ends with the best weights.
        config: the run's settings.
        callback: receives the events.
        labels: the classes, with how often each was seen in training; None: numbers.
        label_sets: where rows may have several labels, the sets of classes that theirs number.
        stop: is asked after every step whether to end the run.

    Raises:
        ConfigError: ``trainer.monitor`` names a label that there is not.
    """

    def __init__(
        self,
        model: FastTextClassifier,
        config: Config,
        callback: Callback | None = None,
        labels: Labels | None = None,
        label_sets: Ragged | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        classes = model.linear.out_features
        labels = labels or Labels(tuple(map(str, range(classes))), (1,) * classes)
        self.model, self.config = model, config
        self._emit = callback or (lambda event: None)
        self._stop = stop or (lambda: False)
        self._validator = Validator(config, labels, label_sets)
        self._draws = torch.Generator().manual_seed(config.trainer.seed)
        loss = build_loss(config, labels.counts, label_sets, self._draws)
        self._step = build_step(model, config, loss, plain=is_plain(config, label_sets))
        self._order = torch.Generator().manual_seed(config.trainer.seed)
        self._epoch_order = self._order.get_state()  # as the epoch began
        self._at, self._outcome = _Position(), TrainOutcome()
        self._last_epoch = config.trainer.stop_after or config.trainer.epochs
        self._best = _BestWeights(model, self._validator.metric)
        self._checkpoints: Checkpoints | None = None

    def fit(
        self,
        train: TrainingData,
        validation: EncodedDataset | None = None,
        checkpoints: Checkpoints | None = None,
        resume: Snapshot | None = None,
    ) -> TrainOutcome:
        """Train for the epochs of the configuration. Ctrl-C ends it early with the best so far.

        Args:
            train: the training texts, on the model's device.
            validation: those by which the best epoch is chosen.
            checkpoints: where the state of the run is saved, when it is due and at each epoch.
            resume: the state to go on from; the model and the data must be those that it is of.

        Raises:
            KeyboardInterrupt: Ctrl-C amid a step of a run with checkpoints.
            NonFiniteLossError: the loss is no longer a finite number.
            TrainingError: a weight is not.
        """
        settings, outcome = self.config.trainer, self._outcome
        self._checkpoints = checkpoints
        if resume is not None:
            self._restore(resume)
        resumed_from = str(checkpoints.newest) if checkpoints and resume else ""
        self._emit(
            TrainBegin(
                texts=len(train),
                validation_texts=len(validation) if validation else 0,
                epochs=self._last_epoch,
                device=str(next(self.model.parameters()).device),
                monitor=settings.monitor,
                resumed_from=resumed_from,
            )
        )
        # The sparse gradients come from torch itself, so they need no checks; asked for or not.
        no_checks = torch.sparse.check_sparse_tensor_invariants(enable=False)
        try:
            with no_checks, torch.cuda.device_of(self.model.embedding.weight):  # for Triton
                while self._at.epoch <= self._last_epoch and not outcome.stopped_early:
                    self._epoch(train, validation)
        except KeyboardInterrupt:
            if checkpoints is not None:  # the last of them is what to go on from
                raise
            outcome.interrupted = True
        except _StopAskedFor:
            outcome.interrupted = True
            self._save_checkpoint()
            outcome.checkpoint = str(checkpoints.newest or "") if checkpoints else ""
        self._best.restore()
        self._check_weights()
        outcome.best_epoch, outcome.steps = self._best.epoch, self._at.steps
        self._emit(TrainEnd(outcome.best_epoch, outcome.interrupted))
        return outcome

    def _epoch(self, train: TrainingData, validation: EncodedDataset | None) -> None:
        """Go through an epoch, or through what is left of it."""
        at, settings = self._at, self.config.trainer
        if at.step:
            self._order.set_state(self._epoch_order)
        self._epoch_order = self._order.get_state()
        self._train_epoch(train)
        speed = at.texts / max(at.seconds, 1e-9)
        scores = self._validate(validation) if validation else {}
        record = EpochRecord(at.epoch, at.loss_sum / at.texts, at.seconds, speed, **scores)
        self._outcome.history.append(record)
        improved = self._best.offer(record, last=at.epoch == self._last_epoch)
        self._emit(EpochEnd(record, improved))
        waited = record.epoch - self._best.epoch
        self._outcome.stopped_early = (
            0 < settings.patience <= waited and record.epoch < self._last_epoch
        )
        self._at = _Position(epoch=at.epoch + 1, steps=at.steps)
        self._save_checkpoint()

    def _train_epoch(self, train: TrainingData) -> None:
        at, batch_size = self._at, self.config.trainer.batch_size
        steps = train.steps(batch_size)
        report_every = max(steps // REPORTS_PER_EPOCH, 1)
        began = time.perf_counter() - at.seconds
        reported, unread = (at.texts, at.loss_sum), []
        reads_at_once = not self.model.embedding.weight.is_cuda  # there, reading waits for it
        rate, seed = self.config.trainer.token_dropout, self.config.trainer.seed
        dropout = TokenDropout(rate, seed).within(at.epoch) if rate else None
        grouping = self._step.grouping
        for batch in epoch(train, batch_size, self._order, grouping, at.step, dropout):
            rate = self._rate((at.epoch - 1) * steps + at.step, steps)
            unread.append((self._step.train(batch, rate), len(batch)))
            at.step, at.steps, at.texts = at.step + 1, at.steps + 1, at.texts + len(batch)
            at.seconds = time.perf_counter() - began
            report = at.step % report_every == 0 or at.step == steps
            save = self._checkpoints is not None and self._checkpoints.due(at.steps)
            stop = self._stop()
            if reads_at_once or report or save or stop:
                self._read_losses(unread, train)
            if report:
                texts, loss = at.texts - reported[0], at.loss_sum - reported[1]
                speed = at.texts / max(at.seconds, 1e-9)
                self._emit(StepEnd(at.epoch, at.texts, loss / texts, rate, speed))
                reported = at.texts, at.loss_sum
            if stop:
                raise _StopAskedFor
            if save and at.step < steps:  # the end of the epoch has its own
                self._save_checkpoint()

    def _read_losses(self, unread: list[tuple[Tensor, int]], train: TrainingData) -> None:
        """Add up losses of steps that no one has looked at."""
        values = torch.stack([loss for loss, _ in unread]).tolist()
        for number, (value, (_, texts)) in enumerate(zip(values, unread, strict=True)):
            if not math.isfinite(value):
                step = self._at.step - len(unread) + number
                when = f"at epoch {self._at.epoch}, step {step + 1}"
                self._order.set_state(self._epoch_order)
                rows = train.batch_texts(self.config.trainer.batch_size, self._order, step)
                raise NonFiniteLossError(str(self._ran_away("the loss", when)), rows.tolist())
            self._at.loss_sum += value * texts
        unread.clear()

    def _check_weights(self) -> None:
        """See that the last step, whose loss no one has read, did not ruin the model."""
        for name, values in self.model.state_dict().items():
            if not all(bound.isfinite() for bound in values.aminmax()):
                raise self._ran_away(f"a number in {name}", "after training")

    def _ran_away(self, what: str, when: str) -> TrainingError:
        rate = self.config.optimizer.lr
        newest = self._checkpoints.newest if self._checkpoints else None
        before = f"; the last checkpoint before it is {newest}" if newest else ""
        return TrainingError(
            f"{what} is not a finite number {when}; lower optimizer.lr (it is {rate:g}){before}"
        )

    def _rate(self, step: int, steps_per_epoch: int) -> float:
        optimizer, steps = self.config.optimizer, steps_per_epoch * self.config.trainer.epochs
        return optimizer.lr * lr_factor(optimizer.schedule, step, steps, optimizer.warmup)

    def _validate(self, data: EncodedDataset) -> dict[str, float]:
        return self._validator(self.model, data)

    def _save_checkpoint(self) -> None:
        """Save the state of the run; one that cannot be saved must not end the run."""
        if self._checkpoints is None:
            return
        try:
            self._emit(CheckpointEnd(str(self._checkpoints.save(self._snapshot()))))
        except CheckpointError as error:
            self._emit(CheckpointEnd(str(self._checkpoints.folder), str(error)))

    def _snapshot(self) -> Snapshot:
        progress = {
            **asdict(self._at),
            "stopped_early": self._outcome.stopped_early,
            "best_epoch": self._best.epoch,
            "best_score": list(self._best.score),
            "history": [asdict(record) for record in self._outcome.history],
        }
        tensors = {
            "order": self._epoch_order if self._at.step else self._order.get_state(),
            "draws": self._draws.get_state(),
            **_under("model", self.model.state_dict()),
            **_under("optimizer", self._step.state()),
            **_under("best", self._best.saved or {}),
        }
        return Snapshot(progress, {name: value.cpu() for name, value in tensors.items()})

    def _restore(self, snapshot: Snapshot) -> None:
        progress, tensors = snapshot.progress, snapshot.tensors
        self._at = _Position(**{name: progress[name] for name in asdict(self._at)})
        self._outcome.history = [EpochRecord(**record) for record in progress["history"]]
        self._outcome.stopped_early = progress["stopped_early"]
        self._epoch_order = tensors["order"]
        self._order.set_state(tensors["order"])
        self._draws.set_state(tensors["draws"])
        self.model.load_state_dict(_of("model", tensors))
        self._step.load_state(_of("optimizer", tensors))
        self._best.epoch, self._best.score = progress["best_epoch"], tuple(progress["best_score"])
        self._best.saved = _of("best", tensors) or None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


class _BestWeights:
    """Remembers the weights of the best epoch; without validation, the last epoch is the best."""

    def __init__(self, model: FastTextClassifier, metric: Metric) -> None:
        self.epoch = 0
        self.score: tuple[float, ...] = ()
        self.saved: dict[str, Tensor] | None = None  # None: they are those of the model
        self._model, self._metric = model, metric

    def offer(self, record: EpochRecord, *, last: bool) -> bool:
        """Take an epoch's weights if it is the best so far, and say whether it is."""
        figure = record.score(str(self._metric))
        if figure is not None:
            # Of epochs with an equal figure, the one with the least loss is the best.
            figures = (
                -figure if self._metric.lower_is_better else figure,
                -(record.validation_loss or 0.0),
            )
            score = tuple(-math.inf if math.isnan(value) else value for value in figures)
            if self.epoch and score <= self.score:
                return False
            self.score = score
        # The weights of the last epoch are in the model; no copy is needed of them.
        keep = figure is not None and not last
        state = self._model.state_dict()
        self.saved = {name: value.clone() for name, value in state.items()} if keep else None
        self.epoch = record.epoch
        return True

    def restore(self) -> None:
        """Put the best weights back into the model."""
        if self.saved is not None:
            self._model.load_state_dict(self.saved)
