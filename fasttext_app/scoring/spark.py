"""Spark: ``score_frame`` adds predictions to a ``pyspark.sql.DataFrame`` with ``mapInArrow``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pyarrow as pa

from fasttext_app.scoring.scorer import Scorer

MapBatches: TypeAlias = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def score_frame(frame: Any, scorer: Scorer) -> Any:
    """Return a frame with predictions, partition by partition.

    Args:
        frame: a ``pyspark.sql.DataFrame``.
        scorer: the model and what to add.

    Raises:
        DataError: the frame lacks a column to keep, or has one that would be added.
    """
    return frame.mapInArrow(map_in_arrow(scorer), output_schema(frame.schema, scorer))


def map_in_arrow(scorer: Scorer) -> MapBatches:
    """Return the function for ``DataFrame.mapInArrow``."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return map(scorer, batches)

    return score


def output_schema(schema: Any, scorer: Scorer) -> Any:
    """Return the ``StructType`` of a scored frame, given that of the frame.

    Raises:
        DataError: as for :func:`score_frame`.
    """
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructType

    kept = [schema[name] for name in scorer.kept(schema.names)]
    return StructType([*kept, *from_arrow_schema(scorer.schema).fields])
