"""A model against rows with labels: how well it does, and what makes its probabilities fit.

The temperature is folded into the linear layer, so that a prediction costs nothing more, and the
fastText file of a calibrated model has it too. What was fitted, and on what, is the model's record:

    temperature   value, source, split, rows, and before and after: ece, mce, nll, brier
    thresholds    goal, values by label, source, split, rows, without_positives, unreached

Shapes: **B** texts, **D** embedding dim, **C** classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.artifact import OUTPUT, Artifact
from fasttext_app.calibration import (
    Calibration,
    CalibrationMeter,
    Goal,
    Slope,
    choose_threshold,
    fit_temperature,
    margin_slope,
    softmax_slope,
)
from fasttext_app.config import Config, DataConfig
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.forward import MOST_LOGITS, SIGMOIDS, class_scores_of, probabilities
from fasttext_app.huffman import HuffmanTree
from fasttext_app.metrics import (
    MultiLabelScores,
    Scores,
    chosen_classes,
    classification_scores,
    flags_of,
    multi_label_scores,
    ranking_precision,
    top_k_classes,
)
from fasttext_app.sources import Source, open_source
from fasttext_app.sources.examples import SPLIT_NAMES
from fasttext_app.sources.given import GIVEN, Labels, labelled_table, refuse_labels
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.row_labels import split_cell
from fasttext_app.text.soft_labels import with_most_likely
from fasttext_app.text.strings import flag_array, numbers_of

if TYPE_CHECKING:
    from fasttext_app.predictor import TextClassifier

__all__ = [
    "calibrate_artifact",
    "calibrate_batches",
    "evaluate_batches",
    "given_rows",
    "held_out",
    "linear_outputs",
    "origin_of",
]

EVALUATED_RANKS = 5
BLOCK = 1 << 14  # rows whose probabilities are in memory at a time

F32 = npt.NDArray[np.float32]
Batches = Iterable[pa.RecordBatch]


class _TrueLabels:
    """Gives label cells their classes; a label that the model does not know has one from C on."""

    def __init__(self, names: tuple[str, ...], separator: str | None) -> None:
        self._known, self._separator = len(names), separator
        self._numbers = {name: number for number, name in enumerate(names)}

    def __call__(self, column: pa.StringArray) -> Ragged:
        numbers, separator = self._numbers, self._separator
        cells = column.dictionary_encode()
        bags = [
            [
                numbers.setdefault(label, len(numbers))
                for label in ([cell] if separator is None else split_cell(cell, separator))
            ]
            for cell in cells.dictionary.to_pylist()
        ]
        return Ragged.from_lists(bags).take(numbers_of(cells.indices))

    @property
    def unknown(self) -> list[str]:
        return list(self._numbers)[self._known :]


def evaluate_batches(
    model: TextClassifier, batches: Batches, threshold: float | None, data: DataConfig
) -> Scores | MultiLabelScores:
    """Score a model; see ``TextClassifier.evaluate_batches``."""
    separator, classes = data.scored_separator, len(model.labels)
    several = separator is not None
    to_classes = _TrueLabels(model.labels, separator)
    meter = CalibrationMeter(pairs=several or model.config.model.loss in SIGMOIDS)
    fitted = model.fitted_thresholds if threshold is None else None
    least: Any = fitted if fitted is not None else 0.5 if threshold is None else threshold
    true, predicted, ranked, ranking = [], [], [], []
    for batch in _pieces(_with_one_label(batches, data), classes):
        logits = model.logits(batch.column("text"))
        proba = probabilities(logits, model.config.model)
        true.append(to_classes(batch.column("label")))
        meter.add(proba, flags_of(true[-1], classes))
        ranked.append(top_k_classes(logits, EVALUATED_RANKS))
        if several:
            predicted.append(chosen_classes(proba >= least))
            ranking.append(ranking_precision(logits, true[-1]))
    if not sum(map(len, true)):
        raise DataError("there are no rows to evaluate")
    known, best = Ragged.concat(true), np.concatenate(ranked)
    if not several:
        scores = classification_scores(known.indices, best, model.labels, to_classes.unknown)
        return {**scores, "calibration": meter.result()}
    precision, r_precision = (np.concatenate(part) for part in zip(*ranking, strict=True))
    labelled = ~np.isnan(r_precision)
    return {
        **multi_label_scores(
            known, Ragged.concat(predicted), best, model.labels, to_classes.unknown
        ),
        "threshold": "fitted" if fitted is not None else least,
        "ranking_precision": float(precision.mean()),
        "r_precision": float(r_precision[labelled].mean()) if labelled.any() else 0.0,
        "calibration": meter.result(),
    }


def _with_one_label(batches: Batches, data: DataConfig) -> Batches:
    """Where labels have shares, leave each row the likeliest of its labels."""
    if not data.soft_labels:
        return batches
    assert data.label_separator is not None
    return with_most_likely(batches, data.label_separator)


def _pieces(batches: Batches, classes: int) -> Batches:
    """Cut batches so that the probabilities of all classes of one fit into memory."""
    rows = max(MOST_LOGITS // classes, 1)
    for batch in batches:
        for start in range(0, len(batch), rows):
            yield batch.slice(start, rows)


def given_rows(
    job: str, config: Config, data: str | Path | Sequence[str], labels: Labels
) -> tuple[Config, Source]:
    """Open what was given in Python, a SPEC or texts with their labels; return the settings too.

    Raises:
        DataError: there is no such data, or there is not one label for each text.
    """
    if not isinstance(data, str | Path):
        table = labelled_table(job, data, labels, config.data)
        scans = {"": lambda labels: iter(table.to_batches())}
        return config, Source(GIVEN, scans, single=True)
    refuse_labels(job, data, labels)
    wanted = DataConfig.model_validate(config.data.model_dump() | {"source": str(data)})
    return config.model_copy(update={"data": wanted}), open_source(wanted)


def held_out(artifact: Artifact, config: Config, source: Source, split: str) -> Batches:
    """Open the rows to calibrate on.

    Raises:
        DataError: there is no such split, or it is what the model was trained on.
    """
    same = source.spec != GIVEN and _place(source.spec) == _place(str(artifact.data.get("source")))
    names = [SPLIT_NAMES.get(name, name) for name in (split, config.data.train_split)]
    if same and (source.single or names[0] == names[1]):
        raise DataError(
            f"{source.spec}: the model was trained on these rows, and is surer there than "
            "elsewhere; calibrate on other rows, or train with --set trainer.calibrate=true, "
            "which takes the validation rows"
        )
    return source.scan(split)


def _place(spec: str) -> str:
    """Return a SPEC so that two names of one file are the same."""
    return str(Path(spec).resolve()) if Path(spec).exists() else spec


def origin_of(source: Source, split: str) -> dict[str, Any]:
    """Say for the record which rows these are."""
    return {"source": source.spec} | ({} if source.single else {"split": split})


def calibrate_batches(
    model: TextClassifier,
    batches: Batches,
    data: DataConfig,
    *,
    temperature: bool,
    goal: Goal | None,
    origin: dict[str, Any],
) -> Artifact:
    """Fit a model's temperature, its thresholds, or both, on rows that it was not trained on.

    Rows without any label that the model knows are left out where each has one.

    Raises:
        ConfigError: there is nothing to fit, or the model cannot have it.
        DataError: there are no rows, or no temperature fits them.
    """
    from fasttext_app.predictor import TextClassifier

    linear = TextClassifier(linear_outputs(model.artifact), threads=model.threads)
    separator = data.scored_separator
    to_classes = _TrueLabels(model.labels, separator)
    outputs, true, rows = [], [], 0
    for batch in _with_one_label(batches, data):
        labels = to_classes(batch.column("label"))
        kept = labels.indices < len(model.labels)
        if separator is None:
            batch = batch.filter(flag_array(kept))
            labels = labels.take(np.flatnonzero(kept))
        outputs.append(linear.logits(batch.column("text")))
        true.append(labels)
        rows += len(labels)
    if not rows:
        raise DataError("there are no rows with a label of the model to calibrate on")
    return calibrate_artifact(
        model.artifact,
        np.concatenate(outputs),
        Ragged.concat(true),
        several=separator is not None,
        temperature=temperature,
        goal=goal,
        origin={**origin, "rows": rows},
    )


def linear_outputs(artifact: Artifact) -> Artifact:
    """Return the model whose logits are the outputs of the linear layer, whatever its loss.

    Raises:
        ConfigError: it has no linear layer.
    """
    if not artifact.is_linear:
        raise ConfigError(
            'model.loss = "adaptive": its logits are log-probabilities over clusters, into which '
            "no temperature can be folded; calibrate models of the other losses"
        )
    model = artifact.config.model.model_copy(update={"loss": "softmax"})
    return replace(artifact, config=artifact.config.model_copy(update={"model": model}))


def calibrate_artifact(
    artifact: Artifact,
    outputs: F32,
    true: Ragged,
    *,
    several: bool,
    temperature: bool = True,
    goal: Goal | None = None,
    origin: dict[str, Any],
) -> Artifact:
    """Return the model with its temperature folded in, and with the record of it.

    Args:
        artifact: the model.
        outputs: what its linear layer gives for each row, [B, C].
        true: the classes of each row, [B].
        several: whether rows may have several labels.
        temperature: whether to fit it.
        goal: what thresholds are chosen for; None: there are none.
        origin: source, split and number of the rows, for the record.

    Raises:
        ConfigError: there is nothing to fit, or the loss gives one distribution and rows have
            several labels.
        DataError: no temperature fits.
    """
    loss = artifact.config.model.loss
    if not temperature and goal is None:
        raise ConfigError("there is nothing to fit: neither a temperature nor thresholds")
    if temperature and several and loss not in SIGMOIDS:
        raise ConfigError(
            f'model.loss = "{loss}" shares one probability out among the labels, which no '
            'temperature makes that of each of several; train with model.loss = "ova" '
            "(thresholds alone can be fitted: --no-temperature)"
        )
    record = {name: part for name, part in artifact.calibration.items() if name == "temperature"}
    if temperature:
        found = fit_temperature(_slope(artifact, outputs, true))
        before = _measured(artifact, outputs, true, several)
        outputs = outputs / np.float32(found)
        after = _measured(artifact, outputs, true, several)
        tensors = artifact.tensors
        scaled = {name: tensors[name] / np.float32(found) for name in _of_the_scale(artifact)}
        artifact = replace(artifact, tensors=tensors | scaled)
        value = found * record["temperature"]["value"] if record else found
        record["temperature"] = {"value": value, **origin, "before": before, "after": after}
    if goal is not None:
        record["thresholds"] = {
            "goal": str(goal),
            **origin,
            **_fitted_thresholds(artifact, outputs, true, goal),
        }
    return replace(artifact, calibration=record)


def _of_the_scale(artifact: Artifact) -> tuple[str, str]:
    """Name the tensors with which the outputs of the linear layer grow."""
    places = ("weight", f"{OUTPUT}norm_centroids", f"{OUTPUT}centroids")
    return next(name for name in places if name in artifact.tensors), "bias"


def _slope(artifact: Artifact, outputs: F32, true: Ragged) -> Slope:
    loss = artifact.config.model.loss
    if loss in SIGMOIDS:
        return margin_slope(np.where(flags_of(true, outputs.shape[1]), outputs, -outputs))
    if loss == "hs":
        nodes, turns = HuffmanTree.build(artifact.labels.counts).paths()
        way = nodes[true.indices]
        return margin_slope(np.take_along_axis(outputs, way, 1) * turns[true.indices])
    if loss == "softmax":
        return softmax_slope(outputs, true.indices)
    raise ConfigError(f'a model of model.loss = "{loss}" cannot be calibrated')


def _blocks(artifact: Artifact, outputs: F32) -> Iterable[tuple[slice, npt.NDArray[np.float64]]]:
    to_logits = class_scores_of(artifact)
    block = max(min(BLOCK, MOST_LOGITS // outputs.shape[1]), 1)
    for start in range(0, len(outputs), block):
        rows = slice(start, start + block)
        yield rows, probabilities(to_logits(outputs[rows]), artifact.config.model)


def _measured(
    artifact: Artifact, outputs: F32, true: Ragged, several: bool
) -> dict[str, float | None]:
    meter = CalibrationMeter(pairs=several or artifact.config.model.loss in SIGMOIDS)
    for rows, proba in _blocks(artifact, outputs):
        flags = flags_of(true.take(np.arange(len(outputs))[rows]), proba.shape[1])
        meter.add(proba, flags)
    figures: Calibration = meter.result()
    return {
        "ece": figures["ece"],
        "mce": figures["mce"],
        "nll": figures["nll"],
        "brier": figures["brier"],
    }


def _fitted_thresholds(
    artifact: Artifact, outputs: F32, true: Ragged, goal: Goal
) -> dict[str, Any]:
    proba = np.concatenate([block for _, block in _blocks(artifact, outputs)])
    flags = flags_of(true, proba.shape[1])
    values, without, unreached = {}, [], []
    for number, name in enumerate(artifact.labels.names):
        values[name], reached = choose_threshold(proba[:, number], flags[:, number], goal)
        if not flags[:, number].any():
            without.append(name)
        elif not reached:
            unreached.append(name)
    return {"values": values, "without_positives": without, "unreached": unreached}
