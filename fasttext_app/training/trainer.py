"""The training loop. It prints nothing: it emits events, which a callback can render."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from fasttext_app.config.auto import known
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels
from fasttext_app.errors import CheckpointError, TrainingError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.checkpoints import Checkpoints, Snapshot
from fasttext_app.training.dataset import DividedDataset, EncodedDataset, ShardedDataset
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
from fasttext_app.training.loader import Batches, pieces
from fasttext_app.training.losses import build_loss
from fasttext_app.training.optim.build import build_step
from fasttext_app.training.optim.schedules import lr_factor
from fasttext_app.training.token_dropout import TokenDropout
from fasttext_app.training.validation import Validator

REPORTS_PER_EPOCH = 50

TrainingData = EncodedDataset | ShardedDataset | DividedDataset


class NonFiniteLossError(TrainingError):
    """The loss of a step is not finite; ``texts`` are the indices of its texts."""

    def __init__(self, message: str, texts: list[int]) -> None:
        super().__init__(message)
        self.texts = texts


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Ends training between two steps."""


@dataclass
class _Progress:
    """Progress of a run: epoch, step, texts seen, loss so far."""

    epoch: int = 1
    step: int = 0  # steps done in this epoch, as are texts, loss_sum and seconds
    texts: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    steps: int = 0  # steps done in the whole run

    @property
    def texts_per_second(self) -> float:
        return self.texts / max(self.seconds, 1e-9)


class Trainer:
    """Trains a classifier on an encoded dataset, and keeps the weights of the best epoch.

    Args:
        model: the classifier; after training it has the best weights.
        config: the run's settings.
        callback: receives the events.
        labels: the classes with their counts in the training rows; None: numbered classes.
        label_sets: the label sets that the labels of the data refer to, if a row can have several.
        stop: called between steps; True ends the run.

    Raises:
        ConfigError: ``trainer.monitor`` names an unknown label.
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
        self._loss_generator = torch.Generator().manual_seed(config.trainer.seed)
        loss = build_loss(config, labels.counts, label_sets, self._loss_generator)
        self._step = build_step(model, config, loss)
        self._order_generator = torch.Generator().manual_seed(config.trainer.seed)
        self._epoch_order = self._order_generator.get_state()  # at the start of the epoch
        self._progress, self._outcome = _Progress(), TrainOutcome()
        self._epochs, self._batch_size = (
            known(config.trainer.epochs),
            known(config.trainer.batch_size),
        )
        self._peak_lr = known(config.optimizer.lr)
        self._last_epoch = config.trainer.stop_after or self._epochs
        self._best = _BestWeights(model, self._validator.metric)
        self._checkpoints: Checkpoints | None = None

    def fit(
        self,
        train: TrainingData,
        validation: EncodedDataset | None = None,
        checkpoints: Checkpoints | None = None,
        resume: Snapshot | None = None,
    ) -> TrainOutcome:
        """Train for the configured epochs. Ctrl-C ends the run early with the best weights so far.

        Args:
            train: the training texts, on the model's device.
            validation: the texts that decide which epoch is the best.
            checkpoints: saves the state of the run, when due and after each epoch.
            resume: the state to resume from; it must be of the same model and data.

        Raises:
            KeyboardInterrupt: Ctrl-C during a step of a run with checkpoints.
            NonFiniteLossError: the loss of a step is not finite.
            TrainingError: a weight is not finite after the last step.
        """
        self._checkpoints, outcome = checkpoints, self._outcome
        if validation is not None and self.config.trainer.refit is True:
            self._best.refit_rows = len(validation)
        if resume is not None:
            self._restore(resume, train.steps(self._batch_size))
        self._emit(
            TrainBegin(
                texts=len(train),
                validation_texts=len(validation) if validation else 0,
                epochs=self._last_epoch,
                device=str(next(self.model.parameters()).device),
                monitor=self.config.trainer.monitor,
                resumed_from=str(checkpoints.newest) if checkpoints and resume else "",
            )
        )
        # Torch itself makes the sparse gradients, so checking them would only cost time.
        no_checks = torch.sparse.check_sparse_tensor_invariants(enable=False)
        try:
            with no_checks, torch.cuda.device_of(self.model.embedding.weight):  # for Triton
                while self._progress.epoch <= self._last_epoch and not outcome.stopped_early:
                    self._run_epoch(train, validation)
        except KeyboardInterrupt:
            if checkpoints is not None:  # the run can be resumed from the last of them
                raise
            outcome.interrupted = True
        except _Stopped:
            outcome.interrupted = True
            self._save_checkpoint()
            outcome.checkpoint = str(checkpoints.newest or "") if checkpoints else ""
        self._step.write_back()
        self._best.restore()
        self._check_weights()
        outcome.best_epoch, outcome.steps = self._best.epoch, self._progress.steps
        self._emit(TrainEnd(outcome.best_epoch, outcome.interrupted))
        return outcome

    def _run_epoch(self, train: TrainingData, validation: EncodedDataset | None) -> None:
        """Train for one epoch, or for the rest of a resumed one, and validate."""
        progress, patience = self._progress, self.config.trainer.patience
        if progress.step:
            self._order_generator.set_state(self._epoch_order)
        self._epoch_order = self._order_generator.get_state()
        self._train_epoch(train)
        self._step.write_back()

        record = EpochRecord(
            epoch=progress.epoch,
            train_loss=progress.loss_sum / progress.texts,
            seconds=progress.seconds,
            texts_per_second=progress.texts_per_second,
            **(self._validator(self.model, validation) if validation else {}),
        )
        self._outcome.history.append(record)
        improved = self._best.offer(record, last=progress.epoch == self._last_epoch)
        self._emit(EpochEnd(record, improved))

        epochs_without_gain = record.epoch - self._best.epoch
        self._outcome.stopped_early = (
            0 < patience <= epochs_without_gain and record.epoch < self._last_epoch
        )
        self._progress = _Progress(epoch=progress.epoch + 1, steps=progress.steps)
        self._save_checkpoint()

    def _train_epoch(self, train: TrainingData) -> None:
        progress, settings = self._progress, self.config.trainer
        steps = train.steps(self._batch_size)
        report_every = max(steps // REPORTS_PER_EPOCH, 1)
        started = time.perf_counter() - progress.seconds
        reported_texts, reported_loss = progress.texts, progress.loss_sum
        unread: list[tuple[Tensor, int]] = []  # losses on the device, with their number of texts
        on_cuda = self.model.embedding.weight.is_cuda
        dropout = None
        if settings.token_dropout:
            dropout = TokenDropout(settings.token_dropout, settings.seed).within(progress.epoch)
        cut = pieces(
            train,
            self._batch_size,
            self._order_generator,
            self._step.grouping,
            progress.step,
            dropout,
        )
        for batches, first, count in self._runs(cut, report_every):
            sizes = batches.sizes[first : first + count]
            step = (progress.epoch - 1) * steps + progress.step
            lrs = [self._lr(step + number, steps) for number in range(count)]
            losses = self._step.train_some(batches, first, lrs)
            unread += zip(losses.unbind(), sizes, strict=True)
            progress.step += count
            progress.steps += count
            progress.texts += sum(sizes)
            progress.seconds = time.perf_counter() - started

            report = progress.step % report_every == 0 or progress.step == steps
            save = self._checkpoints is not None and self._checkpoints.due(progress.steps)
            stop = self._stop()
            # Reading a loss waits for the device, so on CUDA several are read together.
            if report or save or stop or not on_cuda:
                self._read_losses(unread, train)
            if report:
                loss = (progress.loss_sum - reported_loss) / (progress.texts - reported_texts)
                speed = progress.texts_per_second
                self._emit(StepEnd(progress.epoch, progress.texts, loss, lrs[-1], speed))
                reported_texts, reported_loss = progress.texts, progress.loss_sum
            if stop:
                raise _Stopped
            if save and progress.step < steps:  # the end of the epoch saves one anyway
                self._save_checkpoint()

    def _runs(
        self, pieces: Iterable[Batches], report_every: int
    ) -> Iterator[tuple[Batches, int, int]]:
        """Yield batches to train on at once: their piece, the first of them, and their number.

        A run ends where a report or a checkpoint is due.
        """
        for batches in pieces:
            first = 0
            while first < len(batches.sizes):
                count = 1
                if self._step.at_once:
                    count = report_every - self._progress.step % report_every
                    count = min(count, len(batches.sizes) - first)
                    if self._checkpoints is not None:
                        count = self._checkpoints.steps_left(self._progress.steps, count)
                yield batches, first, count
                first += count

    def _read_losses(self, unread: list[tuple[Tensor, int]], train: TrainingData) -> None:
        """Add the losses of the last steps to the sum; raise if one is not finite."""
        values = torch.stack([loss for loss, _ in unread]).tolist()
        for index, (value, (_, texts)) in enumerate(zip(values, unread, strict=True)):
            if not math.isfinite(value):
                step = self._progress.step - len(unread) + index
                self._order_generator.set_state(self._epoch_order)
                batch_texts = train.batch_texts(self._batch_size, self._order_generator, step)
                problem = f"the loss is not finite at epoch {self._progress.epoch}, step {step + 1}"
                raise NonFiniteLossError(self._advice(problem), batch_texts.tolist())
            self._progress.loss_sum += value * texts
        unread.clear()

    def _check_weights(self) -> None:
        """Raise if a weight is not finite: the loss after the last step was never computed."""
        for name, values in self.model.state_dict().items():
            if not all(bound.isfinite() for bound in values.aminmax()):
                raise TrainingError(self._advice(f"{name} is not finite after training"))

    def _advice(self, problem: str) -> str:
        newest = self._checkpoints.newest if self._checkpoints else None
        checkpoint = f"; the last checkpoint before it is {newest}" if newest else ""
        return f"{problem}; lower optimizer.lr (it is {self._peak_lr:g}){checkpoint}"

    def _lr(self, step: int, steps_per_epoch: int) -> float:
        optimizer, steps = self.config.optimizer, steps_per_epoch * self._epochs
        return self._peak_lr * lr_factor(optimizer.schedule, step, steps, optimizer.warmup)

    def _save_checkpoint(self) -> None:
        """Save the state of the run; a failure is an event, and does not end the run."""
        if self._checkpoints is None:
            return
        try:
            self._emit(CheckpointEnd(str(self._checkpoints.save(self._snapshot()))))
        except CheckpointError as error:
            self._emit(CheckpointEnd(str(self._checkpoints.folder), str(error)))

    def _snapshot(self) -> Snapshot:
        self._step.write_back()
        mid_epoch = self._progress.step > 0
        progress = {
            **asdict(self._progress),
            "stopped_early": self._outcome.stopped_early,
            "best_epoch": self._best.epoch,
            "best_score": list(self._best.score),
            "history": [asdict(record) for record in self._outcome.history],
        }
        tensors = {
            "order": self._epoch_order if mid_epoch else self._order_generator.get_state(),
            "draws": self._loss_generator.get_state(),
            **_with_prefix("model", self.model.state_dict()),
            **_with_prefix("optimizer", self._step.state()),
            **_with_prefix("best", self._best.saved or {}),
        }
        return Snapshot(progress, {name: value.cpu() for name, value in tensors.items()})

    def _restore(self, snapshot: Snapshot, steps: int) -> None:
        """Continue from a snapshot; an epoch has ``steps`` steps.

        Raises:
            CheckpointError: the snapshot is of another model or data.
        """
        self._check_fits(snapshot, steps)
        progress, tensors = snapshot.progress, snapshot.tensors
        try:
            self._progress = _Progress(**{name: progress[name] for name in asdict(self._progress)})
            self._outcome.history = [EpochRecord(**record) for record in progress["history"]]
            self._epoch_order = tensors["order"]
            self._order_generator.set_state(tensors["order"])
            self._loss_generator.set_state(tensors["draws"])
            self.model.load_state_dict(_without_prefix("model", tensors))
            self._step.load_state(_without_prefix("optimizer", tensors))
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise CheckpointError(f"the checkpoint does not fit the run: {error}") from None
        self._outcome.stopped_early = progress["stopped_early"]
        self._best.epoch, self._best.score = progress["best_epoch"], tuple(progress["best_score"])
        self._best.saved = _without_prefix("best", tensors) or None

    def _check_fits(self, snapshot: Snapshot, steps: int) -> None:
        """Raise if a snapshot has another step, or tensors of other shapes, than this run can have.

        What the optimizers of torch remember is missing before their first step; it has the shape
        of the parameters, has one number for each of their rows, or is a number.
        """
        own, progress = self._snapshot().tensors, snapshot.progress
        shapes = {tuple(value.shape) for value in own.values()} | {()}
        shapes |= {(*shape[:-1], 1) for shape in shapes if shape}
        tensors = {
            name: value for name, value in snapshot.tensors.items() if not name.startswith("best.")
        }
        best = _without_prefix("best", snapshot.tensors)
        model = _without_prefix("model", own)
        fits = (
            progress["epoch"] <= self._last_epoch + 1
            and progress["step"] <= steps
            and own.keys() <= tensors.keys()
            and (
                not best
                or {name: value.shape for name, value in best.items()}
                == {name: value.shape for name, value in model.items()}
            )
            and all(
                (value.shape == own[name].shape and value.dtype == own[name].dtype)
                if name in own
                else name.startswith("optimizer.") and tuple(value.shape) in shapes
                for name, value in tensors.items()
            )
        )
        if not fits:
            raise CheckpointError(
                "the checkpoint does not fit the run: its step, or the shape of a tensor, is "
                "impossible; delete it to resume from the one before"
            )


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, under the rest of their names."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


class _BestWeights:
    """The weights of the best epoch; without validation, the last epoch is the best.

    Before a refit, the best epoch is the latest one within a standard error of the highest score.
    Few held-out rows tell epochs apart by chance, and the learning rate of a late epoch is small.
    """

    def __init__(self, model: FastTextClassifier, metric: Metric) -> None:
        self.epoch = 0
        self.score: tuple[float, ...] = ()
        self.saved: dict[str, Tensor] | None = None  # None: the model has them
        self.refit_rows = 0
        """The number of validation rows, if the run is before a refit."""
        self._model, self._metric = model, metric

    def offer(self, record: EpochRecord, *, last: bool) -> bool:
        """Keep the weights of `record` if it beats the best epoch so far; return whether it did."""
        metric_value = record.score(str(self._metric))
        if metric_value is not None:
            # Equal scores are decided by the validation loss; NaN loses to any number.
            parts = (
                -metric_value if self._metric.lower_is_better else metric_value,
                -(record.validation_loss or 0.0),
            )
            score = tuple(-math.inf if math.isnan(part) else part for part in parts)
            if self.epoch and score <= self.score:
                if not self._is_within_error(metric_value):
                    return False
            else:
                self.score = score
        # The model itself keeps the weights of the last epoch, so they need no copy.
        copy_weights = metric_value is not None and not last
        state = self._model.state_dict()
        self.saved = (
            {name: value.clone() for name, value in state.items()} if copy_weights else None
        )
        self.epoch = record.epoch
        return True

    def _is_within_error(self, metric_value: float) -> bool:
        if not self.refit_rows or self._metric.lower_is_better:
            return False
        best = self.score[0]
        return best - metric_value <= math.sqrt(max(best * (1 - best), 0.0) / self.refit_rows)

    def restore(self) -> None:
        """Put the best weights back into the model."""
        if self.saved is not None:
            self._model.load_state_dict(self.saved)
