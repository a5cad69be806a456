"""Tensors in a safetensors file: written so that a mapped table needs no copy, and checked.

The table comes first, and begins at a cache line: the format allows padding in its header. So a
process reads its rows where they lie in the file, and all processes on a machine share one copy in
memory. A file is replaced by renaming another, so that a mapping keeps the old one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fasttext_app.core.arrays import Array

CACHE_LINE = 64
MAX_WEIGHT = 1e15
"""The largest weight, by magnitude; products and sums of such weights stay finite in 32 bits."""
BLOCK = 1 << 16  # weights that are checked at a time, in the processor's cache

TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}

MAPPED = ("table", "codes")
"""Tensors that stay in the file until their rows are read."""

Tensors = dict[str, Array]


def write_tensors(tensors: Mapping[str, Array], path: Path) -> None:
    """Write tensors, those of :data:`MAPPED` first, at a cache line."""
    names = sorted(tensors, key=lambda name: (name not in MAPPED, name))
    header, offset = {}, 0
    for name in names:
        tensor = tensors[name]
        kind = next(key for key, dtype in TYPES.items() if dtype == tensor.dtype)
        offsets = [offset, offset := offset + tensor.nbytes]
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % CACHE_LINE)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(np.ascontiguousarray(tensors[name]).data)


def read_tensors(path: Path) -> Tensors:
    """Read the tensors of a file; the table is mapped into memory, not copied.

    The library checks the file: its header is whole, and its tensors lie within it, end to end.

    Raises:
        SafetensorError: the file is malformed.
        ValueError: a tensor has another type, or a weight that is too large or not finite.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy"):
        pass
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + size).view(np.ndarray)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in TYPES:
            raise ValueError(f"the tensor {name} is of type {entry['dtype']}")
        start, end = entry["data_offsets"]
        raw = data[start:end] if name in MAPPED else data[start:end].copy()
        tensors[name] = raw.view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    check_weights(tensors)
    return tensors


def check_weights(tensors: Mapping[str, Array]) -> None:
    """Raise for a weight that no training yields and that would make predictions meaningless.

    Raises:
        ValueError: a weight is not finite or above :data:`MAX_WEIGHT`, or an idf is not positive.
    """
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            continue
        values = tensor.reshape(-1)
        for start in range(0, len(values), BLOCK):
            block = values[start : start + BLOCK]
            # A comparison with NaN is false.
            if not (block.min() >= -MAX_WEIGHT and block.max() <= MAX_WEIGHT):
                raise ValueError(f"the tensor {name} has a weight that is not finite or too large")
        if name == "idf" and len(values) and values.min() < 1 / MAX_WEIGHT:
            raise ValueError("the tensor idf has a weight that is not positive")
