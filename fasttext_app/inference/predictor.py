"""``Predictor``: a trained model in use. No torch on the CPU; torch for CUDA.

Shapes: **B** texts, **N** ids, **D** embedding dim, **C** classes. A text without any known feature
is the zero vector, so its answer is the model's prior (the bias).
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
from fasttext_app.model.heads import MOST_LOGITS, class_probabilities, probabilities
from fasttext_app.model.metrics import top_k_classes
from fasttext_app.text.encoder import TextLike, as_chunks


class Predictor:
    """A loaded model: texts in, labels and probabilities out.

    Args:
        artifact: what a model directory holds.
        device: ``cpu`` (NumPy), or ``cuda``, ``cuda:i`` or ``auto`` (torch).
        threads: threads for a column of texts; 0: all cores.
    """

    def __init__(self, artifact: Artifact, *, device: str = "cpu", threads: int = 0) -> None:
        self.artifact = artifact
        self.threads = threads
        self.encoder = artifact.encoder()
        self._forward = forward_on(artifact, device)

    @property
    def config(self) -> Config:
        """The configuration that the model was trained with."""
        return self.artifact.config

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the C classes."""
        return self.artifact.labels.names

    @property
    def fitted_thresholds(self) -> F64 | None:
        """The threshold of each class, [C], where :meth:`calibrate` has fitted them."""
        return recorded_thresholds(self.artifact.calibration, self.labels)

    def warm_up(self) -> Self:
        """Load the compiled code now, so that no prediction waits for it; return the model.

        It takes half a second. Without it the first texts (a megabyte, less where they are short)
        go through plain Python, which starts at once and takes twice as long for a text.
        """
        jit.enable()
        self.rank(["a"])
        return self

    def logits(self, texts: TextLike) -> F32:
        """Return the logits of texts, [B, C]."""
        parts = list(map_threads(self.chunk_logits, as_chunks(texts), self.threads))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def predict_proba(self, texts: TextLike) -> F64:
        """Return the probability of every class for each text, [B, C]."""
        return probabilities(self.logits(texts), self.config.model)

    def rank(self, texts: TextLike, top_k: int = 1) -> TopK:
        """Return the ``top_k`` best classes of each text (all of them where there are fewer)."""
        top_k, _, _ = self.limits(top_k, 0.0)

        def rank(chunk: pa.StringArray) -> TopK:
            return self.rank_bags(self.encoder.encode_chunk(chunk), top_k)

        parts = list(map_threads(rank, as_chunks(texts), self.threads))
        if not parts:
            return self._ranked(np.empty((0, len(self.labels)), np.float32), top_k)
        return TopK.concat(parts)

    def rank_bags(self, bags: Ragged, top_k: int = 1) -> TopK:
        """Do the same for texts that :attr:`encoder` has encoded."""
        rows = max(MOST_LOGITS // len(self.labels), 1)
        if len(bags) <= rows:
            return self._ranked(self._forward(bags), top_k)
        pieces = np.split(np.arange(len(bags)), range(rows, len(bags), rows))
        return TopK.concat([self.rank_bags(bags.take(piece), top_k) for piece in pieces])

    def _ranked(self, logits: F32, top_k: int) -> TopK:
        classes = top_k_classes(logits, top_k)  # large logits differ where probabilities round to 1
        return TopK(classes, class_probabilities(logits, classes, self.config.model))

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
            top_k: at most this many labels a text; None: 1, or all with ``fitted``.
            threshold: leave out labels with a smaller probability; ``fitted``: than the model's
                threshold of that label.

        Raises:
            ConfigError: ``fitted``, and the model has no thresholds; or ``top_k`` is below 1.
        """
        looked_at, least, most = self.limits(top_k, threshold)
        ranked = (
            self.rank_bags(self.encoder.encode_text(texts), looked_at)
            if isinstance(texts, str)
            else self.rank(texts, looked_at)
        )
        answers = []
        for classes, values, kept in zip(
            ranked.classes.tolist(),
            ranked.probabilities.tolist(),
            ranked.kept(least, most).tolist(),
            strict=True,
        ):
            above = [
                (self.labels[c], p) for c, p, k in zip(classes, values, kept, strict=True) if k
            ]
            answers.append(Prediction(tuple(n for n, _ in above), tuple(p for _, p in above)))
        return answers[0] if isinstance(texts, str) else answers

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
            Batches of the columns of :data:`PREDICTIONS`, row by row as they came in.

        Raises:
            ConfigError: ``fitted``, and the model has no thresholds; or ``top_k`` is below 1.
            DataError: a text is None or no string.
        """
        looked_at, least, most = self.limits(top_k, threshold)

        def predict(texts: pa.StringArray) -> pa.RecordBatch:
            ranked = self.rank_bags(self.encoder.encode_chunk(texts), looked_at)
            columns = [texts, *ranked.columns(self.labels, least, most)]
            return pa.record_batch(columns, schema=PREDICTIONS)

        pieces = (piece for batch in batches for piece in as_chunks(batch.column("text")))
        return map_threads(predict, pieces, self.threads)

    def limits(
        self, top_k: int | None, threshold: float | str
    ) -> tuple[int, Threshold, int | None]:
        """Return how many classes to rank, their thresholds, and how many answers may stay.

        Raises:
            ConfigError: ``fitted``, and the model has no thresholds; or ``top_k`` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k = {top_k}: must be at least 1")
        if not isinstance(threshold, str):
            return 1 if top_k is None else top_k, threshold, None
        if threshold != FITTED:
            raise ConfigError(f"threshold = {threshold!r}: must be a number or {FITTED!r}")
        fitted = self.fitted_thresholds
        if fitted is None:
            raise ConfigError(
                "the model has no fitted thresholds; make them with "
                "`fasttext-app calibrate MODEL --thresholds f1`"
            )
        return len(self.labels), fitted, top_k

    def chunk_logits(self, texts: pa.StringArray) -> F32:
        """Return the same for a column of texts without nulls, on this thread alone."""
        return self._forward(self.encoder.encode_chunk(texts))
