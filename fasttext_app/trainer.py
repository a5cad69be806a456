"""The training loop. It prints nothing: it emits events, which a callback may render."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fasttext_app.batch import Batch, EncodedDataset, Grouping, ShardedDataset
from fasttext_app.config import Config, OptimizerConfig
from fasttext_app.config_rules import fused_obstacle
from fasttext_app.errors import MissingDependencyError, TrainingError
from fasttext_app.events import (
    Callback,
    EpochEnd,
    EpochRecord,
    StepEnd,
    TrainBegin,
    TrainEnd,
    TrainOutcome,
)
from fasttext_app.forward import class_scores, probabilities
from fasttext_app.losses import build_loss
from fasttext_app.metrics import (
    chosen_classes,
    classification_scores,
    multi_label_scores,
    top_k_classes,
)
from fasttext_app.model import FastTextClassifier
from fasttext_app.optim import build_optimizers, rate_factor, set_rate
from fasttext_app.optim.fused import FusedStep
from fasttext_app.text.ragged import Ragged

if TYPE_CHECKING:
    from fasttext_app.optim.cuda import CudaStep

__all__ = ["Trainer"]

EVALUATION_BATCH = 4096
EVALUATION_LOGITS = 1 << 24  # at most in a batch: of 4,096 classes and more, fewer texts
REPORTS_PER_EPOCH = 50


class Trainer:
    """Trains a classifier on an encoded data set, and keeps the best epoch.

    Args:
        model: the classifier; it ends with the best weights.
        config: the run's settings.
        callback: receives the events.
        counts: how often each class was seen in training, [C]; some losses need it.
        label_sets: where rows may have several labels, the sets of classes that theirs number.
    """

    def __init__(
        self,
        model: FastTextClassifier,
        config: Config,
        callback: Callback | None = None,
        counts: Sequence[int] = (),
        label_sets: Ragged | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self._emit = callback or (lambda event: None)
        self._label_sets = label_sets
        self._loss = build_loss(config, counts, label_sets)
        self._class_scores = class_scores(config.model.loss, counts)
        self._fused_step = self._make_fused_step()
        self._grouping = None if self._fused_step is None else self._how_to_group()
        self._optimizers = [] if self._fused_step else build_optimizers(model, config.optimizer)
        self._steps = 0

    def fit(
        self, train: EncodedDataset | ShardedDataset, validation: EncodedDataset | None = None
    ) -> TrainOutcome:
        """Train for the epochs of the configuration. Ctrl-C ends it early with the best so far.

        Raises:
            TrainingError: the loss or a weight is no longer a finite number.
        """
        settings = self.config.trainer
        outcome = TrainOutcome()
        order = torch.Generator().manual_seed(settings.seed)
        best = _BestWeights(self.model, settings.monitor)
        valid_texts = len(validation) if validation else 0
        device = str(next(self.model.parameters()).device)
        self._emit(TrainBegin(len(train), valid_texts, settings.epochs, device))
        # The sparse gradients come from torch itself, so they need no checks; asked for or not.
        no_checks = torch.sparse.check_sparse_tensor_invariants(enable=False)
        try:
            with no_checks, torch.cuda.device_of(self.model.embedding.weight):  # for Triton
                for epoch in range(1, settings.epochs + 1):
                    record = self._epoch(epoch, train, validation, order)
                    outcome.history.append(record)
                    improved = best.offer(record, last=epoch == settings.epochs)
                    self._emit(EpochEnd(record, improved))
        except KeyboardInterrupt:
            outcome.interrupted = True
        best.restore()
        self._check_weights()
        outcome.best_epoch, outcome.steps = best.epoch, self._steps
        self._emit(TrainEnd(outcome.best_epoch, outcome.interrupted))
        return outcome

    def _epoch(
        self,
        epoch: int,
        train: EncodedDataset | ShardedDataset,
        validation: EncodedDataset | None,
        order: torch.Generator,
    ) -> EpochRecord:
        batch_size = self.config.trainer.batch_size
        steps = train.steps(batch_size)
        report_every = max(steps // REPORTS_PER_EPOCH, 1)
        started, texts, loss_sum, reported = time.perf_counter(), 0, 0.0, 0
        unread: list[
            Tensor
        ] = []  # losses that no one has looked at: reading one waits for the device
        for step, batch in enumerate(train.epoch(batch_size, order, self._grouping)):
            rate = self._rate((epoch - 1) * steps + step, steps * self.config.trainer.epochs)
            unread.append(self._step(batch, rate) * len(batch))
            texts += len(batch)
            if (step + 1) % report_every == 0 or step + 1 == steps:
                recent = float(torch.stack(unread).sum())
                if not math.isfinite(recent):
                    raise self._ran_away("the loss", f"at epoch {epoch}, step {step + 1}")
                loss_sum += recent
                seconds = time.perf_counter() - started
                self._emit(
                    StepEnd(epoch, texts, recent / (texts - reported), rate, texts / seconds)
                )
                reported = texts
                unread.clear()
        seconds = time.perf_counter() - started
        scores = self._validate(validation) if validation else {}
        return EpochRecord(epoch, loss_sum / texts, seconds, texts / seconds, **scores)

    def _check_weights(self) -> None:
        """See that the last step, whose loss no one has read, did not ruin the model."""
        for name, values in self.model.state_dict().items():
            if not all(bound.isfinite() for bound in values.aminmax()):
                raise self._ran_away(f"a number in {name}", "after training")

    def _ran_away(self, what: str, when: str) -> TrainingError:
        rate = self.config.optimizer.lr
        return TrainingError(
            f"{what} is not a finite number {when}; lower optimizer.lr (it is {rate:g})"
        )

    def _rate(self, step: int, steps: int) -> float:
        optimizer: OptimizerConfig = self.config.optimizer
        return optimizer.lr * rate_factor(optimizer.schedule, step, steps, optimizer.warmup)

    def _make_fused_step(self) -> FusedStep | CudaStep | None:
        """Return the fused step if the settings ask for it, or allow it.

        Raises:
            MissingDependencyError: it is asked for, and needs a package that is not installed.
        """
        optimizer, device = self.config.optimizer, self.model.embedding.weight.device.type
        if optimizer.implementation == "torch" or fused_obstacle(self.config):
            return None
        if device == "cpu":
            return FusedStep(self.model, optimizer)
        if device == "cuda":
            from fasttext_app.optim.cuda import CudaStep

            try:
                loss = self.config.model.loss if self._label_sets is None else "of sets"
                return CudaStep(self.model, optimizer, loss)
            except ImportError as error:
                if optimizer.implementation == "fused":
                    raise MissingDependencyError(
                        f'optimizer.implementation = "fused" on CUDA needs Triton ({error}); '
                        'install it, or set "auto"'
                    ) from None
        return None

    def _how_to_group(self) -> Grouping:
        model, padding = self.config.model, self.config.model.padding_idx
        return Grouping(
            rows=len(self.model.embedding.weight),
            mean=model.mode == "mean",
            padding=-1 if padding is None else padding,
            threads=self.config.trainer.threads,
        )

    def _step(self, batch: Batch, rate: float) -> Tensor:
        """Train on one batch; return its loss before the step, on the device."""
        loss = self._plain_backward(batch) if self._fused_step is None else self._fused(batch, rate)
        if self.config.trainer.clip_grad_norm is not None:
            parameters = self.model.parameters()
            torch.nn.utils.clip_grad_norm_(parameters, self.config.trainer.clip_grad_norm)
        set_rate(self._optimizers, rate)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if not self.config.model.bias:
            with torch.no_grad():
                self.model.linear.bias.zero_()
        self._steps += 1
        return loss.detach()

    def _plain_backward(self, batch: Batch) -> Tensor:
        bags = self.model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
        loss = self._loss(self.model.linear, bags, batch.labels)
        loss.backward()
        return loss

    def _fused(self, batch: Batch, rate: float) -> Tensor:
        """Go back to the bags by autograd, and step all parameters from there.

        On CUDA one call does it all: a batch is less work than the launches of many kernels.
        """
        assert self._fused_step is not None
        if not isinstance(self._fused_step, FusedStep) and self._fused_step.does_the_loss:
            return self._fused_step.train(batch, rate)
        with torch.no_grad():
            bags: Tensor = self.model.embedding(
                batch.indices, batch.offsets, batch.per_sample_weights
            )
        bags.requires_grad_()
        loss = self._loss(self.model.linear, bags, batch.labels)
        loss.backward()
        assert bags.grad is not None
        self._fused_step.step(batch, bags.grad, rate)
        return loss

    @torch.no_grad()
    def _validate(self, data: EncodedDataset) -> dict[str, float]:
        loss_sum, ranked, above = 0.0, [], []
        size = min(EVALUATION_BATCH, max(EVALUATION_LOGITS // self.model.linear.out_features, 1))
        for texts in torch.arange(len(data), device=data.labels.device).split(size):
            batch = data.gather(texts)
            bags = self.model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
            loss_sum += float(self._loss(self.model.linear, bags, batch.labels)) * len(batch)
            scores = self._class_scores(self.model.linear(bags).cpu().numpy())
            ranked.append(top_k_classes(scores, 1))
            if self._label_sets is not None:
                above.append(chosen_classes(probabilities(scores, self.config.model) >= 0.5))
        names = [str(label) for label in range(self.model.linear.out_features)]
        true, best = data.labels.cpu().numpy(), np.concatenate(ranked)
        if self._label_sets is None:
            scored = classification_scores(true, best, names)
            accuracy, macro_f1 = scored["accuracy"], scored["macro_f1"]
        else:
            of_sets = multi_label_scores(
                self._label_sets.take(true), Ragged.concat(above), best, names
            )
            accuracy, macro_f1 = of_sets["precision_at_k"]["1"], of_sets["macro_f1"]
        return {
            "validation_loss": loss_sum / len(data),
            "validation_accuracy": accuracy,
            "validation_macro_f1": macro_f1,
        }


class _BestWeights:
    """Remembers the weights of the best epoch; without validation, the last epoch is the best."""

    def __init__(self, model: FastTextClassifier, monitor: str) -> None:
        self.epoch = 0
        self._model, self._monitor = model, monitor
        self._score: tuple[float, ...] = ()
        self._saved: dict[str, Tensor] | None = None

    def offer(self, record: EpochRecord, *, last: bool) -> bool:
        """Take an epoch's weights if it is the best so far, and say whether it is."""
        figure = getattr(record, f"validation_{self._monitor}")
        if figure is not None:
            # Of epochs with an equal figure, the one with the least loss is the best.
            figures = (
                -figure if self._monitor == "loss" else figure,
                -(record.validation_loss or 0.0),
            )
            score = tuple(-math.inf if math.isnan(value) else value for value in figures)
            if self.epoch and score <= self._score:
                return False
            self._score = score
        # The weights of the last epoch are in the model; no copy is needed of them.
        keep = figure is not None and not last
        state = self._model.state_dict()
        self._saved = {name: value.clone() for name, value in state.items()} if keep else None
        self.epoch = record.epoch
        return True

    def restore(self) -> None:
        """Put the best weights back into the model."""
        if self._saved is not None:
            self._model.load_state_dict(self._saved)
