"""datatrove: ``FastTextScore`` adds predictions to metadata, ``FastTextFilter`` drops documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from fasttext_app.errors import ConfigError, missing_package
from fasttext_app.scoring.scorer import Scorer

try:
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters.base_filter import BaseFilter
except ImportError:  # the steps below refuse to be made
    PipelineStep = BaseFilter = object

BATCH_DOCUMENTS = 1024
REQUIRED = [("fasttext_app", "fasttext-app")]
"""The module and its distribution, which datatrove looks for before a step runs."""


class FastTextScore(PipelineStep):  # type: ignore[misc]
    """Adds the columns of :attr:`.Scorer.schema` to the metadata of each document.

    Args:
        scorer: the model and what to add; what it says of columns has no meaning here.
        batch_size: documents that are scored at a time.
    """

    name = "fasttext_app score"
    type = "ANNOTATE"
    _requires_dependencies = REQUIRED

    def __init__(self, scorer: Scorer, batch_size: int = BATCH_DOCUMENTS) -> None:
        _require_datatrove()
        super().__init__()
        self.scorer = scorer
        self.batch_size = batch_size

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the documents with their predictions."""
        documents = iter(data)
        while batch := list(islice(documents, self.batch_size)):
            with self.track_time("batch"):
                rows = _predictions(self.scorer, batch)
            for document, row in zip(batch, rows, strict=True):
                document.metadata.update(row)
                self.stat_update("total")
                self.update_doc_stats(document)
                yield document


class FastTextFilter(BaseFilter):  # type: ignore[misc]
    """Keeps the documents that reach the threshold of a label.

    Args:
        scorer: a scorer with ``label`` and ``threshold``.
        exclusion_writer: writes the documents that are dropped; None: nothing does.
        batch_size: documents that are scored at a time.

    Raises:
        ConfigError: the scorer has no label.
    """

    name = "fasttext_app filter"
    _requires_dependencies = REQUIRED

    def __init__(
        self,
        scorer: Scorer,
        exclusion_writer: Any = None,
        batch_size: int = BATCH_DOCUMENTS,
    ) -> None:
        _require_datatrove()
        if scorer.label is None:
            raise ConfigError("scorer: names no label; pass Scorer(..., label=, threshold=)")
        super().__init__(exclusion_writer, batch_size)
        self.scorer = scorer

    def filter(self, doc: Any) -> bool:
        """Return whether a document is kept."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Any]) -> list[bool]:
        """Return which documents are kept; all get their predictions as metadata."""
        rows = _predictions(self.scorer, batch)
        for document, row in zip(batch, rows, strict=True):
            document.metadata.update(row)
        return [row[f"{self.scorer.prefix}label"] is not None for row in rows]


def _predictions(scorer: Scorer, documents: list[Any]) -> list[dict[str, Any]]:
    texts = pa.array([document.text for document in documents], pa.string())
    rows: list[dict[str, Any]] = scorer.structs(texts).to_pylist()
    return rows


def _require_datatrove() -> None:
    if PipelineStep is object:
        raise missing_package("fasttext_app.scoring.datatrove", "datatrove", "datatrove")
