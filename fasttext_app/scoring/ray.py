"""Ray Data: ``score_dataset`` adds predictions to a ``ray.data.Dataset``.

A :class:`.Scorer` is also what ``Dataset.map_batches`` takes, as a class for a pool of actors or as
a function for tasks.
"""

from __future__ import annotations

from typing import Any

from fasttext_app.scoring.scorer import Scorer


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
