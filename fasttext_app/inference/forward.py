"""The forward pass, from bags of row ids to logits: in NumPy, in compiled code, or with torch.

Only the last one needs torch; tests check that the other two agree with it.

Shapes: **B** texts, **N** ids, **V** table rows, **D** embedding dim, **C** classes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttext_app.core import jit
from fasttext_app.core.arrays import F32, F64, Array, constant
from fasttext_app.core.matmul import matmul
from fasttext_app.core.ragged import Ragged
from fasttext_app.model.adaptive_softmax import log_probabilities
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.heads import Head, SoftmaxHead
from fasttext_app.model.product_quantizer import Coded, dense
from fasttext_app.model.tensor_file import CACHE_LINE
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tfidf import tfidf_weights

if TYPE_CHECKING:
    import torch

    from fasttext_app.core.packing import Packed


MODES = ("sum", "mean", "max")  # in the order of kernels.SUM, MEAN, MAX
MAX_DECODED_BYTES = 1 << 28
"""Size up to which a table in product codes is decoded as a whole; of a larger one, the rows of
some texts at a time."""


class CpuForward:
    """The forward pass on the CPU, without torch: bags in, logits out.

    The logits of a bag are bit-identical alone and in any batch, in NumPy and in compiled code.

    Args:
        artifact: a model; its table may be quantized.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._tensors, self._model = artifact.tensors, artifact.config.model
        self._table, self._to_logits = artifact.table, artifact.head().logits
        self._matrix: F32 | None = None  # of the linear layer, [D, C]
        if artifact.is_linear:
            self._matrix = constant(np.ascontiguousarray(dense(artifact.weight).T))
        else:  # transposing them for the product then copies nothing
            self._tensors = {
                name: np.asfortranarray(tensor)
                if name == "head.weight" or name.startswith("tail.")
                else tensor
                for name, tensor in self._tensors.items()
            }
        self._lock = threading.Lock()
        self._aligned: Array | None = None

    def __call__(self, bags: Ragged) -> F32:
        """Return the logits of bags, [B, C]."""
        return self._to_logits(self._outputs(self.vectors(bags)))

    def _outputs(self, vectors: F32) -> F32:
        """Return the outputs of the output layer for ``vectors`` [B, D]."""
        if self._matrix is None:
            return log_probabilities(vectors, self._tensors)
        outputs: F32 = matmul(vectors, self._matrix) + self._tensors["bias"]
        return outputs

    @property
    def _stays_in_codes(self) -> bool:
        return isinstance(self._table, Coded) and self._table.dense_nbytes > MAX_DECODED_BYTES

    def vectors(self, bags: Ragged) -> F32:
        """Return one vector a bag, [B, D]."""
        tensors, mode, padding = self._tensors, self._model.mode, self._model.padding_idx
        scale, idf = tensors.get("scale"), tensors.get("idf")
        if not jit.enabled():  # a text or two: the table stays in its file
            return bag_vectors(self._table, bags, mode, idf, padding, scale)
        from fasttext_app.inference.kernels import sum_bags

        if not self._stays_in_codes:
            arguments = self._kernel_arguments
            return sum_bags(bags.indices.astype(np.int32, copy=False), bags.offsets, *arguments)
        assert isinstance(self._table, Coded)
        rows, ids = np.unique(bags.indices, return_inverse=True)
        if padding is not None:
            padding = int(rows.searchsorted(padding)) if padding in rows else None
        idf = None if idf is None else idf[rows]
        arguments = self._arguments(self._table[rows], scale, idf, padding)
        return sum_bags(ids.astype(np.int32), bags.offsets, *arguments)

    @cached_property
    def _kernel_arguments(self) -> tuple[Any, ...]:
        """The arguments of ``kernels.sum_bags`` after the bags."""
        tensors = self._tensors
        return self._arguments(
            self._aligned_table(), tensors.get("scale"), tensors.get("idf"), self._model.padding_idx
        )

    def _arguments(
        self, table: Array, scale: F32 | None, idf: F32 | None, padding: int | None
    ) -> tuple[Any, ...]:
        from fasttext_app.inference.kernels import NO_F32

        return (
            constant(table),
            NO_F32 if scale is None else constant(scale),
            NO_F32 if idf is None else constant(idf),
            MODES.index(self._model.mode),
            -1 if padding is None else padding,
        )

    def of_text(self, encoder: TextEncoder, head: Head) -> TextForward | None:
        """Return what scores one text in one compiled call; None if nothing does."""
        if self._matrix is None or encoder.tokenizer.rules is None or self._stays_in_codes:
            return None
        table, *bags = self._kernel_arguments
        return TextForward(encoder, head, table, bags, self._matrix, self._tensors["bias"])

    def _aligned_table(self) -> Array:
        """Return the table at a cache line: as it lies in the file of a model, or a copy."""
        with self._lock:
            if self._aligned is None:
                table = dense(self._table)
                if table.ctypes.data % CACHE_LINE:
                    space = np.empty(table.nbytes + CACHE_LINE, np.uint8)
                    start = -space.ctypes.data % CACHE_LINE
                    whole = space[start : start + table.nbytes]
                    copy = whole.view(table.dtype).reshape(table.shape)
                    copy[:] = table
                    table = copy
                self._aligned = np.ascontiguousarray(table)
            return self._aligned


class TextForward:
    """The forward pass of one text in one compiled call: with the bits of any other way.

    Args:
        encoder: the encoder of the model.
        head: what turns its outputs into probabilities.
        table: its table, [V, D].
        bags: the arguments of ``kernels.sum_bags`` after the table.
        matrix: the weights of its linear layer, [D, C].
        bias: the biases, [C].
    """

    def __init__(
        self, encoder: TextEncoder, head: Head, table: Array, bags: Any, matrix: F32, bias: F32
    ) -> None:
        from fasttext_app.inference import kernels

        self._head, self._table = head, table
        arguments = encoder.kernel_arguments(), bags, matrix, bias
        self._packed = kernels.pack_model(*arguments, relative=False)
        self._outputs, self._text_outputs = len(bias), kernels.text_outputs
        self.best: Callable[[bytes], tuple[int, float, int, int]] = self._best
        """Returns the best class of a text, its probability, and the counts of :meth:`logits`."""
        if isinstance(head, SoftmaxHead):
            is_few = len(bias) <= kernels.FEW_TERMS
            add: Callable[[F64], float] = kernels.sum_like_numpy if is_few else np.add.reduce
            self.best = self._best_by_softmax(kernels.pack_model(*arguments, relative=True), add)

    def logits(self, text: bytes) -> tuple[F32, int, int]:
        """Return the logits of a text, [1, C], the number of its rows, and that of its features.

        Args:
            text: the bytes of the text, from ``Tokenizer.text_bytes``.
        """
        outputs = np.empty(self._outputs)
        _, rows, features = self._text_outputs(text, self._table, self._packed.numbers, outputs)
        return self._head.logits(outputs.astype(np.float32)[None]), rows, features

    def _best(self, text: bytes) -> tuple[int, float, int, int]:
        outputs = np.empty(self._outputs)
        best, rows, features = self._text_outputs(text, self._table, self._packed.numbers, outputs)
        return *self._head.best_of_outputs(best, outputs), rows, features

    def _best_by_softmax(
        self, packed: Packed, add: Callable[[F64], float]
    ) -> Callable[[bytes], tuple[int, float, int, int]]:
        """Return :attr:`best` for a softmax over the classes, in as few steps as can be.

        Args:
            packed: the model, with outputs relative to the largest one.
            add: returns the sum of C terms as ``np.add.reduce`` does.
        """
        text_outputs, table, exp = self._text_outputs, self._table, np.exp
        floor, slow = self._head.floor, self._best
        buffers: list[F64] = []  # of the calls that have ended

        def best(text: bytes) -> tuple[int, float, int, int]:
            try:
                terms = buffers.pop()
            except IndexError:  # as many calls as there are buffers go on in other threads
                terms = np.empty(self._outputs)
            index, rows, features = text_outputs(text, table, packed.numbers, terms)
            total = add(exp(terms, terms))
            buffers.append(terms)
            if not total >= 1:  # an output is not a number
                return slow(text)
            probability = 1 / total + floor
            return index, probability if probability < 1 else 1.0, rows, features

        return best


def bag_vectors(
    table: Array | Coded,
    bags: Ragged,
    mode: str = "mean",
    idf: F32 | None = None,
    padding_idx: int | None = None,
    scale: F32 | None = None,
) -> F32:
    """Return one vector a bag, [B, D], as ``nn.EmbeddingBag`` does; zero for an empty bag.

    The reference implementation of ``kernels.sum_bags``: same operations, same order, same bits.

    Args:
        table: [V, D].
        bags: B bags of row ids.
        mode: ``mean``, ``sum`` or ``max``.
        idf: weight of every row, [V]; the weights of a bag are scaled to a sum of 1. ``sum`` only.
        padding_idx: the row to leave out; its weight still counts in the sum of weights.
        scale: factor of every row, [V], for a table of integers.
    """
    reduce = np.maximum if mode == "max" else np.add
    vectors = np.zeros((len(bags), table.shape[1]), np.float32)
    for bag, (start, end) in enumerate(pairwise(bags.offsets.tolist())):
        ids = bags.indices[start:end]
        weights = None if idf is None else idf[ids]
        # accumulate() adds in order; sum() adds in pairs.
        total = np.float32(1) if weights is None else np.add.accumulate(weights)[-1:]
        if padding_idx is not None:
            is_real = ids != padding_idx
            ids, weights = ids[is_real], None if weights is None else weights[is_real]
        if not len(ids):
            continue
        rows = table_rows(table, ids)
        if scale is not None:
            weights = scale[ids] if weights is None else weights * scale[ids]
        if weights is not None:
            rows = rows * weights[:, None]
        # Along rows, reduce() goes in order too, unless they are so narrow that it sees one run.
        summed = reduce.reduce(rows) if rows.shape[1] > 1 else reduce.accumulate(rows)[-1]
        if idf is None and mode == "mean":
            total = np.float32(len(ids))
        vectors[bag] = summed * (np.float32(1) / total)
    return vectors


def table_rows(table: Array | Coded, rows: Array | slice, scale: F32 | None = None) -> F32:
    """Return some rows of a table as 32-bit floats, [rows, D], from floats, integers or codes."""
    if isinstance(table, np.ndarray) and isinstance(rows, np.ndarray):
        found = table.take(rows, axis=0).astype(np.float32, copy=False)  # faster than an index
    else:
        found = table[rows].astype(np.float32, copy=False)
    if scale is not None:
        found *= scale[rows, None]
    return found


def forward_on(artifact: Artifact, device: str) -> Callable[[Ragged], F32]:
    """Return the forward pass for a device: ``cpu``, or a device of torch.

    Raises:
        DeviceError: the device is not available.
    """
    return CpuForward(artifact) if device == "cpu" else torch_forward(artifact, device)


def torch_forward(artifact: Artifact, device_name: str) -> Callable[[Ragged], F32]:
    """Return the forward pass on a device of torch.

    Raises:
        DeviceError: the device is not available.
    """
    import torch

    from fasttext_app.core.device import resolve_device
    from fasttext_app.model.classifier import FastTextClassifier

    device = resolve_device(device_name)
    rows = len(artifact.table)
    update = {"include_last_offset": True, "dim": artifact.dim}
    config = artifact.config.model.model_copy(update=update)
    model = FastTextClassifier.from_config(config, rows, len(artifact.labels))
    table, scale = dense(artifact.table), artifact.tensors.get("scale")
    if scale is not None:
        table = table * scale[:, None]
    matrices = {"table": np.require(table, requirements="W")}
    if artifact.is_linear:
        matrices["weight"] = dense(artifact.weight)
    model.load_tensors(artifact.tensors | matrices)
    model.to(device).eval()
    idf, scores = artifact.tensors.get("idf"), artifact.head().logits

    def place(array: Array | None) -> torch.Tensor | None:
        return None if array is None else torch.from_numpy(array).to(device)

    @torch.inference_mode()
    def forward(bags: Ragged) -> F32:
        weights = None if idf is None else tfidf_weights(bags, idf)
        offsets = bags.offsets.astype(bags.indices.dtype)
        outputs: F32 = model(place(bags.indices), place(offsets), place(weights)).cpu().numpy()
        return scores(outputs)

    return forward
