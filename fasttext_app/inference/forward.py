"""From bags of row ids to logits and probabilities: in NumPy, in compiled code, or by torch.

Shapes: **B** texts, **N** ids, **V** table rows, **D** embedding dim, **C** classes. The first two
need no torch and are held equal to it by tests.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fasttext_app.core.arrays import F32, Array
from fasttext_app.core.ragged import Ragged
from fasttext_app.model.adaptive_softmax import log_probabilities
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.heads import SIGMOIDS, class_scores_of
from fasttext_app.model.product_quantizer import Coded, dense
from fasttext_app.text.encoder import KERNELS
from fasttext_app.text.tfidf import tfidf_weights

if TYPE_CHECKING:
    import torch


MODES = ("sum", "mean", "max")  # in the order of kernels.SUM, MEAN, MAX
CACHE_LINE = 64


class CpuForward:
    """Bags in, logits out, without torch: in compiled code where it is loaded, else in NumPy.

    Args:
        artifact: the table may be of whole numbers, with a ``scale`` for each row.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._tensors, self._model = artifact.tensors, artifact.config.model
        self._table, self._scores = artifact.table, class_scores_of(artifact)
        self._weight = dense(artifact.weight) if artifact.is_linear else None
        # A cell of the original's sigmoid is wide: for the same cell the sum must be the same, so
        # its terms are added in the same order.
        self._in_turn = self._model.probabilities == "fasttext" and self._model.loss in SIGMOIDS
        self._lock = threading.Lock()
        self._aligned: Array | None = None

    def __call__(self, bags: Ragged) -> F32:
        """Return the logits of bags, [B, C]."""
        return self._scores(self._outputs(self._vectors(bags)))

    def _outputs(self, vectors: F32) -> F32:
        """Take vectors [B, D] through the layer on top."""
        weight = self._weight
        if weight is None:
            return log_probabilities(vectors, self._tensors)
        if self._in_turn:
            outputs = np.zeros((len(vectors), len(weight)), np.float32)
            for d in range(weight.shape[1]):
                outputs += vectors[:, d, None] * weight[None, :, d]
        else:
            outputs = vectors @ weight.T
        summed: F32 = outputs + self._tensors["bias"]
        return summed

    def _vectors(self, bags: Ragged) -> F32:
        """Sum up bags, [B, D]."""
        tensors, mode, padding = self._tensors, self._model.mode, self._model.padding_idx
        scale, idf = tensors.get("scale"), tensors.get("idf")
        if KERNELS not in sys.modules:  # a text or two: the table stays where it is, in its file
            weights = None if idf is None else tfidf_weights(bags, idf)
            return bag_vectors(self._table, bags, mode, weights, padding, scale)
        from fasttext_app.inference.kernels import NO_F32, sum_bags

        return sum_bags(
            self._aligned_table(),
            NO_F32 if scale is None else scale,
            bags.indices,
            bags.offsets,
            NO_F32 if idf is None else idf,
            MODES.index(mode),
            -1 if padding is None else padding,
        )

    def _aligned_table(self) -> Array:
        """Return the table in memory, its rows no more cache lines apart than they need be."""
        with self._lock:
            if self._aligned is None:
                table = dense(self._table)
                space = np.empty(table.nbytes + CACHE_LINE, np.uint8)
                start = -space.ctypes.data % CACHE_LINE
                whole = space[start : start + table.nbytes]
                self._aligned = whole.view(table.dtype).reshape(table.shape)
                self._aligned[:] = table
            return self._aligned


def bag_vectors(
    table: F32 | Coded,
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
        bags = bags.filter_ids(kept)
    gathered = table_rows(table, bags.indices, scale)
    if weights is not None:
        gathered *= weights[:, None]
    reduce = np.maximum if mode == "max" else np.add
    if len(bags) == 1 and len(gathered):
        whole: F32 = reduce.reduce(gathered, axis=0, keepdims=True)
        return whole / np.float32(len(gathered)) if mode == "mean" else whole
    vectors = np.zeros((len(bags), table.shape[1]), dtype=np.float32)
    full = np.flatnonzero(bags.lengths)
    if not len(full):
        return vectors
    vectors[full] = reduce.reduceat(gathered, bags.offsets[:-1][full], axis=0)
    if mode == "mean":
        vectors[full] /= bags.lengths[full, None]
    return vectors


def table_rows(table: Array | Coded, rows: Array | slice, scale: F32 | None = None) -> F32:
    """Return some rows of a table as 32-bit floats, [rows, D], whatever it is made of."""
    if isinstance(table, np.ndarray) and isinstance(rows, np.ndarray):
        found = table.take(rows, axis=0).astype(np.float32, copy=False)  # faster than an index
    else:
        found = table[rows].astype(np.float32, copy=False)
    if scale is not None:
        found *= scale[rows, None]
    return found


def forward_on(artifact: Artifact, device: str) -> Callable[[Ragged], F32]:
    """Return the forward pass for a device, ``cpu`` or one of torch's.

    Raises:
        DeviceError: the device is not there.
    """
    return CpuForward(artifact) if device == "cpu" else torch_forward(artifact, device)


def torch_forward(artifact: Artifact, device_name: str) -> Callable[[Ragged], F32]:
    """Return the same forward pass on a torch device.

    Raises:
        DeviceError: the device is not there.
    """
    import torch

    from fasttext_app.core.device import resolve_device
    from fasttext_app.model.classifier import FastTextClassifier

    device = resolve_device(device_name)
    rows = len(artifact.table)
    config = artifact.config.model.model_copy(update={"include_last_offset": True})
    model = FastTextClassifier.from_config(config, rows, len(artifact.labels))
    table, scale = dense(artifact.table), artifact.tensors.get("scale")
    if scale is not None:
        table = table * scale[:, None]
    matrices = {"table": np.require(table, requirements="W")}
    if artifact.is_linear:
        matrices["weight"] = dense(artifact.weight)
    model.load_tensors(artifact.tensors | matrices)
    model.to(device).eval()
    idf, scores = artifact.tensors.get("idf"), class_scores_of(artifact)

    def place(array: Array | None) -> torch.Tensor | None:
        return None if array is None else torch.from_numpy(array).to(device)

    @torch.inference_mode()
    def forward(bags: Ragged) -> F32:
        weights = None if idf is None else tfidf_weights(bags, idf)
        offsets = bags.offsets.astype(bags.indices.dtype)
        outputs: F32 = model(place(bags.indices), place(offsets), place(weights)).cpu().numpy()
        return scores(outputs)

    return forward
