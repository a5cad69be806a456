"""fastText's container, ``.bin`` and ``.ftz``: one little-endian layout, read and written.

    int32 magic, version                       793712314; 11 or 12
    12 x int32, double                         settings
    int32 size, nwords, nlabels                the dictionary
    int64 ntokens, pruned                      pruned: -1 where every bucket has a row
    size x (bytes, NUL, int64 count, int8)     words, then labels
    pruned x (int32 bucket, int32 row)
    bool quantized; matrix                     input  [nwords + bucket, dim]
    bool quantized; matrix                     output [nlabels, dim]

A matrix is dense, or coded by product quantizers. Every number that is read is checked before
anything is made of it, so a damaged file is an error and no more. Source: the files of fastText
0.9.2.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64, U8
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.errors import ArtifactError
from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer

MAGIC, VERSION, OLDEST = 793712314, 12, 11
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
CBOW, SKIPGRAM, SUPERVISED = 1, 2, 3
MOST = 2**31 - 1
WIDEST = 1024  # numbers that share a code; a row may have fewer

Matrix = F32 | Coded


@dataclass(frozen=True)
class Settings:
    """What the file says of how the model was trained; in the file's order."""

    dim: int
    ws: int = 5
    epoch: int = 5
    min_count: int = 1
    neg: int = 5
    word_ngrams: int = 1
    loss: int = 3
    model: int = SUPERVISED
    bucket: int = 0
    minn: int = 0
    maxn: int = 0
    lr_update_rate: int = 100
    t: float = 1e-4


@dataclass(frozen=True)
class FastTextFile:
    """All that a file holds."""

    settings: Settings
    words: list[bytes]
    word_counts: I64
    labels: list[bytes]
    label_counts: I64
    tokens: int
    pruned: I32 | None  # [P, 2]: bucket, row after the words; None: all buckets
    input: Matrix
    output: Matrix

    @property
    def supervised(self) -> bool:
        """Whether it is a classifier; else its words have vectors, and labels no meaning."""
        return self.settings.model == SUPERVISED


def read_file(path: str | Path) -> FastTextFile:
    """Read a ``.bin`` or ``.ftz`` file; a dense input matrix is mapped, not copied.

    Raises:
        ArtifactError: there is no such file, or it is not whole.
    """
    place = Path(path)
    try:
        if place.is_dir():
            raise ArtifactError(f"{path}: is a folder; name a .bin or .ftz file")
        if not place.is_file():
            raise ArtifactError(f"{path}: there is no such file")
        if not place.stat().st_size:
            raise ArtifactError(f"{path}: is not a fastText model: it is empty")
        data = np.memmap(place, np.uint8, "r").view(np.ndarray)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _Reader(str(path), data).read()


def is_fasttext(path: str | Path) -> bool:
    """Say whether a file begins as fastText's do.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == struct.pack("<i", MAGIC)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from None


class _Reader:
    def __init__(self, path: str, data: U8) -> None:
        self._path, self._data, self._at = path, data, 0

    def read(self) -> FastTextFile:
        magic, version = self._numbers("ii", "the header")
        if magic != MAGIC:
            raise self._damaged("it does not begin as one")
        if not OLDEST <= version <= VERSION:
            raise self._damaged(f"it has version {version}; those that are known are 11 and 12")
        settings = self._settings(version)
        size, words, labels, tokens, pruned = self._numbers("iiiqq", "the dictionary's sizes")
        supervised = settings.model == SUPERVISED
        self._check(words >= 0 and labels >= 0 and words + labels == size, "its number of words")
        self._check(labels > 0 or not supervised, f"its number of labels, {labels}")
        self._check(tokens >= 0, f"its number of tokens, {tokens}")
        self._check(pruned >= -1 and pruned * 8 <= self._left, "its number of pruned buckets")
        names, counts = self._entries(size, words)
        kept = None if pruned < 0 else self._buckets(pruned, settings.bucket)
        rows = words + (settings.bucket if kept is None else len(kept))
        quantized = self._flag("whether the input is quantized")
        if kept is not None and not quantized:
            raise self._damaged("its dictionary is pruned and its matrix is not quantized")
        table = self._matrix(quantized, rows, settings.dim, "the input matrix")
        coded = self._flag("whether the output is quantized") and quantized
        output_rows = labels if supervised else words
        output = self._matrix(coded, output_rows, settings.dim, "the output matrix")
        if self._left:
            raise self._damaged(f"{self._left} bytes follow its end")
        return FastTextFile(
            settings,
            names[:words],
            counts[:words],
            names[words:],
            counts[words:],
            tokens,
            kept,
            table,
            output,
        )

    @property
    def _left(self) -> int:
        return len(self._data) - self._at

    def _damaged(self, reason: str) -> ArtifactError:
        return ArtifactError(f"{self._path}: is not a whole fastText model: {reason}")

    def _check(self, right: bool, what: str) -> None:
        if not right:
            raise self._damaged(f"{what} cannot be right")

    def _bytes(self, size: int, what: str) -> U8:
        if size > self._left:
            raise self._damaged(f"it ends amid {what}")
        self._at += size
        return self._data[self._at - size : self._at]

    def _numbers(self, form: str, what: str) -> tuple[Any, ...]:
        layout = struct.Struct("<" + form)
        return layout.unpack(self._bytes(layout.size, what).tobytes())

    def _flag(self, what: str) -> bool:
        (value,) = self._numbers("B", what)
        self._check(value in (0, 1), what)
        return bool(value)

    def _settings(self, version: int) -> Settings:
        found = Settings(*self._numbers("12id", "the settings"))
        if version == OLDEST and found.model == SUPERVISED:  # it had no character n-grams
            found = replace(found, maxn=0)
        ranges = {
            "dim": (1, 65_536),
            "word_ngrams": (0, MOST),
            "loss": (1, 4),
            "model": (CBOW, SUPERVISED),
            "bucket": (0, MOST),
            "minn": (0, MOST),
            "maxn": (0, MOST),
        }
        for name, (least, most) in ranges.items():
            value = getattr(found, name)
            self._check(least <= value <= most, f"its setting {name} = {value}")
        self._check(math.isfinite(found.t), f"its setting t = {found.t}")
        with_ngrams = found.word_ngrams > 1 or found.maxn > 0
        self._check(found.bucket > 0 or not with_ngrams, "its number of buckets")
        return found

    def _entries(self, size: int, words: int) -> tuple[list[bytes], I64]:
        self._check(size * 10 <= self._left, "its number of words")
        rest, at = self._data[self._at :].data, 0
        names, counts = [], np.empty(size, np.int64)
        text = _Finder(rest)
        for number in range(size):
            end = text.find_nul(at)
            if end < 0 or end + 10 > len(rest):
                raise self._damaged("it ends amid the dictionary")
            names.append(bytes(rest[at:end]))
            counts[number], kind = struct.unpack_from("<qb", rest, end + 1)
            self._check(kind == (number >= words), f"the kind of its word {number}")
            self._check(counts[number] >= 0, f"the count of its word {number}")
            at = end + 10
        self._at += at
        return names, counts

    def _buckets(self, pruned: int, bucket: int) -> I32:
        pairs = self._bytes(pruned * 8, "the pruned buckets").view("<i4").reshape(-1, 2)
        buckets, rows = pairs[:, 0], pairs[:, 1]
        inside = bool((buckets >= 0).all() and (buckets < max(bucket, 1)).all())
        distinct = len(np.unique(buckets)) == pruned
        whole = np.array_equal(np.sort(rows), np.arange(pruned))
        self._check(inside and distinct and whole, "its list of pruned buckets")
        return pairs.astype(np.int32)

    def _matrix(self, quantized: bool, rows: int, dim: int, what: str) -> Matrix:
        norms = quantized and self._flag(f"the norms of {what}")
        m, n = self._numbers("qq", f"the size of {what}")
        if (m, n) != (rows, dim):
            raise self._damaged(f"{what} is {m} x {n}, and should be {rows} x {dim}")
        if not quantized:
            return self._bytes(4 * m * n, what).view("<f4").reshape(m, n)
        (size,) = self._numbers("i", f"the codes of {what}")
        self._check(size >= 0 and (not m or size % m == 0), f"the size of the codes of {what}")
        codes = self._bytes(size, f"the codes of {what}").reshape(m, size // max(m, 1))
        quantizer = self._quantizer(dim, what)
        self._check(codes.shape[1] == quantizer.parts, f"the size of the codes of {what}")
        if not norms:
            return Coded(codes, quantizer)
        norm_codes = self._bytes(m, f"the norms of {what}")
        norms_quantizer = self._quantizer(1, what)
        self._check(norms_quantizer.width == 1, f"the norms of {what}")
        return Coded(codes, quantizer, norm_codes, norms_quantizer.centroids.ravel())

    def _quantizer(self, dim: int, what: str) -> Quantizer:
        found, parts, width, last = self._numbers("4i", f"the quantizer of {what}")
        fits = found == dim and 1 <= width <= max(dim, WIDEST) and parts == -(-dim // width)
        self._check(fits and last == dim - (parts - 1) * width, f"the quantizer of {what}")
        flat = self._bytes(4 * CODES * dim, f"the centroids of {what}").copy().view("<f4")
        centroids = np.zeros((parts, CODES, width), np.float32)
        whole = (dim - last) * CODES
        centroids[:-1] = flat[:whole].reshape(parts - 1, CODES, width)
        centroids[-1, :, :last] = flat[whole:].reshape(CODES, last)
        return Quantizer(dim, centroids)


class _Finder:
    """Finds NUL bytes, a block at a time: the memory of a file is not one Python string."""

    BLOCK = 1 << 20

    def __init__(self, data: memoryview) -> None:
        self._data, self._start, self._block = data, 0, b""

    def find_nul(self, at: int) -> int:
        """Return where the next NUL is, -1 if there is none."""
        while at < len(self._data):
            if not self._start <= at < self._start + len(self._block):
                self._start = at
                self._block = bytes(self._data[at : at + self.BLOCK])
            found = self._block.find(b"\0", at - self._start)
            if found >= 0:
                return self._start + found
            at = self._start + len(self._block)
        return -1


def write_file(model: FastTextFile, path: str | Path) -> None:
    """Write a file that the original reads, whole or not at all.

    Raises:
        ArtifactError: it cannot be written.
    """
    with atomic_file(path, ArtifactError) as place, place.open("wb") as file:
        for piece in _pieces(model):
            file.write(piece)


def _pieces(model: FastTextFile) -> Iterator[Any]:
    yield struct.pack("<ii12id", MAGIC, VERSION, *astuple(model.settings))
    words, labels, pruned = len(model.words), len(model.labels), model.pruned
    count = -1 if pruned is None else len(pruned)
    yield struct.pack("<iiiqq", words + labels, words, labels, model.tokens, count)
    for kind, names, counts in (
        (0, model.words, model.word_counts),
        (1, model.labels, model.label_counts),
    ):
        for name, seen in zip(names, counts.tolist(), strict=True):
            yield name + b"\0" + struct.pack("<qb", seen, kind)
    if pruned is not None:
        yield np.ascontiguousarray(pruned, "<i4").data
    for matrix in (model.input, model.output):
        yield struct.pack("<?", isinstance(matrix, Coded))
        yield from _matrix_pieces(matrix)


def _matrix_pieces(matrix: Matrix) -> Iterator[Any]:
    if not isinstance(matrix, Coded):
        yield struct.pack("<qq", *matrix.shape)
        yield np.ascontiguousarray(matrix, "<f4").data
        return
    normed = matrix.norm_codes is not None
    yield struct.pack("<?qqi", normed, len(matrix), matrix.quantizer.dim, matrix.codes.size)
    yield np.ascontiguousarray(matrix.codes).data
    yield from _quantizer_pieces(matrix.quantizer)
    if matrix.norm_codes is not None and matrix.norm_centroids is not None:
        yield np.ascontiguousarray(matrix.norm_codes).data
        yield from _quantizer_pieces(Quantizer(1, matrix.norm_centroids.reshape(1, CODES, 1)))


def _quantizer_pieces(quantizer: Quantizer) -> Iterator[Any]:
    last = quantizer.dim - (quantizer.parts - 1) * quantizer.width
    yield struct.pack("<4i", quantizer.dim, quantizer.parts, quantizer.width, last)
    for part, centroids in enumerate(quantizer.centroids):
        used = last if part == quantizer.parts - 1 else quantizer.width
        yield np.ascontiguousarray(centroids[:, :used], "<f4").data
