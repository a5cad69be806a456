"""The module ``fasttext.util``: scores of predictions, the nearest vector, fewer dimensions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fasttext_app.compat.model import FastText
from fasttext_app.core.arrays import F32
from fasttext_app.core.built_in_errors import ConfigValueError

PCA_ROWS = 100_000
"""The rows of the table that decide which dimensions :func:`reduce_model` keeps."""


def test(
    predictions: Iterable[Collection[str]],
    labels: Iterable[Collection[str]],
    k: int = 1,  # noqa: PT028 - not a test
) -> tuple[float, float]:
    """Return (precision, recall) at k of the predicted labels of lines."""
    pairs = list(zip(predictions, labels, strict=False))
    correct = sum(label in true for predicted, true in pairs for label in predicted)
    return correct / (k * len(pairs)), correct / sum(len(true) for _, true in pairs)


test.__test__ = False  # type: ignore[attr-defined]  # for pytest


def find_nearest_neighbor(
    query: F32, vectors: F32, ban_set: Collection[int], cossims: F32 | None = None
) -> int:
    """Return the index of the vector with the largest product with ``query``.

    Args:
        query: [D].
        vectors: [N, D].
        ban_set: indices to leave out.
        cossims: [N], receives the products.

    >>> find_nearest_neighbor(np.array([1, 0]), np.array([[2, 0], [1, 0], [0, 3]]), {0})
    1
    """
    products = np.matmul(vectors, query, out=cossims)
    ranked = np.argsort(-products, kind="stable").tolist()
    return next(int(index) for index in ranked if index not in ban_set)


def reduce_model(ft_model: FastText, target_dim: int) -> FastText:
    """Reduce the dimension of a model's vectors by PCA, in place; return the model.

    Raises:
        ConfigError: the model is quantized, or has fewer dimensions.
    """
    dim, table = ft_model.get_dimension(), ft_model.get_input_matrix()
    if not 0 < target_dim <= dim:
        raise ConfigValueError(f"target_dim = {target_dim}: must be 1 to {dim}, the model's")
    sample = table[:PCA_ROWS] - table[:PCA_ROWS].mean(axis=0)
    _, axes = np.linalg.eigh(sample.T @ sample)  # by ascending variance
    projection: npt.NDArray[Any] = axes[:, ::-1][:, :target_dim]
    ft_model.set_matrices(table @ projection, ft_model.get_output_matrix() @ projection)
    return ft_model


def download_model(*values: Any, **options: Any) -> NoReturn:
    """Raise: this program downloads nothing.

    Raises:
        ConfigError: always.
    """
    raise ConfigValueError(
        "download_model: this program downloads no models; get the file from "
        "https://fasttext.cc/docs/en/crawl-vectors.html, and read it with load_model"
    )
