"""``Predictor``: texts in, labels and probabilities out; without torch on the CPU.

A text without a known feature is the zero vector, so its logits are the bias.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self, overload

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core import jit
from fasttext_app.core.arrays import F32, F64
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import ConfigError
from fasttext_app.inference.forward import forward_on
from fasttext_app.inference.predictions import FITTED, PREDICTIONS, Prediction, Threshold, TopK
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.calibration import recorded_thresholds
from fasttext_app.model.heads import texts_at_once
from fasttext_app.model.metrics import top_k_classes
from fasttext_app.text.chunks import TextLike, as_chunks


class Predictor:
    """A model that is ready to predict.

    Args:
        artifact: the model.
        device: ``cpu`` (without torch), or ``cuda``, ``cuda:i`` or ``auto`` (torch).
        threads: threads for a column of texts; 0: all cores.

    Raises:
        DeviceError: the device is not available.
    """

    def __init__(self, artifact: Artifact, *, device: str = "cpu", threads: int = 0) -> None:
        self.artifact = artifact
        self.threads = threads
        self.encoder, self.head = artifact.encoder(), artifact.head()
        self._forward = forward_on(artifact, device)

    @property
    def config(self) -> Config:
        """The configuration of the model."""
        return self.artifact.config

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.artifact.labels.names

    @property
    def fitted_thresholds(self) -> F64 | None:
        """The fitted threshold of each class, [C]; None if calibration fitted none."""
        return recorded_thresholds(self.artifact.calibration, self.labels)

    def warm_up(self) -> Self:
        """Load the compiled code now, so that no later prediction waits for it; return the model.

        It takes half a second. Without it, the first texts (up to a megabyte) go through plain
        Python, which loads nothing, takes twice as long per text, and gives bit-identical results.
        """
        jit.enable()
        self.rank(["a"])
        return self

    def logits(self, texts: TextLike) -> F32:
        """Return the logits of texts, [B, C]."""
        parts = list(map_threads(self.chunk_logits, as_chunks(texts), self.threads))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def chunk_logits(self, texts: pa.StringArray) -> F32:
        """Return the logits of a column without nulls, [B, C], on the calling thread."""
        return self._forward(self.encoder.encode_chunk(texts))

    def predict_proba(self, texts: TextLike) -> F64:
        """Return the probability of every class for each text, [B, C]."""
        return self.head.probabilities(self.logits(texts))

    def rank(self, texts: TextLike, top_k: int = 1) -> TopK:
        """Return the ``top_k`` best classes of each text, or all if there are fewer.

        Raises:
            ConfigError: ``top_k`` is below 1.
        """
        _check_top_k(top_k)

        def rank(chunk: pa.StringArray) -> TopK:
            return self.rank_bags(self.encoder.encode_chunk(chunk), top_k)

        parts = list(map_threads(rank, as_chunks(texts), self.threads))
        if not parts:
            return self._top_k(np.empty((0, len(self.labels)), np.float32), top_k)
        return TopK.concat(parts)

    def rank_bags(self, bags: Ragged, top_k: int = 1) -> TopK:
        """Return the ``top_k`` best classes of texts that :attr:`encoder` has encoded."""
        rows = texts_at_once(len(self.labels))
        if len(bags) <= rows:
            return self._top_k(self._forward(bags), top_k)
        pieces = np.split(np.arange(len(bags)), range(rows, len(bags), rows))
        return TopK.concat([self.rank_bags(bags.take(piece), top_k) for piece in pieces])

    def _top_k(self, logits: F32, top_k: int) -> TopK:
        # Ranked by logit: probabilities of large logits all round to 1.
        classes = top_k_classes(logits, top_k)
        return TopK(classes, self.head.class_probabilities(logits, classes))

    @overload
    def predict(  # type: ignore[overload-overlap]  # str is a Sequence[str] too
        self, texts: str, top_k: int | None = None, threshold: float | str = 0.0
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        texts: Sequence[str] | pa.Array,
        top_k: int | None = None,
        threshold: float | str = 0.0,
    ) -> list[Prediction]: ...
    def predict(
        self,
        texts: str | Sequence[str] | pa.Array,
        top_k: int | None = None,
        threshold: float | str = 0.0,
    ) -> Prediction | list[Prediction]:
        """Return the best labels of one text, or of each of several.

        Args:
            texts: one text, or a list or Arrow array of texts.
            top_k: at most this many labels per text; None: 1, or all with ``fitted``.
            threshold: leave out labels with a smaller probability; ``fitted``: the fitted threshold
                of each label.

        Raises:
            ConfigError: ``top_k`` is below 1, or the model has no fitted thresholds.
            DataError: a text is None or not a string.
        """
        ranks, minimum = self._ranks(top_k, threshold), self.resolve_threshold(threshold)
        ranked = (
            self.rank_bags(self.encoder.encode_text(texts), ranks)
            if isinstance(texts, str)
            else self.rank(texts, ranks)
        )
        predictions = ranked.predictions(self.labels, minimum, top_k)
        return predictions[0] if isinstance(texts, str) else predictions

    def predict_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        top_k: int | None = None,
        threshold: float | str = 0.0,
    ) -> Iterator[pa.RecordBatch]:
        """Predict a stream of batches with a column ``text``, on all threads, in constant memory.

        Args:
            batches: the texts.
            top_k: as for :meth:`predict`.
            threshold: as for :meth:`predict`.

        Returns:
            Batches with the columns of :data:`PREDICTIONS`, in the order of the texts.

        Raises:
            ConfigError: ``top_k`` is below 1, or the model has no fitted thresholds.
            DataError: a text is None or not a string.
        """
        ranks, minimum = self._ranks(top_k, threshold), self.resolve_threshold(threshold)

        def predict(texts: pa.StringArray) -> pa.RecordBatch:
            ranked = self.rank_bags(self.encoder.encode_chunk(texts), ranks)
            columns = [texts, *ranked.columns(self.labels, minimum, top_k)]
            return pa.record_batch(columns, schema=PREDICTIONS)

        chunks = (chunk for batch in batches for chunk in as_chunks(batch.column("text")))
        return map_threads(predict, chunks, self.threads)

    def resolve_threshold(self, threshold: float | str) -> Threshold:
        """Return a threshold as numbers: as it is, or the fitted ones of all classes, [C].

        Raises:
            ConfigError: the model has no fitted thresholds, or it is another string.
        """
        if not isinstance(threshold, str):
            return threshold
        if threshold != FITTED:
            raise ConfigError(f"threshold = {threshold!r}: must be a number or {FITTED!r}")
        fitted = self.fitted_thresholds
        if fitted is None:
            raise ConfigError(
                "the model has no fitted thresholds; fit them with "
                "`fasttext-app calibrate MODEL --thresholds f1`"
            )
        return fitted

    def _ranks(self, top_k: int | None, threshold: float | str) -> int:
        """Return how many classes of each text to rank: all where the best may be left out."""
        if top_k is not None:
            _check_top_k(top_k)
        return len(self.labels) if isinstance(threshold, str) else top_k or 1


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise ConfigError(f"top_k = {top_k}: must be at least 1")
