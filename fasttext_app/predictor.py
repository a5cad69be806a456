"""``TextClassifier``: a trained model in use. No torch on the CPU; torch for CUDA.

Shapes: **B** texts, **N** ids, **D** embedding dim, **C** classes. A text without any known feature
is the zero vector, so its answer is the model's prior (the bias).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.artifact import Artifact, load_artifact, save_artifact
from fasttext_app.config import Config, DataConfig
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.metrics import Scores, classification_scores, top_k_classes
from fasttext_app.parallel import map_threads
from fasttext_app.sources import Batches, open_source
from fasttext_app.text.encoder import KERNELS, TextEncoder, TextLike, as_chunks
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.weighting import tfidf_weights

__all__ = ["Prediction", "Ranked", "TextClassifier", "bag_vectors", "probabilities"]

F32 = npt.NDArray[np.float32]
EVALUATED_RANKS = 5
MODES = ("sum", "mean", "max")  # in the order of kernels.SUM, MEAN, MAX


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

    def lists(
        self, names: Sequence[str], threshold: float = 0.0
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Return label names and probabilities of each text, those below ``threshold`` left out."""
        labels, kept = [], []
        for classes, values in zip(self.classes.tolist(), self.probabilities.tolist(), strict=True):
            above = [(c, p) for c, p in zip(classes, values, strict=True) if p >= threshold]
            labels.append([names[c] for c, _ in above])
            kept.append([p for _, p in above])
        return labels, kept


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
        self._forward: Callable[[Ragged], F32] = self._cpu_forward
        if device != "cpu":
            self._forward = _torch_forward(artifact, device)

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

    def logits(self, texts: TextLike) -> F32:
        """Return the logits of texts, [B, C]."""
        chunks = as_chunks(texts)
        parts = list(map_threads(self._chunk_logits, chunks, self.threads))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def predict_proba(self, texts: TextLike) -> npt.NDArray[np.float64]:
        """Return the probability of every class for each text, [B, C]."""
        return probabilities(self.logits(texts), self.config.model.loss)

    def rank(self, texts: TextLike, top_k: int = 1) -> Ranked:
        """Return the ``top_k`` best classes of each text (all of them where there are fewer)."""
        if top_k < 1:
            raise ConfigError(f"top_k = {top_k}: must be at least 1")
        parts = [
            self._ranked(np.empty((0, len(self.labels)), np.float32), top_k),
            *map_threads(
                lambda chunk: self._ranked(self._chunk_logits(chunk), top_k),
                as_chunks(texts),
                self.threads,
            ),
        ]
        return Ranked(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def _ranked(self, logits: F32, top_k: int) -> Ranked:
        classes = top_k_classes(logits, top_k)  # large logits differ where probabilities round to 1
        proba = probabilities(logits, self.config.model.loss)
        return Ranked(classes, np.take_along_axis(proba, classes, axis=1))

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
        several = [texts] if isinstance(texts, str) else texts
        labels, values = self.rank(several, top_k).lists(self.labels, threshold)
        answers = [Prediction(tuple(n), tuple(p)) for n, p in zip(labels, values, strict=True)]
        return answers[0] if isinstance(texts, str) else answers

    def evaluate(
        self,
        data: str | Path | Sequence[str],
        labels: Sequence[str] | None = None,
        *,
        split: str = "test",
    ) -> Scores:
        """Score the model on a data SPEC's split, or on texts with their ``labels``.

        Raises:
            DataError: the data cannot be read, or there is none.
        """
        if not isinstance(data, str | Path):
            return self.evaluate_batches(labelled_table("evaluate", data, labels).to_batches())
        refuse_labels("evaluate", data, labels)
        config = DataConfig.model_validate(self.config.data.model_dump() | {"source": str(data)})
        return self.evaluate_batches(open_source(config).scan(split))

    def evaluate_batches(self, batches: Iterable[pa.RecordBatch] | Batches) -> Scores:
        """Score the model on batches of ``text`` and ``label``, in constant memory for the texts.

        Raises:
            DataError: there are no rows.
        """
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

    def id_weights(self, bags: Ragged) -> F32 | None:
        """Return the weight of every id, [N], or None where the model has no term weighting."""
        idf = self.artifact.tensors.get("idf")
        return None if idf is None else tfidf_weights(bags, idf)

    def _chunk_logits(self, texts: pa.StringArray) -> F32:
        return self._forward(self.encoder.encode_chunk(texts))

    def _cpu_forward(self, bags: Ragged) -> F32:
        tensors = self.artifact.tensors
        logits: F32 = self._vectors(bags) @ tensors["weight"].T + tensors["bias"]
        return logits

    def _vectors(self, bags: Ragged) -> F32:
        """Sum up bags, [B, D]: in compiled code where it is loaded, else in NumPy."""
        tensors, model = self.artifact.tensors, self.config.model
        table, scale, idf = (tensors.get(name) for name in ("table", "scale", "idf"))
        assert table is not None
        if KERNELS not in sys.modules:
            weights = self.id_weights(bags)
            return bag_vectors(table, bags, model.mode, weights, model.padding_idx, scale)
        from fasttext_app.kernels import NO_F32, sum_bags

        return sum_bags(
            table,
            NO_F32 if scale is None else scale,
            bags.indices,
            bags.offsets,
            NO_F32 if idf is None else idf,
            MODES.index(model.mode),
            -1 if model.padding_idx is None else model.padding_idx,
        )


def labelled_table(job: str, texts: Sequence[str], labels: Sequence[str] | None) -> pa.Table:
    """Make a table of ``text`` and ``label`` out of what was given in Python.

    Raises:
        DataError: there is not one label for each text, or they are not strings.
    """
    if labels is None or len(labels) != len(texts):
        raise DataError(f"{job}: there must be one label for each text")
    try:
        columns = {"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())}
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise DataError(f"{job}: texts and labels must be strings: {error}") from None
    if any(column.null_count for column in columns.values()):
        raise DataError(f"{job}: a text or a label is None")
    return pa.table(columns)


def refuse_labels(job: str, spec: object, labels: Sequence[str] | None) -> None:
    """Refuse labels beside a data SPEC, which has its own."""
    if labels is not None:
        raise DataError(f"{job}: labels go with texts; {spec} has its own")


def bag_vectors(
    table: F32,
    bags: Ragged,
    mode: str = "mean",
    weights: F32 | None = None,
    padding_idx: int | None = None,
    scale: F32 | None = None,
) -> F32:
    """Do in NumPy what ``nn.EmbeddingBag`` does: one vector a bag, [B, D]; zero for an empty bag.

    Args:
        table: [V, D].
        bags: B bags of row ids.
        mode: ``mean``, ``sum`` or ``max``.
        weights: the weight of each id, [N]; ``sum`` only.
        padding_idx: ids to leave out.
        scale: what the numbers of a row are multiplied by, [V]; for a table of whole numbers.
    """
    if padding_idx is not None:
        kept = bags.indices != padding_idx
        weights = None if weights is None else weights[kept]
        bags = bags.where(kept)
    vectors = np.zeros((len(bags), table.shape[1]), dtype=np.float32)
    full = np.flatnonzero(bags.lengths)
    if not len(full):
        return vectors
    gathered = table[bags.indices].astype(np.float32, copy=False)
    if scale is not None:
        gathered *= scale[bags.indices, None]
    if weights is not None:
        gathered *= weights[:, None]
    reduce = np.maximum if mode == "max" else np.add
    vectors[full] = reduce.reduceat(gathered, bags.offsets[:-1][full], axis=0)
    if mode == "mean":
        vectors[full] /= bags.lengths[full, None]
    return vectors


def probabilities(logits: F32, loss: str) -> npt.NDArray[np.float64]:
    """Turn logits [B, C] into probabilities: a softmax, or a sigmoid for each class (``ova``)."""
    wide = logits.astype(np.float64)
    if loss == "ova":
        return np.exp(-np.logaddexp(0, -wide))
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True))
    proba: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return proba


def _torch_forward(artifact: Artifact, device_name: str) -> Callable[[Ragged], F32]:
    """Return the same forward pass on a torch device."""
    import torch

    from fasttext_app.device import resolve_device
    from fasttext_app.model import FastTextClassifier

    device = resolve_device(device_name)
    rows = len(artifact.tensors["table"])
    config = artifact.config.model.model_copy(update={"include_last_offset": True})
    model = FastTextClassifier.from_config(config, rows, len(artifact.labels))
    table, scale = artifact.tensors["table"], artifact.tensors.get("scale")
    if scale is not None:
        table = table * scale[:, None]
    model.load_tensors(artifact.tensors | {"table": table})
    model.to(device).eval()
    idf = artifact.tensors.get("idf")

    def place(array: npt.NDArray[Any] | None) -> torch.Tensor | None:
        return None if array is None else torch.from_numpy(array).to(device)

    @torch.inference_mode()
    def forward(bags: Ragged) -> F32:
        weights = None if idf is None else tfidf_weights(bags, idf)
        offsets = bags.offsets.astype(bags.indices.dtype)
        logits: F32 = model(place(bags.indices), place(offsets), place(weights)).cpu().numpy()
        return logits

    return forward
