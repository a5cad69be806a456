"""Product quantization: a row in one byte for each few of its numbers.

The D numbers of a row are cut into parts of ``width`` numbers, the last one maybe shorter. Each
part has 256 centroids, and a row is kept as the number of the nearest centroid of each part. With
norms, rows are coded at length 1, and their norms by 256 centroids of their own. This is the
quantization of fastText's ``.ftz`` files (Jegou et al. 2011; Joulin et al. 2016, "FastText.zip").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F32, U8, Array
from fasttext_app.errors import MissingDependencyError

CODES = 256  # centroids of a part
SAMPLES = 65_536  # rows that centroids are found on, as in the original
ITERATIONS = 25
BLOCK = 1 << 16  # rows that are coded at a time


@dataclass(frozen=True, eq=False)
class Quantizer:
    """The centroids of the parts of a row of D numbers."""

    dim: int
    centroids: F32  # [parts, 256, width]; a shorter last part ends in zeros

    @property
    def parts(self) -> int:
        """The number of parts of a row."""
        return len(self.centroids)

    @property
    def width(self) -> int:
        """The numbers of a part."""
        return int(self.centroids.shape[2])

    def decode(self, codes: U8) -> F32:
        """Return the rows that codes [V, parts] stand for, [V, D]."""
        rows = self.centroids[np.arange(self.parts), codes]  # [V, parts, width]
        return rows.reshape(len(codes), self.parts * self.width)[:, : self.dim]


@dataclass(frozen=True, eq=False)
class Coded:
    """A matrix [V, D] in codes."""

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
        """The bytes of the codes and centroids."""
        arrays = self.codes, self.quantizer.centroids, self.norm_codes, self.norm_centroids
        return sum(0 if array is None else array.nbytes for array in arrays)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of a code."""
        return self.codes.dtype

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, numbers: npt.NDArray[np.integer[Any]] | slice) -> F32:
        """Return some of the rows, as 32-bit floats."""
        rows = self.quantizer.decode(self.codes[numbers])
        if self.norm_codes is not None and self.norm_centroids is not None:
            rows = rows * self.norm_centroids[self.norm_codes[numbers]][:, None]
        return rows

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], dim: int, prefix: str = "") -> Coded:
        """Find a matrix of rows of ``dim`` numbers in a model directory's tensors."""
        quantizer = Quantizer(dim, tensors[f"{prefix}centroids"])
        norms = tensors.get(f"{prefix}norm_codes"), tensors.get(f"{prefix}norm_centroids")
        return cls(tensors[f"{prefix}codes"], quantizer, *norms)

    def tensors(self, prefix: str = "") -> dict[str, Array]:
        """Return what a model directory holds of it, by name."""
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

    def take(self, numbers: npt.NDArray[np.integer[Any]]) -> Coded:
        """Return a matrix of some of the rows."""
        norms = None if self.norm_codes is None else self.norm_codes[numbers]
        return Coded(self.codes[numbers], self.quantizer, norms, self.norm_centroids)


def dense(matrix: Array | Coded) -> Array:
    """Return a matrix as numbers, whether it is in codes or not."""
    return matrix.dense() if isinstance(matrix, Coded) else matrix


def encode_rows(table: F32, width: int = 2, *, norms: bool = False, seed: int = 0) -> Coded:
    """Code the rows of a matrix [V, D]; k-means is scikit-learn's.

    Args:
        table: at least 256 rows.
        width: how many numbers share a code.
        norms: whether the norms are coded by themselves.
        seed: decides the rows that centroids are found on, and where k-means begins.

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
    """Find the centroids of some columns; return the nearest of every row [V], and all [256, W]."""
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise MissingDependencyError(
            "product quantization needs scikit-learn; pip install scikit-learn"
        ) from None
    chosen = values
    if len(values) > SAMPLES:
        numbers = np.random.default_rng(seed).choice(len(values), SAMPLES, replace=False)
        chosen = values[np.sort(numbers)]
    distinct = np.unique(chosen, axis=0)
    if len(distinct) <= CODES:  # each is its own centroid
        centroids = np.resize(distinct, (CODES, values.shape[1])).astype(np.float32)
    else:
        means = KMeans(CODES, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(chosen)
        centroids = means.cluster_centers_.astype(np.float32)
    codes = np.empty(len(values), np.uint8)
    middle = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
    around = centroids - middle  # else differences get lost beside large numbers
    for start in range(0, len(values), BLOCK):
        rows = values[start : start + BLOCK] - middle
        # |row - c|^2 without |row|^2, which is the same for every centroid
        distance = (around**2).sum(axis=1) - 2 * rows @ around.T
        codes[start : start + BLOCK] = distance.argmin(axis=1)
    return codes, centroids
