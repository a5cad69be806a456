"""The rows of a search, read and tokenized once, and encoded once for each way to encode them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.split import Examples
from fasttext_app.model.adaptive_softmax import tensor_shapes, with_cutoffs
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import save_artifact
from fasttext_app.training.events import EpochRecord, TrainOutcome
from fasttext_app.training.prepare import Prepared, prepare
from fasttext_app.training.run_manifest import run_manifest
from fasttext_app.training.tokenized import TokenizedRows, tokenize

REVISION = "0" * 40  # as long as one of git's, which takes a process to ask for


class TrialData:
    """Prepares the same rows for one configuration after another; a context manager.

    Args:
        open_examples: opens the rows from the start.
        limit: bytes of encoded texts that are kept for later trials.
    """

    def __init__(self, open_examples: Callable[[Config], Examples], limit: int) -> None:
        self._open, self._limit = open_examples, limit
        self._files = ExitStack()
        self._tokenized: dict[str, tuple[Examples, TokenizedRows]] = {}
        self._encoded: OrderedDict[str, tuple[Prepared, SpillBuffer]] = OrderedDict()

    def __enter__(self) -> TrialData:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._drop(0)
        self._files.close()

    def prepared(self, config: Config) -> Prepared:
        """Return the rows as a configuration wants them.

        Raises:
            DataError: they cannot be read.
            TrainingError: they leave nothing to learn.
        """
        # What else decides how rows are encoded is the same for all trials.
        key = f"{config.text.model_dump_json()} {config.model.loss} {config.model.padding_idx}"
        if key not in self._encoded:
            examples, tokenized = self._rows(config)
            self._drop(self._limit)
            spill_buffer = SpillBuffer(config.data.in_memory_mb * 2**20).__enter__()
            self._encoded[key] = prepare(config, examples, spill_buffer, tokenized), spill_buffer
        self._encoded.move_to_end(key)
        found = self._encoded[key][0]
        config = with_cutoffs(config, found.labels.counts)
        return replace(found, config=config)

    def fingerprint(self, config: Config) -> dict[str, Any]:
        """Return what tells these rows from others: their number and a digest of all of them."""
        examples, tokenized = self._rows(config)
        fingerprint = tokenized.fingerprint.copy()
        if isinstance(examples.validation, pa.Table):
            for batch in examples.validation.to_batches():
                fingerprint.update(batch)
        rows = sum(len(part.lengths) for part in tokenized.parts)
        return {"source": examples.source, "rows": rows, "digest": fingerprint.digest()}

    def held_out(self, config: Config) -> float:
        """Return the fraction of the training rows that is held out; 0: a split is."""
        return self._rows(config)[0].validation_fraction

    def _rows(self, config: Config) -> tuple[Examples, TokenizedRows]:
        name = config.text.tokenizer
        if name not in self._tokenized:
            spill_buffer = self._files.enter_context(SpillBuffer(config.data.in_memory_mb * 2**20))
            examples = self._open(config)
            tokenized = tokenize(config, examples, spill_buffer)
            # Streams are read once, and validation rows are asked for again and again.
            validation = examples.validation
            if validation is not None and not isinstance(validation, pa.Table):
                batches = list(validation)
                validation = pa.Table.from_batches(batches) if batches else ()
            self._tokenized[name] = replace(examples, train=(), validation=validation), tokenized
        return self._tokenized[name]

    def _drop(self, limit: int) -> None:
        """Let go of what was encoded longest ago, until the rest is within a limit."""
        while self._encoded and sum(map(_bytes_of, self._encoded.values())) > limit:
            _, (_, spill_buffer) = self._encoded.popitem(last=False)
            spill_buffer.__exit__(None, None, None)


def _bytes_of(entry: tuple[Prepared, SpillBuffer]) -> int:
    prepared, _ = entry
    return prepared.statistics.ids * 4 + 1


def model_bytes(prepared: Prepared) -> int:
    """Return how large the model directory will be, to within the digits of its figures.

    It saves the model without the rows of its table, and adds them.
    """
    config, classes = prepared.config, len(prepared.labels)
    rows, dim, epochs = max(prepared.encoder.rows, 1), config.model.dim, config.trainer.epochs
    layer: dict[str, tuple[int, ...]] = {"weight": (classes, dim), "bias": (classes,)}
    if config.model.cutoffs is not None:
        layer = tensor_shapes(dim, classes, config.model.cutoffs, config.model.div_value)
    tensors: dict[str, Any] = {
        name: np.zeros(shape, np.float32) for name, shape in {"table": (0, dim), **layer}.items()
    }
    if prepared.idf is not None:
        tensors["idf"] = prepared.idf
    if prepared.encoder.hashed.kept is not None:
        tensors["buckets"] = prepared.encoder.hashed.kept
    figures = [0.12345678901234567] * 7
    history = TrainOutcome([EpochRecord(epoch + 1, *figures) for epoch in range(epochs)], 10**6)
    artifact = Artifact(
        config=config,
        vocabulary=prepared.encoder.vocabulary,
        labels=prepared.labels,
        tensors=tensors,
        metrics={key: x for key, x in history.as_dict()["epochs"][0].items() if "valid" in key},
        history=history.as_dict(),
        data=prepared.statistics.as_dict(),
        tokenizer_asset=prepared.encoder.tokenizer.asset,
        run=run_manifest(config, prepared.statistics, REVISION),
    )
    with TemporaryDirectory(prefix="fasttext_app-") as folder:
        save_artifact(artifact, Path(folder, "model"))
        around = sum(file.stat().st_size for file in Path(folder, "model").iterdir())
    return around + rows * dim * 4
