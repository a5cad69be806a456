"""fastText's model file, ``.bin`` or ``.ftz``: one little-endian layout, read and written.

    header          int32 magic, version                793712314; 11 or 12
    args            12 x int32, double                  how the model was trained
    dictionary      int32 size, nwords, nlabels
                    int64 ntokens, pruneidx_size        pruneidx_size -1: every bucket has a row
                    size x (bytes, NUL, int64 count, int8 type)     words, then labels
                    pruneidx_size x (int32 bucket, int32 row)
    input matrix    bool quantized, matrix              [nwords + buckets, dim]
    output matrix   bool quantized, matrix              [nlabels, dim]

    dense matrix        int64 rows, columns; float32 values, row by row
    quantized matrix    bool qnorm; int64 rows, columns; int32 size; uint8 codes; quantizer
                        with qnorm: uint8 norm codes; quantizer of the norms
    quantizer           int32 dim, nsubq, dsub, lastdsub; float32 centroids

The reader checks every number before it relies on it, so a damaged file raises an error and does no
other harm. Source: fastText 0.9.2.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from enum import Enum
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64, U8
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.errors import ArtifactError
from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer

MAGIC = 793712314
MAGIC_BYTES = struct.pack("<i", MAGIC)
VERSION, OLDEST_VERSION = 12, 11
MAX_INT32 = 2**31 - 1
MAX_DIM = 65_536
MAX_WIDTH = 1024  # largest ``dsub`` of a quantizer whose dim is smaller
ENTRY_TAIL = struct.Struct("<qb")  # what follows the NUL of a dictionary entry

loss_name = Enum("loss_name", ["hs", "ns", "softmax", "ova"])
model_name = Enum("model_name", ["cbow", "sg", "sup"])

Matrix = F32 | Coded


@dataclass(frozen=True)
class Args:
    """How a model was trained, in the order of the file."""

    dim: int
    ws: int = 5
    epoch: int = 5
    min_count: int = 1
    neg: int = 5
    word_ngrams: int = 1
    loss: int = loss_name.softmax.value
    model: int = model_name.sup.value
    bucket: int = 0
    minn: int = 0
    maxn: int = 0
    lr_update_rate: int = 100
    t: float = 1e-4


@dataclass(frozen=True)
class Dictionary:
    """The words and labels of a model, and the buckets that have a row."""

    words: list[bytes]
    word_counts: I64
    labels: list[bytes]
    label_counts: I64
    tokens: int
    pruneidx: I32 | None = None
    """[P, 2]: a bucket, and its row counted from the end of the words; None: all buckets."""


@dataclass(frozen=True)
class FastTextFile:
    """The contents of a model file."""

    args: Args
    dictionary: Dictionary
    input: Matrix
    output: Matrix

    @property
    def supervised(self) -> bool:
        """Whether the model is a classifier; otherwise it holds word vectors."""
        return bool(self.args.model == model_name.sup.value)


def is_fasttext(path: str | Path) -> bool:
    """Return whether a file begins with fastText's magic number.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC_BYTES)) == MAGIC_BYTES
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_file(path: str | Path) -> FastTextFile:
    """Read a ``.bin`` or ``.ftz`` file; dense matrices are mapped into memory, not copied.

    Raises:
        ArtifactError: the file is missing, unreadable, damaged, or not fastText's.
    """
    try:
        if Path(path).is_dir():
            raise ArtifactError(f"{path}: is a folder; name a .bin or .ftz file")
        if not Path(path).is_file():
            raise ArtifactError(f"{path}: there is no such file")
        if not Path(path).stat().st_size:
            raise ArtifactError(f"{path}: is not a valid fastText model: the file is empty")
        with Path(path).open("rb") as file:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _Reader(str(path), data).read()


class _Reader:
    """Reads the parts of a file one after the other."""

    def __init__(self, path: str, data: mmap) -> None:
        self._path, self._data, self._position = path, data, 0
        self._array = np.frombuffer(data, np.uint8)

    def read(self) -> FastTextFile:
        version = self._read_header()
        args = self._read_args(version)
        dictionary = self._read_dictionary(args)
        words, labels, pruneidx = dictionary.words, dictionary.labels, dictionary.pruneidx
        supervised = args.model == model_name.sup.value

        quantized = self._read_flag("the input matrix")
        if pruneidx is not None and not quantized:
            raise self._invalid("its dictionary is pruned but its input matrix is not quantized")
        rows = len(words) + (args.bucket if pruneidx is None else len(pruneidx))
        input_matrix = self._read_matrix(quantized, rows, args.dim, "the input matrix")

        quantized = self._read_flag("the output matrix") and quantized
        rows = len(labels) if supervised else len(words)
        output_matrix = self._read_matrix(quantized, rows, args.dim, "the output matrix")
        self._check(
            not isinstance(output_matrix, Coded) or not output_matrix.expands,
            "the output matrix, decoded, takes far more memory than its codes",
        )

        if self._bytes_left:
            raise self._invalid(f"{self._bytes_left} bytes follow its end")
        return FastTextFile(args, dictionary, input_matrix, output_matrix)

    def _read_header(self) -> int:
        """Return the version."""
        magic, version = self._unpack("ii", "the header")
        self._check(magic == MAGIC, "it does not begin with fastText's magic number")
        self._check(
            OLDEST_VERSION <= version <= VERSION,
            f"it has version {version}; only versions {OLDEST_VERSION} and {VERSION} are known",
        )
        return int(version)

    def _read_args(self, version: int) -> Args:
        args = Args(*self._unpack("12id", "the args"))
        if version == OLDEST_VERSION and args.model == model_name.sup.value:
            args = replace(args, maxn=0)  # classifiers had no character n-grams
        ranges = {
            "dim": (1, MAX_DIM),
            "word_ngrams": (0, MAX_INT32),
            "loss": (1, len(loss_name)),
            "model": (1, len(model_name)),
            "bucket": (0, MAX_INT32),
            "minn": (0, MAX_INT32),
            "maxn": (0, MAX_INT32),
        }
        for name, (low, high) in ranges.items():
            value = getattr(args, name)
            self._check(low <= value <= high, f"{name} = {value} is out of range")
        self._check(math.isfinite(args.t), f"t = {args.t} is out of range")
        has_ngrams = args.word_ngrams > 1 or args.maxn > 0
        self._check(args.bucket > 0 or not has_ngrams, "it has n-grams but bucket = 0")
        return args

    def _read_dictionary(self, args: Args) -> Dictionary:
        size, nwords, nlabels, tokens, pruned = self._unpack("iiiqq", "the dictionary")
        self._check(
            nwords >= 0 and nlabels >= 0 and nwords + nlabels == size,
            f"{nwords} words and {nlabels} labels do not make {size} entries",
        )
        self._check(nlabels > 0 or args.model != model_name.sup.value, "it has no labels")
        self._check(tokens >= 0, f"its number of tokens, {tokens}, is out of range")
        self._check(
            -1 <= pruned <= self._bytes_left // 8,
            f"its number of pruned buckets, {pruned}, is out of range",
        )
        names, counts = self._read_entries(size, nwords)
        return Dictionary(
            words=names[:nwords],
            word_counts=counts[:nwords],
            labels=names[nwords:],
            label_counts=counts[nwords:],
            tokens=tokens,
            pruneidx=None if pruned < 0 else self._read_pruneidx(pruned, args.bucket),
        )

    def _read_entries(self, size: int, nwords: int) -> tuple[list[bytes], I64]:
        """Read the names and counts of the words, then of the labels."""
        tail = ENTRY_TAIL.size
        # Checked before `counts` is allocated, which a damaged size could make huge.
        self._check(size * (1 + tail) <= self._bytes_left, f"its {size} entries do not fit into it")
        data, start = self._data, self._position
        names, counts = [], np.empty(size, np.int64)
        for entry in range(size):
            end = data.find(b"\0", start)
            if end < 0 or end + 1 + tail > len(data):
                raise self._invalid("it ends inside the dictionary")
            names.append(data[start:end])
            counts[entry], kind = ENTRY_TAIL.unpack_from(data, end + 1)
            self._check(kind == (entry >= nwords), f"dictionary entry {entry} has the wrong type")
            self._check(counts[entry] >= 0, f"dictionary entry {entry} has a negative count")
            start = end + 1 + tail
        self._position = start
        return names, counts

    def _read_pruneidx(self, size: int, bucket: int) -> I32:
        pairs = self._take(8 * size, "the pruned buckets").view("<i4").reshape(-1, 2)
        buckets, rows = pairs[:, 0], pairs[:, 1]
        self._check(
            bool((buckets >= 0).all() and (buckets < max(bucket, 1)).all())
            and len(np.unique(buckets)) == size
            and np.array_equal(np.sort(rows), np.arange(size)),
            "its list of pruned buckets is inconsistent",
        )
        return pairs.astype(np.int32)

    def _read_matrix(self, quantized: bool, rows: int, dim: int, name: str) -> Matrix:
        qnorm = quantized and self._read_flag(f"the norms of {name}")
        m, n = self._unpack("qq", name)
        self._check((m, n) == (rows, dim), f"{name} is {m} x {n} but should be {rows} x {dim}")
        if not quantized:
            return self._take(4 * m * n, name).view("<f4").reshape(m, n)
        (size,) = self._unpack("i", name)
        self._check(size >= 0 and (not m or size % m == 0), f"the codes of {name} do not fit it")
        codes = self._take(size, name).reshape(m, size // max(m, 1))
        quantizer = self._read_quantizer(dim, name)
        self._check(codes.shape[1] == quantizer.parts, f"the codes of {name} do not fit it")
        if not qnorm:
            return Coded(codes, quantizer)
        norm_codes = self._take(m, f"the norms of {name}")
        norm_quantizer = self._read_quantizer(1, f"the norms of {name}")
        self._check(norm_quantizer.width == 1, f"the quantizer of the norms of {name} is invalid")
        return Coded(codes, quantizer, norm_codes, norm_quantizer.centroids.ravel())

    def _read_quantizer(self, dim: int, name: str) -> Quantizer:
        stored_dim, nsubq, dsub, lastdsub = self._unpack("4i", f"the quantizer of {name}")
        fits = stored_dim == dim and 1 <= dsub <= max(dim, MAX_WIDTH) and nsubq == -(-dim // dsub)
        self._check(
            fits and lastdsub == dim - (nsubq - 1) * dsub, f"the quantizer of {name} is invalid"
        )
        values = self._take(4 * CODES * dim, f"the centroids of {name}").copy().view("<f4")
        centroids = np.zeros((nsubq, CODES, dsub), np.float32)
        full = (dim - lastdsub) * CODES
        centroids[:-1] = values[:full].reshape(nsubq - 1, CODES, dsub)
        centroids[-1, :, :lastdsub] = values[full:].reshape(CODES, lastdsub)
        return Quantizer(dim, centroids)

    def _read_flag(self, name: str) -> bool:
        (value,) = self._unpack("B", name)
        self._check(value in (0, 1), f"the flag of {name} is neither 0 nor 1")
        return bool(value)

    def _unpack(self, layout: str, part: str) -> tuple[Any, ...]:
        return struct.unpack(
            "<" + layout, self._take(struct.calcsize("<" + layout), part).tobytes()
        )

    def _take(self, size: int, part: str) -> U8:
        """Return the next bytes."""
        if size > self._bytes_left:
            raise self._invalid(f"it ends inside {part}")
        self._position += size
        return self._array[self._position - size : self._position]

    @property
    def _bytes_left(self) -> int:
        return len(self._data) - self._position

    def _check(self, valid: bool, reason: str) -> None:
        if not valid:
            raise self._invalid(reason)

    def _invalid(self, reason: str) -> ArtifactError:
        return ArtifactError(f"{self._path}: is not a valid fastText model: {reason}")


def write_file(model: FastTextFile, path: str | Path) -> None:
    """Write a file that the original reads, completely or not at all.

    Raises:
        ArtifactError: it cannot be written.
    """
    with atomic_file(path, ArtifactError) as place, place.open("wb") as file:
        file.writelines(_file_parts(model))


def _file_parts(model: FastTextFile) -> Iterator[Any]:
    yield struct.pack("<ii12id", MAGIC, VERSION, *astuple(model.args))
    yield from _dictionary_parts(model.dictionary)
    for matrix in (model.input, model.output):
        yield struct.pack("<?", isinstance(matrix, Coded))
        yield from _matrix_parts(matrix)


def _dictionary_parts(dictionary: Dictionary) -> Iterator[Any]:
    words, labels, pruneidx = dictionary.words, dictionary.labels, dictionary.pruneidx
    size, pruned = len(words) + len(labels), -1 if pruneidx is None else len(pruneidx)
    yield struct.pack("<iiiqq", size, len(words), len(labels), dictionary.tokens, pruned)
    for kind, names, counts in (
        (0, words, dictionary.word_counts),
        (1, labels, dictionary.label_counts),
    ):
        for name, count in zip(names, counts.tolist(), strict=True):
            yield name + b"\0" + ENTRY_TAIL.pack(count, kind)
    if pruneidx is not None:
        yield np.ascontiguousarray(pruneidx, "<i4").data


def _matrix_parts(matrix: Matrix) -> Iterator[Any]:
    if not isinstance(matrix, Coded):
        yield struct.pack("<qq", *matrix.shape)
        yield np.ascontiguousarray(matrix, "<f4").data
        return
    qnorm = matrix.norm_codes is not None
    yield struct.pack("<?qqi", qnorm, len(matrix), matrix.quantizer.dim, matrix.codes.size)
    yield np.ascontiguousarray(matrix.codes).data
    yield from _quantizer_parts(matrix.quantizer)
    if matrix.norm_codes is not None and matrix.norm_centroids is not None:
        yield np.ascontiguousarray(matrix.norm_codes).data
        yield from _quantizer_parts(Quantizer(1, matrix.norm_centroids.reshape(1, CODES, 1)))


def _quantizer_parts(quantizer: Quantizer) -> Iterator[Any]:
    lastdsub = quantizer.dim - (quantizer.parts - 1) * quantizer.width
    yield struct.pack("<4i", quantizer.dim, quantizer.parts, quantizer.width, lastdsub)
    for part, centroids in enumerate(quantizer.centroids):
        width = lastdsub if part == quantizer.parts - 1 else quantizer.width
        yield np.ascontiguousarray(centroids[:, :width], "<f4").data
