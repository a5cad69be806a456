"""Calibration of a model on held-out rows: a temperature, and a threshold for each label.

The temperature is folded into the linear layer, so that a prediction costs no more, and a fastText
file of the model has it too. The model keeps a record of what was fitted:

    temperature   value; source, split and rows; before and after: ece, mce, nll, brier
    thresholds    goal; values by label; source, split and rows; without_positives; unreached

Shapes: **B** texts, **D** embedding dim, **C** classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, F64
from fasttext_app.core.arrow import to_arrow
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.in_memory import IN_MEMORY
from fasttext_app.data.source import SPLIT_NAMES, Batches, Source
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.inference.evaluate import TrueClasses, with_one_label
from fasttext_app.inference.predictor import Predictor
from fasttext_app.model.artifact import OUTPUT, Artifact
from fasttext_app.model.calibration import CalibrationMeter, fit_temperature
from fasttext_app.model.heads import Head, texts_at_once
from fasttext_app.model.metrics import multi_hot
from fasttext_app.model.tensor_file import Tensors
from fasttext_app.model.thresholds import Goal, choose_threshold

BLOCK = 1 << 14  # texts whose probabilities are in memory at a time
MEASURES: tuple[Literal["ece", "mce", "nll", "brier"], ...] = ("ece", "mce", "nll", "brier")


def _held_out_rows(artifact: Artifact, config: Config, source: Source, split: str) -> Batches:
    """Open the rows to calibrate on.

    Raises:
        DataError: the split does not exist, or the model was trained on it.
    """
    trained_on = str(artifact.data.get("source"))
    same = source.spec != IN_MEMORY and _resolved(source.spec) == _resolved(trained_on)
    split_name, train_split = (
        SPLIT_NAMES.get(name, name) for name in (split, config.data.train_split)
    )
    if same and (source.single or split_name == train_split):
        raise DataError(
            f"{source.spec}: the model was trained on these rows and is overconfident on them; "
            "calibrate on other rows, or train with --set trainer.calibrate=true, which uses the "
            "validation rows"
        )
    return source.scan(split)


def _resolved(spec: str) -> str:
    """Return a SPEC with the path of a file resolved, so that SPECs of one file are equal."""
    return str(Path(spec).resolve()) if Path(spec).exists() else spec


def calibrate_on(
    model: Predictor,
    source: Source,
    split: str,
    config: Config,
    *,
    temperature: bool,
    goal: Goal | None,
) -> Artifact:
    """Fit the temperature of a model, its thresholds, or both, on rows it was not trained on.

    If rows have one label each, those whose label the model does not know are left out.

    Args:
        model: the model.
        source: where the rows are.
        split: their split.
        config: the configuration of the model, with the settings by which the rows are read.
        temperature: whether to fit the temperature.
        goal: what to choose the thresholds for; None: choose none.

    Raises:
        ConfigError: there is nothing to fit, or the model cannot be calibrated.
        DataError: the split does not exist, the model was trained on it, it has no rows, or no
            temperature fits them.
    """
    data, batches = config.data, _held_out_rows(model.artifact, config, source, split)
    linear = Predictor(linear_outputs(model.artifact), threads=model.threads)
    multi_label = data.eval_label_separator is not None
    to_classes = TrueClasses(model.labels, data.eval_label_separator)
    outputs, true, rows = [], [], 0
    for batch in with_one_label(batches, data):
        classes = to_classes(batch.column("label"))
        if not multi_label:
            known = classes.indices < len(model.labels)
            batch = batch.filter(to_arrow(known))
            classes = classes.take(np.flatnonzero(known))
        outputs.append(linear.logits(batch.column("text")))
        true.append(classes)
        rows += len(classes)
    if not rows:
        raise DataError("there are no rows with a label of the model to calibrate on")
    return calibrate_artifact(
        model.artifact,
        np.concatenate(outputs),
        Ragged.concat(true),
        multi_label=multi_label,
        temperature=temperature,
        goal=goal,
        origin={"source": source.spec}
        | ({} if source.single else {"split": split})
        | {"rows": rows},
    )


def linear_outputs(artifact: Artifact) -> Artifact:
    """Return a model whose logits are the outputs of the linear layer, whatever the loss.

    Raises:
        ConfigError: the model has no linear layer.
    """
    loss = artifact.config.model.loss
    if not artifact.is_linear:
        raise ConfigError(
            f'model.loss = "{loss}": there is no linear layer to fold a temperature into; '
            "calibrate a model with another loss"
        )
    model = artifact.config.model.model_copy(update={"loss": "softmax"})
    return replace(artifact, config=artifact.config.model_copy(update={"model": model}))


def calibrate_artifact(
    artifact: Artifact,
    outputs: F32,
    true: Ragged,
    *,
    multi_label: bool,
    temperature: bool = True,
    goal: Goal | None = None,
    origin: dict[str, Any],
) -> Artifact:
    """Return the model with the temperature folded in, and with the record of the calibration.

    Args:
        artifact: the model.
        outputs: outputs of its linear layer, [B, C].
        true: the classes of each row, [B].
        multi_label: whether rows may have several labels.
        temperature: whether to fit the temperature.
        goal: what to choose the thresholds for; None: choose none.
        origin: source, split and number of the rows, for the record.

    Raises:
        ConfigError: there is nothing to fit, or rows have several labels and the model predicts one
            distribution over the labels.
        DataError: no temperature fits.
    """
    head, loss = artifact.head(), artifact.config.model.loss
    if not temperature and goal is None:
        raise ConfigError("there is nothing to fit: neither a temperature nor thresholds")
    if temperature and multi_label and not head.independent:
        raise ConfigError(
            f'model.loss = "{loss}" predicts one distribution over the labels, which no '
            "temperature turns into a probability for each of several; train with model.loss = "
            '"ova", or fit thresholds alone with --no-temperature'
        )
    record = {name: part for name, part in artifact.calibration.items() if name == "temperature"}
    if temperature:
        fitted = fit_temperature(head.slope(outputs, true))
        before = _measures(head, outputs, true, multi_label)
        outputs = outputs / np.float32(fitted)
        after = _measures(head, outputs, true, multi_label)
        artifact = replace(artifact, tensors=scaled_tensors(artifact, fitted))
        value = fitted * record["temperature"]["value"] if record else fitted
        record["temperature"] = {"value": value, **origin, "before": before, "after": after}
    if goal is not None:
        thresholds = _fit_thresholds(head, outputs, true, artifact.labels.names, goal)
        record["thresholds"] = {"goal": str(goal), **origin, **thresholds}
    return replace(artifact, calibration=record)


def scaled_tensors(artifact: Artifact, temperature: float) -> Tensors:
    """Return the tensors of a model, with a temperature folded into its linear layer."""
    candidates = ("weight", f"{OUTPUT}norm_centroids", f"{OUTPUT}centroids")
    weights = next(name for name in candidates if name in artifact.tensors)
    divisor, tensors = np.float32(temperature), artifact.tensors
    return tensors | {name: tensors[name] / divisor for name in (weights, "bias")}


def _probabilities(head: Head, outputs: F32) -> Iterator[F64]:
    """Yield the probabilities of rows, block by block."""
    block = min(BLOCK, texts_at_once(outputs.shape[1]))
    for start in range(0, len(outputs), block):
        yield head.probabilities(head.logits(outputs[start : start + block]))


def _measures(head: Head, outputs: F32, true: Ragged, multi_label: bool) -> dict[str, float | None]:
    meter = CalibrationMeter(pairs=multi_label or head.independent)
    start = 0
    for proba in _probabilities(head, outputs):
        rows = np.arange(start, start + len(proba))
        meter.add(proba, multi_hot(true.take(rows), proba.shape[1]))
        start += len(proba)
    result = meter.result()
    return {key: result[key] for key in MEASURES}


def _fit_thresholds(
    head: Head, outputs: F32, true: Ragged, labels: Sequence[str], goal: Goal
) -> dict[str, Any]:
    proba = np.concatenate(list(_probabilities(head, outputs)))
    positive = multi_hot(true, proba.shape[1])
    values, without_positives, unreached = {}, [], []
    for index, name in enumerate(labels):
        values[name], reached = choose_threshold(proba[:, index], positive[:, index], goal)
        if not positive[:, index].any():
            without_positives.append(name)
        elif not reached:
            unreached.append(name)
    return {"values": values, "without_positives": without_positives, "unreached": unreached}
