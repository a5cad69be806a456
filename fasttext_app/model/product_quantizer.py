"""Product quantization: each row as a few one-byte codes.

A row of D values is split into parts of ``width`` values; the last part may be shorter. Each part
has 256 centroids, and a row is stored as the index of the nearest centroid of each part. With
norms, rows are encoded at length 1, and their norms have 256 centroids of their own. fastText's
``.ftz`` files use the same quantization (Jegou et al. 2011; Joulin et al. 2016, "FastText.zip").

Shapes: **V** rows, **D** values per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F32, U8, Array
from fasttext_app.errors import missing_package

CODES = 256  # centroids per part
SAMPLES = 65_536  # rows that k-means runs on, as in the original
ITERATIONS = 25
BLOCK = 1 << 16  # rows that are encoded at a time
EXPANSION = 64
"""How many times the size of its codes and centroids a matrix may take, decoded as a whole."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """The centroids of each part of a row."""

    dim: int
    centroids: F32  # [parts, 256, width]; a shorter last part is padded with zeros

    @property
    def parts(self) -> int:
        """Parts of a row."""
        return len(self.centroids)

    @property
    def width(self) -> int:
        """Values of a part."""
        return int(self.centroids.shape[2])

    def decode(self, codes: U8) -> F32:
        """Return the rows of codes [V, parts], [V, D]."""
        rows = self.centroids[np.arange(self.parts), codes]  # [V, parts, width]
        return rows.reshape(len(codes), self.parts * self.width)[:, : self.dim]


@dataclass(frozen=True, eq=False)
class Coded:
    """A matrix [V, D] in product codes."""

    codes: U8  # [V, parts]
    quantizer: Quantizer
    norm_codes: U8 | None = None  # [V]
    norm_centroids: F32 | None = None  # [256]

    @property
    def shape(self) -> tuple[int, int]:
        """V and D."""
        return len(self.codes), self.quantizer.dim

    @property
    def nbytes(self) -> int:
        """Size of the codes and centroids in bytes."""
        arrays = self.codes, self.quantizer.centroids, self.norm_codes, self.norm_centroids
        return sum(0 if array is None else array.nbytes for array in arrays)

    @property
    def dense_nbytes(self) -> int:
        """Size of the whole matrix in bytes, decoded."""
        return 4 * len(self.codes) * self.quantizer.dim

    @property
    def expands(self) -> bool:
        """Whether the whole matrix, decoded, takes far more memory than its codes."""
        return self.dense_nbytes > EXPANSION * self.nbytes

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Type of a code."""
        return self.codes.dtype

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: npt.NDArray[np.integer[Any]] | slice) -> F32:
        """Return some of the rows, decoded to 32-bit floats."""
        rows = self.quantizer.decode(self.codes[index])
        if self.norm_codes is not None and self.norm_centroids is not None:
            rows = rows * self.norm_centroids[self.norm_codes[index]][:, None]
        return rows

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], dim: int, prefix: str = "") -> Coded:
        """Build a matrix of rows of ``dim`` values from the tensors of a model directory."""
        quantizer = Quantizer(dim, tensors[f"{prefix}centroids"])
        norms = tensors.get(f"{prefix}norm_codes"), tensors.get(f"{prefix}norm_centroids")
        return cls(tensors[f"{prefix}codes"], quantizer, *norms)

    def tensors(self, prefix: str = "") -> dict[str, Array]:
        """Return the tensors of a model directory, by name."""
        arrays: dict[str, Array | None] = {
            "codes": self.codes,
            "centroids": self.quantizer.centroids,
            "norm_codes": self.norm_codes,
            "norm_centroids": self.norm_centroids,
        }
        return {f"{prefix}{name}": array for name, array in arrays.items() if array is not None}

    def dense(self) -> F32:
        """Return the whole matrix, [V, D]."""
        return self[:]

    def take(self, index: npt.NDArray[np.integer[Any]]) -> Coded:
        """Return a matrix of some of the rows, still in codes."""
        norms = None if self.norm_codes is None else self.norm_codes[index]
        return Coded(self.codes[index], self.quantizer, norms, self.norm_centroids)


def dense(matrix: Array | Coded) -> Array:
    """Return a matrix as an array, decoded if it is in codes."""
    return matrix.dense() if isinstance(matrix, Coded) else matrix


def encode_rows(table: F32, width: int = 2, *, norms: bool = False, seed: int = 0) -> Coded:
    """Encode the rows of a matrix [V, D], with the k-means of scikit-learn.

    Args:
        table: at least 256 rows.
        width: values per code.
        norms: encode the norms of rows separately.
        seed: seed of k-means and of the sample of rows that it runs on.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    norm_codes = norm_centroids = None
    if norms:
        lengths = np.linalg.norm(table, axis=1).astype(np.float32)[:, None]
        lengths_or_one = np.where(lengths > 0, lengths, 1).astype(np.float32)
        table = table / lengths_or_one
        norm_codes, centroids = _code(lengths, seed)
        norm_centroids = centroids.ravel()
    padded = np.pad(table, ((0, 0), (0, -table.shape[1] % width)))
    coded = [
        _code(padded[:, start : start + width], seed) for start in range(0, padded.shape[1], width)
    ]
    codes = np.stack([codes for codes, _ in coded], axis=1)
    centroids = np.stack([centroids for _, centroids in coded])
    return Coded(codes, Quantizer(table.shape[1], centroids), norm_codes, norm_centroids)


def _code(values: F32, seed: int) -> tuple[U8, F32]:
    """Return the nearest centroid of each row, [V], and the centroids, [256, W], of one part."""
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise missing_package("product quantization", "scikit-learn", "fasttext") from None
    sample = values
    if len(values) > SAMPLES:
        rows = np.random.default_rng(seed).choice(len(values), SAMPLES, replace=False)
        sample = values[np.sort(rows)]
    distinct = np.unique(sample, axis=0)
    if len(distinct) <= CODES:  # each is its own centroid
        centroids = np.resize(distinct, (CODES, values.shape[1])).astype(np.float32)
    else:
        means = KMeans(CODES, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(sample)
        centroids = means.cluster_centers_.astype(np.float32)
    codes = np.empty(len(values), np.uint8)
    # Centered and in 64 bits, because small differences between values would be lost to rounding.
    center = centroids.mean(axis=0, dtype=np.float64)
    centered = centroids - center
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK] - center
        # |row - c|^2 without |row|^2, which is the same for every centroid
        distance = (centered**2).sum(axis=1) - 2 * block @ centered.T
        codes[start : start + BLOCK] = distance.argmin(axis=1)
    return codes, centroids
