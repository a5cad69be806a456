"""The ONNX graph of a model: row ids and offsets in, logits and probabilities out.

The graph is built node by node, not traced. It is small, and so its nodes can be chosen: a table
stays in 8-bit integers or product codes, and idf weights are looked up in the graph, so that a
caller passes ids only. A tracer would see none of this. It would need torch, and its older form
(``torch.onnx.export(dynamo=False)``) silently gets an EmbeddingBag wrong.

    ids      [N]      int64    rows of the table, as ``TextEncoder`` returns them
    offsets  [B + 1]  int64    where each text begins, and the end of the last one
    logits, probabilities  [B, C]  float32

Bags are summed with ScatterElements, which ONNX Runtime runs in the order of the ids, so that sums
have the bits of our own. (ScatterND runs in parallel there and loses ids that share a bag.)

Shapes: **N** ids, **B** texts, **V** table rows, **D** embedding dim, **C** classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttext_app._version import __version__
from fasttext_app.core.arrays import Array
from fasttext_app.errors import ConfigError
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.heads import (
    AdaptiveHead,
    Head,
    HuffmanHead,
    SigmoidHead,
    SoftmaxHead,
)
from fasttext_app.model.product_quantizer import Coded, dense

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
"""The first one with a maximum in ScatterElements; ONNX Runtime has it since 1.14."""
IR_VERSION = 8
"""The version of the file format that came with it; newer ones would refuse older runtimes."""
MAX_BYTES = 2**31 - 2**20
"""The limit of a protobuf message, less room for the nodes."""


def build_graph(artifact: Artifact) -> ModelProto:
    """Return the graph of a model.

    Raises:
        ConfigError: the model is too large for a file.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    vectors = graph.named("vectors", _bags(graph, artifact))
    head = artifact.head()
    logits = graph.named("logits", _logits(graph, artifact, head, vectors))
    graph.named("probabilities", _probabilities(graph, head, logits))
    describe, classes = helper.make_tensor_value_info, len(artifact.labels)
    inputs = [
        describe("ids", TensorProto.INT64, ["ids"]),
        describe("offsets", TensorProto.INT64, ["texts + 1"]),
    ]
    outputs = [
        describe(name, TensorProto.FLOAT, ["texts", classes])
        for name in ("probabilities", "logits")
    ]
    body = helper.make_graph(graph.nodes, "fasttext_app", inputs, outputs, graph.constants)
    model: ModelProto = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fasttext_app",
        producer_version=__version__,
    )
    return model


class _Graph:
    """Nodes and constants, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._bytes = 0

    def add(self, op: str, *inputs: str | Array, **attributes: Any) -> str:
        """Add a node; return the name of its output. An input is a name, or a constant."""
        from onnx import helper

        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [output], **attributes))
        return output

    def full(self, shape: str, value: Array) -> str:
        """Add a tensor of the shape that ``shape`` holds, filled with ``value`` [1]."""
        from onnx import numpy_helper

        return self.add("ConstantOfShape", shape, value=numpy_helper.from_array(value))

    def named(self, name: str, tensor: str) -> str:
        """Give a tensor the name of an output."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        return name

    def _constant(self, value: Array) -> str:
        from onnx import numpy_helper

        self._bytes += value.nbytes
        if self._bytes > MAX_BYTES:
            raise ConfigError(
                "the model is too large for an ONNX file, which holds up to 2 GB; make it smaller "
                "with `fasttext-app quantize`"
            )
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _int(*values: int) -> Array:
    return np.array(values, np.int64)


def _float(value: float) -> Array:
    return np.array(value, np.float32)


# --- from ids to one vector a text


def _bags(graph: _Graph, artifact: Artifact) -> str:
    """Add the vectors of the texts, [B, D]; the reference is ``inference.forward.bag_vectors``."""
    model, tensors = artifact.config.model, artifact.tensors
    idf, scale, ids = tensors.get("idf"), tensors.get("scale"), "ids"
    bag_ids, bags = _bag_ids(graph)
    weights = total = None
    if idf is not None:
        weights = graph.add("Gather", idf[:, None], ids)  # [N, 1]
        total = _scatter(graph, weights, bag_ids, bags, 1)  # counts the padding row too
    if model.padding_idx is not None:
        keep = graph.add("Not", graph.add("Equal", ids, _int(model.padding_idx)))
        ids, bag_ids = (graph.add("Compress", name, keep, axis=0) for name in (ids, bag_ids))
        weights = weights and graph.add("Compress", weights, keep, axis=0)
    rows = _rows(graph, artifact.table, ids)
    if scale is not None:
        scales = graph.add("Gather", scale[:, None], ids)
        weights = scales if weights is None else graph.add("Mul", weights, scales)
    if weights is not None:
        rows = graph.add("Mul", rows, weights)
    if model.mode == "max":
        largest = _scatter(graph, rows, bag_ids, bags, artifact.dim, reduction="max")
        return graph.add("Where", graph.add("IsInf", largest), _float(0), largest)
    summed = _scatter(graph, rows, bag_ids, bags, artifact.dim)
    if model.mode == "mean":
        ones = graph.full(graph.add("Shape", graph.add("Unsqueeze", ids, _int(1))), _float(1)[None])
        total = _scatter(graph, ones, bag_ids, bags, 1)
    if total is None:
        return summed
    is_empty = graph.add("Equal", total, _float(0))
    divisor = graph.add("Where", is_empty, _float(1), total)
    return graph.add("Mul", summed, graph.add("Reciprocal", divisor))


def _bag_ids(graph: _Graph) -> tuple[str, str]:
    """Add the text of each id, [N], and the number of texts, [1].

    The offsets of all texts but the first are marked with ones, which are then added up:

        offsets 0 2 2 3  ─►  ones at 2 and 2  ─►  0 0 2  ─►  texts 0 0 2 of the ids
    """
    count = graph.add("Shape", "ids")
    starts = graph.add("Slice", "offsets", _int(1), _int(-1))
    marks = graph.add(
        "ScatterElements",
        graph.full(graph.add("Add", count, _int(1)), _int(0)),  # an offset may be the end
        starts,
        graph.full(graph.add("Shape", starts), _int(1)),
        reduction="add",
    )
    sums = graph.add("CumSum", marks, np.array(0, np.int64))
    bags = graph.add("Sub", graph.add("Shape", "offsets"), _int(1))
    return graph.add("Slice", sums, _int(0), count), bags


def _scatter(
    graph: _Graph, rows: str, bag_ids: str, bags: str, dim: int, reduction: str = "add"
) -> str:
    """Add the sum, or the maximum, of the rows [N, dim] of each text, [B, dim].

    Without a row, it is 0 or negative infinity.
    """
    start = np.array([-np.inf if reduction == "max" else 0], np.float32)
    zeros = graph.full(graph.add("Concat", bags, _int(dim), axis=0), start)
    column = graph.add("Unsqueeze", bag_ids, _int(1))
    indices = graph.add("Expand", column, graph.add("Shape", rows))
    return graph.add("ScatterElements", zeros, indices, rows, axis=0, reduction=reduction)


def _rows(graph: _Graph, table: Array | Coded, ids: str) -> str:
    """Add the rows of the table, [N, D], decoded but not yet scaled."""
    from onnx import TensorProto

    if not isinstance(table, Coded):
        rows = graph.add("Gather", table, ids)
        return rows if table.dtype == np.float32 else graph.add("Cast", rows, to=TensorProto.FLOAT)
    centroids = table.quantizer.centroids  # [parts, 256, width]
    parts, codes, width = centroids.shape
    chosen = graph.add("Cast", graph.add("Gather", table.codes, ids), to=TensorProto.INT64)
    first = np.arange(parts, dtype=np.int64)[None] * codes  # of each part
    values = graph.add(
        "Gather", centroids.reshape(parts * codes, width), graph.add("Add", chosen, first)
    )
    rows = graph.add("Reshape", values, _int(-1, parts * width))
    if parts * width > table.shape[1]:  # the last part is padded
        rows = graph.add("Slice", rows, _int(0), _int(table.shape[1]), _int(1))
    if table.norm_codes is None or table.norm_centroids is None:
        return rows
    norm_codes = graph.add("Cast", graph.add("Gather", table.norm_codes, ids), to=TensorProto.INT64)
    return graph.add("Mul", rows, graph.add("Gather", table.norm_centroids[:, None], norm_codes))


# --- from vectors to logits and probabilities


def _logits(graph: _Graph, artifact: Artifact, head: Head, vectors: str) -> str:
    """Add the logits, [B, C]: for ``hs`` and ``adaptive``, log-probabilities."""
    tensors = artifact.tensors
    if isinstance(head, AdaptiveHead):
        return graph.add("Gather", _adaptive(graph, artifact, vectors), head.rank, axis=1)
    outputs = graph.add("Gemm", vectors, dense(artifact.weight), tensors["bias"], transB=1)
    return _huffman(graph, head, outputs) if isinstance(head, HuffmanHead) else outputs


def _adaptive(graph: _Graph, artifact: Artifact, vectors: str) -> str:
    """Add the log-probabilities of the classes by rank; see ``model/adaptive_softmax.py``."""
    tensors, cutoffs = artifact.tensors, artifact.config.model.cutoffs
    assert cutoffs is not None
    outputs = graph.add("Gemm", vectors, tensors["head.weight"], tensors["head.bias"], transB=1)
    head = graph.add("LogSoftmax", outputs, axis=1)
    frequent = cutoffs[0]
    parts = [graph.add("Slice", head, _int(0), _int(frequent), _int(1))]
    for cluster in range(len(cutoffs)):
        down, up = (tensors[f"tail.{cluster}.{step}.weight"] for step in (0, 1))
        tail = graph.add("MatMul", graph.add("MatMul", vectors, down.T), up.T)
        of_cluster = graph.add("Gather", head, _int(frequent + cluster), axis=1)
        parts.append(graph.add("Add", graph.add("LogSoftmax", tail, axis=1), of_cluster))
    return graph.add("Concat", *parts, axis=1)


def _huffman(graph: _Graph, head: HuffmanHead, outputs: str) -> str:
    """Add the log-probabilities of the classes: the sums over their paths down the tree."""
    nodes, codes = head.tree.paths()  # [C, depth]; a code of 0 is past the end of a path
    branches = graph.add("Mul", graph.add("Gather", outputs, nodes, axis=1), codes)
    # Not Sigmoid, whose error in ONNX Runtime is as large for tiny probabilities as for large ones.
    log_probs = graph.add("Neg", graph.add("Softplus", graph.add("Neg", branches)))
    if head.floor:
        shifted = graph.add("Add", graph.add("Exp", log_probs), _float(head.floor))
        log_probs = graph.add("Log", shifted)
    on_path = graph.add("Mul", log_probs, np.abs(codes))
    return graph.add("ReduceSum", on_path, _int(2), keepdims=0)


def _probabilities(graph: _Graph, head: Head, logits: str) -> str:
    """Add the probabilities, [B, C]; none is above 1."""
    if isinstance(head, SoftmaxHead):
        proba = graph.add("Softmax", logits, axis=1)
    elif not isinstance(head, SigmoidHead):
        return graph.add("Min", graph.add("Exp", logits), _float(1))
    elif head.as_fasttext:
        proba = _fasttext_sigmoid(graph, logits)
    else:
        return graph.add("Sigmoid", logits)
    if not head.floor:
        return proba
    return graph.add("Min", graph.add("Add", proba, _float(head.floor)), _float(1))


def _fasttext_sigmoid(graph: _Graph, logits: str) -> str:
    """Add the sigmoid by the original's table; see ``heads.fasttext_sigmoid``."""
    clipped = graph.add("Clip", logits, _float(-8), _float(8))
    cells = graph.add("Floor", graph.add("Mul", graph.add("Add", clipped, _float(8)), _float(32)))
    left_edge = graph.add("Sub", graph.add("Div", cells, _float(32)), _float(8))
    is_above = graph.add("Greater", logits, _float(8))
    inside = graph.add("Where", is_above, _float(1), graph.add("Sigmoid", left_edge))
    return graph.add("Where", graph.add("Less", logits, _float(-8)), _float(0), inside)
