"""From bags of row ids to logits and probabilities: in NumPy, in compiled code, or by torch.

Shapes: **B** texts, **N** ids, **V** table rows, **D** embedding dim, **C** classes. The first two
need no torch and are held equal to it by tests.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fasttext_app.artifact import Artifact
from fasttext_app.text.encoder import KERNELS
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.weighting import tfidf_weights

if TYPE_CHECKING:
    import torch

__all__ = ["CpuForward", "bag_vectors", "probabilities", "torch_forward"]

F32 = npt.NDArray[np.float32]
MODES = ("sum", "mean", "max")  # in the order of kernels.SUM, MEAN, MAX
CACHE_LINE = 64


class CpuForward:
    """Bags in, logits out, without torch: in compiled code where it is loaded, else in NumPy.

    Args:
        artifact: the table may be of whole numbers, with a ``scale`` for each row.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._tensors, self._model = artifact.tensors, artifact.config.model
        self._lock = threading.Lock()
        self._aligned: npt.NDArray[Any] | None = None

    def __call__(self, bags: Ragged) -> F32:
        """Return the logits of bags, [B, C]."""
        logits: F32 = self._vectors(bags) @ self._tensors["weight"].T + self._tensors["bias"]
        return logits

    def _vectors(self, bags: Ragged) -> F32:
        """Sum up bags, [B, D]."""
        tensors, mode, padding = self._tensors, self._model.mode, self._model.padding_idx
        scale, idf = tensors.get("scale"), tensors.get("idf")
        if KERNELS not in sys.modules:  # a text or two: the table stays where it is, in its file
            weights = None if idf is None else tfidf_weights(bags, idf)
            return bag_vectors(tensors["table"], bags, mode, weights, padding, scale)
        from fasttext_app.kernels import NO_F32, sum_bags

        return sum_bags(
            self._aligned_table(),
            NO_F32 if scale is None else scale,
            bags.indices,
            bags.offsets,
            NO_F32 if idf is None else idf,
            MODES.index(mode),
            -1 if padding is None else padding,
        )

    def _aligned_table(self) -> npt.NDArray[Any]:
        """Return the table in memory, its rows no more cache lines apart than they need be."""
        with self._lock:
            if self._aligned is None:
                table = self._tensors["table"]
                space = np.empty(table.nbytes + CACHE_LINE, np.uint8)
                start = -space.ctypes.data % CACHE_LINE
                whole = space[start : start + table.nbytes]
                self._aligned = whole.view(table.dtype).reshape(table.shape)
                self._aligned[:] = table
            return self._aligned


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


def torch_forward(artifact: Artifact, device_name: str) -> Callable[[Ragged], F32]:
    """Return the same forward pass on a torch device.

    Raises:
        DeviceError: the device is not there.
    """
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
    model.load_tensors(artifact.tensors | {"table": np.require(table, requirements="W")})
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
