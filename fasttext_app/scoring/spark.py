"""Spark: ``score_frame`` adds predictions to a ``DataFrame``; ``run_on_spark`` scores files."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from fasttext_app.scoring.files import Failed, FileScorer, FileTask, Outcome
from fasttext_app.scoring.scorer import Scorer

RETRIES = 3
"""How often Spark on this machine runs a task again whose worker has died."""
POLL_SECONDS = 0.2
"""How often the outcomes that have arrived are looked for."""

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


class _Concatenated:
    """An ``AccumulatorParam``: a list on the driver that grows as tasks end."""

    def zero(self, value: list[Outcome]) -> list[Outcome]:
        """Return the list that a task begins with."""
        return []

    def addInPlace(self, value: list[Outcome], more: list[Outcome]) -> list[Outcome]:  # noqa: N802
        """Append the second list to the first, and return it."""
        value += more
        return value


def run_on_spark(work: FileScorer, tasks: Sequence[FileTask], workers: int) -> Iterator[Outcome]:
    """Score files in tasks of Spark, one for each; Spark retries those whose worker dies.

    It runs on the cluster of an active session, or that ``PYSPARK_SUBMIT_ARGS`` names, else on this
    machine.
    """
    from pyspark import SparkConf, SparkContext

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf, is_own = SparkConf(), SparkContext._active_spark_context is None
    if is_own and "PYSPARK_SUBMIT_ARGS" not in os.environ:
        conf.setMaster(f"local[{workers},{RETRIES + 1}]")
        conf.set("spark.ui.enabled", "false").set("spark.ui.showConsoleProgress", "false")
    context = SparkContext.getOrCreate(conf.setAppName("fasttext-app score"))
    try:
        outcomes = context.accumulator([], _Concatenated())
        yield from _score_on(context, work, tasks, outcomes)
    finally:
        if is_own:
            context.stop()


def _score_on(
    context: Any, work: FileScorer, tasks: Sequence[FileTask], outcomes: Any
) -> Iterator[Outcome]:
    """Score files on a Spark context; yield what arrives in an accumulator."""
    files, problems = context.parallelize(tasks, len(tasks)), list[str]()

    def run() -> None:
        try:
            files.foreach(lambda task: outcomes.add([work(task)]))
        except Exception as error:  # noqa: BLE001 - Spark's, for the files without an outcome
            problems.append(str(error).strip().splitlines()[0])

    job, unscored = threading.Thread(target=run, daemon=True), {task.output: task for task in tasks}
    job.start()
    seen, is_running = 0, True
    while is_running:
        job.join(POLL_SECONDS)
        is_running = job.is_alive()
        for outcome in outcomes.value[seen:]:
            seen += 1
            unscored.pop(outcome.task.output, None)
            yield outcome
    for task in unscored.values():
        yield Failed(task, f"Spark gave up: {problems[0] if problems else 'it has no result'}")
