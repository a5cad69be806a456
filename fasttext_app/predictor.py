"""``TextClassifier``: a trained model in use. No torch on the CPU; torch for CUDA.

Shapes: **B** texts, **N** ids, **D** embedding dim, **C** classes. A text without any known feature
is the zero vector, so its answer is the model's prior (the bias).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.artifact import Artifact, load_artifact, save_artifact
from fasttext_app.config import Config, DataConfig
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.forward import CpuForward, probabilities, torch_forward
from fasttext_app.metrics import (
    MultiLabelScores,
    Scores,
    chosen_classes,
    classification_scores,
    multi_label_scores,
    top_k_classes,
)
from fasttext_app.parallel import map_threads
from fasttext_app.text.encoder import TextEncoder, TextLike, as_chunks
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.row_labels import split_cell
from fasttext_app.text.soft_labels import soft_cell, with_most_likely
from fasttext_app.text.strings import number_array, string_array
from fasttext_app.text.tokenizers import load_tokenizer

__all__ = ["PREDICTIONS", "Prediction", "Ranked", "TextClassifier"]

F32 = npt.NDArray[np.float32]
EVALUATED_RANKS = 5
FEW = 100
PREDICTIONS = pa.schema(
    {
        "text": pa.string(),
        "labels": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float64()),
    }
)
"""The answers for a batch of texts: the labels of each, best first, and their probabilities."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one text: labels, best first, and the probability of each."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Ranked:
    """The answers for B texts: the k best classes of each, best first, and their probabilities."""

    classes: npt.NDArray[np.int64]  # [B, k]
    probabilities: npt.NDArray[np.float64]  # [B, k]

    def columns(
        self, names: Sequence[str], threshold: float = 0.0
    ) -> tuple[pa.ListArray, pa.ListArray]:
        """Return label names and probabilities of each text, those below ``threshold`` left out."""
        kept = self.probabilities >= threshold
        ends = np.cumsum(kept.sum(axis=1, dtype=np.int32), dtype=np.int32)
        offsets = number_array(np.concatenate((np.zeros(1, np.int32), ends)))
        classes = self.classes[kept]
        if len(classes) > FEW:
            labels = string_array(names).take(number_array(classes))
        else:  # sooner done than Arrow's compute functions are imported
            labels = string_array([names[number] for number in classes.tolist()])
        values = number_array(self.probabilities[kept])
        return (
            pa.ListArray.from_arrays(offsets, labels),
            pa.ListArray.from_arrays(offsets, values),
        )


class TextClassifier:
    """A trained model, loaded: predict, evaluate, save.

    Args:
        artifact: what a model directory holds.
        device: ``cpu`` (NumPy), or ``cuda``, ``cuda:i`` or ``auto`` (torch).
        threads: threads for a column of texts; 0: all cores.
    """

    def __init__(self, artifact: Artifact, *, device: str = "cpu", threads: int = 0) -> None:
        self.artifact = artifact
        self.threads = threads
        text = artifact.config.text
        tokenizer = load_tokenizer(text.tokenizer, artifact.tokenizer_asset)
        kept = artifact.tensors.get("buckets")
        self.encoder = TextEncoder.from_config(text, tokenizer, artifact.vocabulary, kept)
        self._forward = CpuForward(artifact) if device == "cpu" else torch_forward(artifact, device)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
        """Load a model directory.

        Raises:
            ArtifactError: it is missing, damaged, or of a newer format.
            DeviceError: the device is not there.
        """
        return cls(load_artifact(path), device=device, threads=threads)

    @property
    def config(self) -> Config:
        """The configuration that the model was trained with."""
        return self.artifact.config

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the C classes."""
        return self.artifact.labels.names

    def save(self, path: str | Path) -> None:
        """Write the model directory; see ``artifact.py``.

        Raises:
            ArtifactError: it cannot be written there.
        """
        save_artifact(self.artifact, path)

    def quantize(
        self, cutoff: int = 0, *, product: bool = False, dsub: int = 2, qnorm: bool = False
    ) -> TextClassifier:
        """Return a smaller model, with its table in 8-bit numbers; see ``quantization.py``.

        Args:
            cutoff: keep no more than this many rows, those with the largest norms; 0: all.
            product: product codes instead, which are smaller still and less exact.
            dsub: how many numbers share a code.
            qnorm: whether the norms of rows are coded by themselves.

        Raises:
            ConfigError: the model is quantised already, its rows cannot be left out, or there are
                too few for product codes.
            MissingDependencyError: product codes need scikit-learn.
        """
        from fasttext_app.quantization import product_quantize, quantize

        smaller = (
            product_quantize(self.artifact, cutoff, width=dsub, norms=qnorm)
            if product
            else quantize(self.artifact, cutoff)
        )
        return TextClassifier(smaller, threads=self.threads)

    def logits(self, texts: TextLike) -> F32:
        """Return the logits of texts, [B, C]."""
        chunks = as_chunks(texts)
        parts = list(map_threads(self._chunk_logits, chunks, self.threads))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def predict_proba(self, texts: TextLike) -> npt.NDArray[np.float64]:
        """Return the probability of every class for each text, [B, C]."""
        return probabilities(self.logits(texts), self.config.model)

    def rank(self, texts: TextLike, top_k: int = 1) -> Ranked:
        """Return the ``top_k`` best classes of each text (all of them where there are fewer)."""
        if top_k < 1:
            raise ConfigError(f"top_k = {top_k}: must be at least 1")

        def rank(chunk: pa.StringArray) -> Ranked:
            return self._ranked(self._chunk_logits(chunk), top_k)

        parts = list(map_threads(rank, as_chunks(texts), self.threads))
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return self._ranked(np.empty((0, len(self.labels)), np.float32), top_k)
        return Ranked(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def rank_bags(self, bags: Ragged, top_k: int = 1) -> Ranked:
        """Do the same for texts that :attr:`encoder` has encoded."""
        return self._ranked(self._forward(bags), top_k)

    def _ranked(self, logits: F32, top_k: int) -> Ranked:
        classes = top_k_classes(logits, top_k)  # large logits differ where probabilities round to 1
        proba = probabilities(logits, self.config.model)
        return Ranked(classes, proba[np.arange(len(proba))[:, None], classes])

    @overload
    def predict(  # type: ignore[overload-overlap]  # str is a Sequence[str] too
        self, texts: str, top_k: int = 1, threshold: float = 0.0
    ) -> Prediction: ...
    @overload
    def predict(
        self, texts: Sequence[str] | pa.Array, top_k: int = 1, threshold: float = 0.0
    ) -> list[Prediction]: ...
    def predict(
        self, texts: str | Sequence[str] | pa.Array, top_k: int = 1, threshold: float = 0.0
    ) -> Prediction | list[Prediction]:
        """Return the best labels of one text, or of each of several.

        Args:
            texts: one text, or a list or Arrow array of texts.
            top_k: at most this many labels a text.
            threshold: leave out labels with a smaller probability.
        """
        ranked = self.rank([texts] if isinstance(texts, str) else texts, top_k)
        answers = []
        for classes, values in zip(
            ranked.classes.tolist(), ranked.probabilities.tolist(), strict=True
        ):
            above = [
                (self.labels[c], p) for c, p in zip(classes, values, strict=True) if p >= threshold
            ]
            answers.append(Prediction(tuple(n for n, _ in above), tuple(p for _, p in above)))
        return answers[0] if isinstance(texts, str) else answers

    def predict_batches(
        self, batches: Iterable[pa.RecordBatch], top_k: int = 1, threshold: float = 0.0
    ) -> Iterator[pa.RecordBatch]:
        """Predict a stream of batches with a column ``text``, on all threads, in constant memory.

        Yields:
            Batches of the columns of :data:`PREDICTIONS`, row by row as they came in.

        Raises:
            DataError: a text is None or no string.
        """

        def predict(texts: pa.StringArray) -> pa.RecordBatch:
            ranked = self._ranked(self._chunk_logits(texts), top_k)
            columns = [texts, *ranked.columns(self.labels, threshold)]
            return pa.record_batch(columns, schema=PREDICTIONS)

        pieces = (piece for batch in batches for piece in as_chunks(batch.column("text")))
        yield from map_threads(predict, pieces, self.threads)

    def evaluate(
        self,
        data: str | Path | Sequence[str],
        labels: Sequence[str | Mapping[str, float]] | None = None,
        *,
        split: str = "test",
        threshold: float = 0.5,
    ) -> Scores | MultiLabelScores:
        """Score the model on a data SPEC's split, or on texts with their ``labels``.

        Args:
            data: a SPEC, or texts.
            labels: one cell for each text, where ``data`` is texts; with ``data.soft_labels`` it
                may be a dict of shares.
            split: of the SPEC.
            threshold: where a row may have several labels, the probability from which one is
                predicted.

        Raises:
            DataError: the data cannot be read, or there is none.
        """
        if not isinstance(data, str | Path):
            rows = labelled_table("evaluate", data, labels, self.config.data).to_batches()
            return self.evaluate_batches(rows, threshold)
        from fasttext_app.sources import open_source

        refuse_labels("evaluate", data, labels)
        config = DataConfig.model_validate(self.config.data.model_dump() | {"source": str(data)})
        return self.evaluate_batches(open_source(config).scan(split), threshold)

    def evaluate_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        threshold: float = 0.5,
        separator: str | None = None,
    ) -> Scores | MultiLabelScores:
        """Score the model on batches of ``text`` and ``label``, in constant memory for the texts.

        Args:
            batches: the rows.
            threshold: as for :meth:`evaluate`.
            separator: what parts the labels of a row; None: as the model's settings have it.

        Raises:
            DataError: there are no rows.
        """
        separator = separator or self.config.data.label_separator
        if separator is not None and self.config.data.soft_labels:
            return self._evaluate_single(with_most_likely(batches, separator))
        if separator is None:
            return self._evaluate_single(batches)
        return self._evaluate_several(batches, separator, threshold)

    def _evaluate_several(
        self, batches: Iterable[pa.RecordBatch], separator: str, threshold: float
    ) -> MultiLabelScores:
        numbers = {name: number for number, name in enumerate(self.labels)}
        true: list[list[int]] = []
        predicted, ranked = [], []
        for batch in batches:
            for cell in batch.column("label").to_pylist():
                labels = split_cell(cell, separator)
                true.append([numbers.setdefault(label, len(numbers)) for label in labels])
            logits = self.logits(batch.column("text"))
            proba = probabilities(logits, self.config.model)
            predicted.append(chosen_classes(proba >= threshold))
            ranked.append(top_k_classes(logits, EVALUATED_RANKS))
        if not true:
            raise DataError("there are no rows to evaluate")
        return multi_label_scores(
            Ragged.from_lists(true),
            Ragged.concat(predicted),
            np.concatenate(ranked),
            self.labels,
            list(numbers)[len(self.labels) :],
        )

    def _evaluate_single(self, batches: Iterable[pa.RecordBatch]) -> Scores:
        unknown: dict[str, int] = {}
        true, ranked = [], []
        for batch in batches:
            classes = self.artifact.labels.ids(batch.column("label"))
            for row in np.flatnonzero(classes < 0):
                name = batch.column("label")[int(row)].as_py()
                classes[row] = len(self.labels) + unknown.setdefault(name, len(unknown))
            true.append(classes)
            ranked.append(self.rank(batch.column("text"), EVALUATED_RANKS).classes)
        if not sum(map(len, true)):
            raise DataError("there are no rows to evaluate")
        return classification_scores(
            np.concatenate(true), np.concatenate(ranked), self.labels, list(unknown)
        )

    def _chunk_logits(self, texts: pa.StringArray) -> F32:
        return self._forward(self.encoder.encode_chunk(texts))


def labelled_table(
    job: str,
    texts: Sequence[str],
    labels: Sequence[str | Mapping[str, float]] | None,
    config: DataConfig,
) -> pa.Table:
    """Make a table of ``text`` and ``label`` out of what was given in Python.

    Raises:
        DataError: there is not one label for each text, or they are not strings, nor dicts where
            labels have shares.
    """
    if labels is None or len(labels) != len(texts):
        raise DataError(f"{job}: there must be one label for each text")
    try:
        if config.soft_labels and config.label_separator is not None:
            parts = config.label_separator
            labels = [soft_cell(x, parts) if isinstance(x, Mapping) else x for x in labels]
    except ValueError as error:
        raise DataError(f"{job}: {error}") from None
    try:
        columns = {"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())}
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise DataError(f"{job}: texts and labels must be strings: {error}") from None
    if any(column.null_count for column in columns.values()):
        raise DataError(f"{job}: a text or a label is None")
    return pa.table(columns)


def refuse_labels(job: str, spec: object, labels: Sequence[object] | None) -> None:
    """Refuse labels beside a data SPEC, which has its own."""
    if labels is not None:
        raise DataError(f"{job}: labels go with texts; {spec} has its own")
