"""What happens in a training run: the events that the trainer emits, and the story in the end.

TrainBegin  (StepEnd)*  EpochEnd  ...  TrainEnd, and a CheckpointEnd wherever one is due
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to; ``history.json`` holds one of these for each."""

    epoch: int
    train_loss: float
    seconds: float
    texts_per_second: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_macro_f1: float | None = None
    validation_score: float | None = None
    """The figure of ``trainer.monitor``, where it is none of these."""

    def score(self, monitor: str) -> float | None:
        """Return the figure of ``trainer.monitor``; None where no row was scored."""
        figure: float | None = getattr(self, f"validation_{monitor}", self.validation_score)
        return figure


@dataclass(frozen=True)
class TrainBegin:
    """Training starts."""

    texts: int
    validation_texts: int
    epochs: int
    device: str
    monitor: str = "accuracy"
    """The figure by which epochs are judged."""
    resumed_from: str = ""
    """The checkpoint that the run goes on from."""


@dataclass(frozen=True)
class StepEnd:
    """Some steps of an epoch are done (emitted fifty to a hundred times an epoch)."""

    epoch: int
    texts: int
    loss: float
    lr: float
    texts_per_second: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done; ``best`` says whether it is the best so far."""

    record: EpochRecord
    best: bool


@dataclass(frozen=True)
class CheckpointEnd:
    """A checkpoint is written, or could not be: then training goes on without it."""

    path: str
    problem: str = ""


@dataclass(frozen=True)
class TrainEnd:
    """Training is over; the model holds the weights of ``best_epoch``.

    Where no epoch was validated it holds the last ones: after Ctrl-C, those amid an epoch.
    """

    best_epoch: int
    interrupted: bool


Event = TrainBegin | StepEnd | EpochEnd | CheckpointEnd | TrainEnd
Callback = Callable[[Event], None]


@dataclass
class TrainOutcome:
    """The story of a run; the weights are in the model."""

    history: list[EpochRecord] = field(default_factory=list)
    steps: int = 0
    best_epoch: int = 0
    interrupted: bool = False
    stopped_early: bool = False
    """Whether ``trainer.patience`` ended it before its last epoch."""
    checkpoint: str = ""
    """Where an interrupted run can be gone on from, if anywhere."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what was not measured is left out."""
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
