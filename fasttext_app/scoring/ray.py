"""Ray: ``score_dataset`` adds predictions to a ``ray.data.Dataset``; ``run_on_ray`` scores files.

A :class:`.Scorer` is also what ``Dataset.map_batches`` takes, as a class for a pool of actors or as
a function for tasks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from fasttext_app.scoring.files import Failed, FileScorer, FileTask, Outcome
from fasttext_app.scoring.scorer import Scorer

RETRIES = 3
"""How often Ray runs a task again whose worker has died."""


def score_dataset(dataset: Any, scorer: Scorer, **options: Any) -> Any:
    """Return a dataset with predictions, in tasks that Ray fuses with those that read the rows.

    Args:
        dataset: a ``ray.data.Dataset``.
        scorer: the model and what to add.
        options: further arguments of ``Dataset.map_batches``, such as ``num_cpus`` and ``memory``.
    """

    def score(table: Any) -> Any:  # Ray takes a function or a class, not an object
        return scorer(table)

    return dataset.map_batches(score, **{"batch_format": "pyarrow", "batch_size": None} | options)


def run_on_ray(work: FileScorer, tasks: Sequence[FileTask], workers: int) -> Iterator[Outcome]:
    """Score files in tasks of Ray, ``workers`` at a time; Ray retries those whose worker dies.

    It runs on the cluster that ``RAY_ADDRESS`` or an earlier ``ray.init`` names, else on one that
    it starts on this machine, and ends.
    """
    import ray

    is_own = not ray.is_initialized()
    if is_own:
        is_given = "RAY_ADDRESS" in os.environ
        cluster = {} if is_given else {"address": "local", "num_cpus": workers}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error", **cluster)
    try:
        shared, running, waiting = ray.put(work), dict[Any, FileTask](), deque(tasks)
        score = ray.remote(max_retries=RETRIES)(_score)
        while waiting or running:
            while waiting and len(running) < workers:
                task = waiting.popleft()
                running[score.remote(shared, task)] = task
            for reference in ray.wait(list(running))[0]:
                task = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    problem = str(error).strip().splitlines()[0]
                    yield Failed(task, f"Ray gave up after {RETRIES} retries: {problem}")
    finally:
        if is_own:
            ray.shutdown()


def _score(work: FileScorer, task: FileTask) -> Outcome:
    return work(task)
