"""Calibration on held-out rows: a temperature, and a threshold for each label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttext_app.config.schema import Config, DataConfig
from fasttext_app.core.arrays import F32, F64
from fasttext_app.core.arrow import to_arrow
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.in_memory import IN_MEMORY
from fasttext_app.data.source import SPLIT_NAMES, Batches, Source
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.inference.evaluate import BLOCK, TrueLabels, with_one_label
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.artifact import OUTPUT, Artifact
from fasttext_app.model.calibration import (
    Calibration,
    CalibrationMeter,
    Goal,
    Slope,
    choose_threshold,
    fit_temperature,
    margin_slope,
    softmax_slope,
)
from fasttext_app.model.heads import MOST_LOGITS, SIGMOIDS, class_scores_of, probabilities
from fasttext_app.model.huffman import HuffmanTree
from fasttext_app.model.metrics import multi_hot

if TYPE_CHECKING:
    from fasttext_app.inference.predictor import Predictor


def held_out(artifact: Artifact, config: Config, source: Source, split: str) -> Batches:
    """Open the rows to calibrate on.

    Raises:
        DataError: there is no such split, or it is what the model was trained on.
    """
    same = source.spec != IN_MEMORY and _place(source.spec) == _place(
        str(artifact.data.get("source"))
    )
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
    model: Predictor,
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
    from fasttext_app.inference.predictor import Predictor

    linear = Predictor(linear_outputs(model.artifact), threads=model.threads)
    separator = data.eval_label_separator
    to_classes = TrueLabels(model.labels, separator)
    outputs, true, rows = [], [], 0
    for batch in with_one_label(batches, data):
        labels = to_classes(batch.column("label"))
        kept = labels.indices < len(model.labels)
        if separator is None:
            batch = batch.filter(to_arrow(kept))
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
        return margin_slope(np.where(multi_hot(true, outputs.shape[1]), outputs, -outputs))
    if loss == "hs":
        nodes, turns = HuffmanTree.build(artifact.labels.counts).paths()
        way = nodes[true.indices]
        return margin_slope(np.take_along_axis(outputs, way, 1) * turns[true.indices])
    if loss == "softmax":
        return softmax_slope(outputs, true.indices)
    raise ConfigError(f'a model of model.loss = "{loss}" cannot be calibrated')


def _blocks(artifact: Artifact, outputs: F32) -> Iterable[tuple[slice, F64]]:
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
        flags = multi_hot(true.take(np.arange(len(outputs))[rows]), proba.shape[1])
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
    flags = multi_hot(true, proba.shape[1])
    values, without, unreached = {}, [], []
    for number, name in enumerate(artifact.labels.names):
        values[name], reached = choose_threshold(proba[:, number], flags[:, number], goal)
        if not flags[:, number].any():
            without.append(name)
        elif not reached:
            unreached.append(name)
    return {"values": values, "without_positives": without, "unreached": unreached}


MOST_CALIBRATED = 1 << 26  # logits that a temperature is fitted on
