"""``DataCache``: the rows of a search, tokenized once, and encoded once for each way to encode."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.auto import fill_auto, known
from fasttext_app.config.schema import Config
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.split import Examples
from fasttext_app.model.adaptive_softmax import tensor_shapes, with_cutoffs
from fasttext_app.model.directory import save_artifact
from fasttext_app.model.fold import columns
from fasttext_app.training.events import EpochRecord, TrainOutcome
from fasttext_app.training.prepare import Prepared, prepare
from fasttext_app.training.run import build_artifact
from fasttext_app.training.run_manifest import run_manifest
from fasttext_app.training.tokenized import TokenizedRows, batches_of, fingerprinted, tokenize

PLACEHOLDER_REVISION = "0" * 40  # as long as git's, which would take a process to ask for


class DataCache:
    """Prepares the same rows for one configuration after another; a context manager.

    Args:
        open_examples: opens the rows from the start.
        limit: the bytes of encoded rows to keep for later trials.
    """

    def __init__(self, open_examples: Callable[[Config], Examples], limit: int) -> None:
        self._open_examples, self._limit = open_examples, limit
        self._spill_buffers = ExitStack()  # of tokens; encoded rows are dropped one by one
        self._tokenized: dict[Hashable, tuple[Examples, TokenizedRows]] = {}
        self._prepared: OrderedDict[str, tuple[Prepared, SpillBuffer]] = OrderedDict()

    def __enter__(self) -> DataCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self._shrink_to(0)
        self._spill_buffers.close()

    def prepare(self, config: Config) -> Prepared:
        """Return the rows, prepared for a configuration; its seed decides which are held out.

        Raises:
            DataError: the rows cannot be read.
            TrainingError: the rows leave nothing to learn.
        """
        # All other settings that decide how rows are encoded are the same for all trials.
        model, seed = config.model, config.trainer.seed
        key = f"{config.text.model_dump_json()} {model.loss} {model.padding_idx} {seed}"
        if key not in self._prepared:
            examples, tokenized = self._tokenize(config)
            self._shrink_to(self._limit)
            spill_buffer = SpillBuffer(config.data.in_memory_mb * 2**20).__enter__()
            prepared = prepare(config, examples, spill_buffer, tokenized)
            self._prepared[key] = prepared, spill_buffer
        self._prepared.move_to_end(key)
        prepared, _ = self._prepared[key]
        config = with_cutoffs(config, prepared.labels.counts)
        return replace(prepared, config=fill_auto(config, prepared.statistics.size))

    def fingerprint(self, config: Config) -> dict[str, Any]:
        """Return what identifies the rows: their source, their number and a digest."""
        examples, tokenized = self._tokenize(config)
        fingerprint = tokenized.fingerprint.copy()
        for _ in fingerprinted(batches_of(examples.validation or ()), fingerprint):
            pass
        rows = sum(len(part.lengths) for part in tokenized.parts)
        return {"source": examples.source, "rows": rows, "digest": fingerprint.digest()}

    def validation_fraction(self, config: Config) -> float:
        """Return the fraction of the training rows that is held out; 0: there is a split."""
        return self._tokenize(config)[0].validation_fraction

    def _tokenize(self, config: Config) -> tuple[Examples, TokenizedRows]:
        """Return the tokenized training rows, and the examples with their validation rows."""
        text = config.text
        key = text.tokenizer, text.lowercase, text.replace
        if key not in self._tokenized:
            spill_buffer = self._spill_buffers.enter_context(
                SpillBuffer(config.data.in_memory_mb * 2**20)
            )
            examples = self._open_examples(config)
            tokenized = tokenize(config, examples, spill_buffer)
            # Validation rows are encoded again and again, but a stream can be read only once.
            validation = examples.validation
            if validation is not None and not isinstance(validation, pa.Table):
                batches = list(validation)
                validation = pa.Table.from_batches(batches) if batches else ()
            self._tokenized[key] = replace(examples, train=(), validation=validation), tokenized
        return self._tokenized[key]

    def _shrink_to(self, limit: int) -> None:
        """Drop the least recently used rows until the rest is within a limit."""
        while self._prepared and sum(map(_id_bytes, self._prepared.values())) > limit:
            _, (_, spill_buffer) = self._prepared.popitem(last=False)
            spill_buffer.__exit__(None, None, None)


def _id_bytes(entry: tuple[Prepared, SpillBuffer]) -> int:
    prepared, _ = entry
    return prepared.statistics.ids * 4 + 1  # never 0, so that a limit of 0 drops every entry


def model_bytes(prepared: Prepared) -> int:
    """Estimate the size of the model directory, exact but for the digits of its scores.

    Saves the model without the rows of its table, and adds their size.
    """
    config, classes = prepared.config, len(prepared.labels)
    rows, epochs = max(prepared.encoder.rows, 1), known(config.trainer.epochs)
    dim = columns(config.model, classes)
    shapes: dict[str, tuple[int, ...]] = {"weight": (classes, dim), "bias": (classes,)}
    if config.model.cutoffs is not None:
        shapes = tensor_shapes(dim, classes, config.model.cutoffs, config.model.div_value)
    weights = {
        name: np.zeros(shape, np.float32) for name, shape in {"table": (0, dim), **shapes}.items()
    }
    scores = [0.12345678901234567] * 7
    history = [EpochRecord(epoch + 1, *scores) for epoch in range(epochs)]
    outcome = TrainOutcome(history, steps=10**6, best_epoch=1)
    manifest = run_manifest(config, prepared.statistics, PLACEHOLDER_REVISION)
    artifact = build_artifact(prepared, weights, outcome, prepared.statistics, manifest)
    with TemporaryDirectory(prefix="fasttext_app-") as folder:
        save_artifact(artifact, Path(folder, "model"))
        without_rows = sum(file.stat().st_size for file in Path(folder, "model").iterdir())
    return without_rows + rows * dim * 4
