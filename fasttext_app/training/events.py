"""The events of a training run, and its outcome.

    TrainBegin  (StepEnd)*  EpochEnd  ...  TrainEnd

with a CheckpointEnd wherever a checkpoint is due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """Loss, speed and validation scores of one epoch, as ``history.json`` holds them."""

    epoch: int
    train_loss: float
    seconds: float
    texts_per_second: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_macro_f1: float | None = None
    validation_score: float | None = None
    """The metric of ``trainer.monitor``, if it is none of the above."""

    def score(self, monitor: str) -> float | None:
        """Return the metric of ``trainer.monitor``; None if no row was scored."""
        score: float | None = getattr(self, f"validation_{monitor}", self.validation_score)
        return score


@dataclass(frozen=True)
class TrainBegin:
    """Training starts."""

    texts: int
    validation_texts: int
    epochs: int
    device: str
    monitor: str = "accuracy"
    """The metric that decides which epoch is the best."""
    resumed_from: str = ""
    """The checkpoint that the run resumes from."""
    member: int = 1
    """The number of this model in the ensemble (``trainer.ensemble``)."""
    refit: bool = False
    """The run trains the final model on all rows (``trainer.refit``); its epochs are not scored."""


@dataclass(frozen=True)
class StepEnd:
    """Some steps of an epoch are done; emitted fifty to a hundred times an epoch.

    ``loss`` is the mean over the texts since the last event.
    """

    epoch: int
    texts: int
    loss: float
    lr: float
    texts_per_second: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done; ``best`` says if it is the best so far."""

    record: EpochRecord
    best: bool


@dataclass(frozen=True)
class CheckpointEnd:
    """A checkpoint was written; or it was not, for ``problem``, and training continues."""

    path: str
    problem: str = ""


@dataclass(frozen=True)
class TrainEnd:
    """Training is over; the model has the weights of ``best_epoch``.

    If no epoch was validated, it has the latest weights: after Ctrl-C, those in mid-epoch.
    """

    best_epoch: int
    interrupted: bool


Event = TrainBegin | StepEnd | EpochEnd | CheckpointEnd | TrainEnd
Callback = Callable[[Event], None]


@dataclass
class TrainOutcome:
    """The outcome of a run; the weights are in the model."""

    history: list[EpochRecord] = field(default_factory=list)
    steps: int = 0
    best_epoch: int = 0
    interrupted: bool = False
    stopped_early: bool = False
    """Whether ``trainer.patience`` ended the run before its last epoch."""
    checkpoint: str = ""
    """The checkpoint that an interrupted run can be resumed from, if there is one."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the scores that were not measured."""
        epochs = [
            {key: value for key, value in asdict(record).items() if value is not None}
            for record in self.history
        ]
        return {
            "best_epoch": self.best_epoch,
            "steps": self.steps,
            "interrupted": self.interrupted,
            "stopped_early": self.stopped_early,
            "epochs": epochs,
        }
