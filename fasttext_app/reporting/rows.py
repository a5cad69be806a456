"""The rows that a report is about, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.describe import describe_data
from fasttext_app.data.findings import SharedTexts, shared_texts, text_hashes
from fasttext_app.data.named_files import named, unknown
from fasttext_app.data.source import Source
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError
from fasttext_app.inference.predictor import Predictor


@dataclass(frozen=True)
class Rows:
    """The rows that a report is about."""

    name: str
    """Where they are from."""
    batches: Sequence[pa.RecordBatch]
    data: DataConfig
    """How their labels are read."""
    findings: Sequence[str] = ()
    """Copies, texts of other splits, labels that look alike."""


def described_rows(
    model: Predictor,
    source: Source,
    split: str,
    batches: Sequence[pa.RecordBatch],
    data: DataConfig,
) -> Rows:
    """Return rows with what is odd about them; they are not read a second time for it."""
    name = source.spec if source.single else f"{source.spec}, split {split}"
    findings: list[str] = []
    if batches:
        described = describe_data(
            source,
            split,
            data.label_separator,
            soft=data.soft_labels,
            whole_labels=data.whole_labels,
            batches=batches,
        )
        findings = [finding["message"] for finding in described["findings"]]
    findings += map(str, _shared_with_training(model, source, name, batches))
    return Rows(name, batches, data, findings)


def _shared_with_training(
    model: Predictor, source: Source, name: str, batches: Sequence[pa.RecordBatch]
) -> Iterator[SharedTexts]:
    """Look for texts that the model was trained on, if the machine knows its training data."""
    specs = named(model.config)["data", "source"]
    if not batches or not specs or unknown(specs, model.artifact.data.get("files")):
        return
    try:
        training = open_source(model.config.data)
        if training.spec == source.spec:  # its splits are compared already
            return
        scan = training.scan(model.config.data.train_split, with_labels=False)
        parts = [text_hashes(batch.column("text")) for batch in scan]
    except DataError:
        return
    hashes = np.concatenate([text_hashes(batch.column("text")) for batch in batches])
    shared = shared_texts(hashes, np.concatenate([np.empty(0, np.int64), *parts]))
    if shared is not None:
        yield SharedTexts(shared[0], len(hashes), name, "the training data", shared[1])
