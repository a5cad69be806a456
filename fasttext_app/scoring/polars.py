"""Polars: ``expr`` is the prediction for a text column, as a struct."""

from __future__ import annotations

from typing import Any

from fasttext_app.scoring.scorer import Scorer


def expr(column: Any, scorer: Scorer) -> Any:
    """Return an expression of the struct of :attr:`.Scorer.schema`, also for a lazy frame.

    Args:
        column: the text column: a name or an expression.
        scorer: the model and what to predict; what it says of columns has no meaning here.
    """
    import polars as pl

    def score(texts: Any) -> Any:
        return pl.from_arrow(scorer.structs(texts.to_arrow()))

    texts = pl.col(column) if isinstance(column, str) else column
    added = pl.from_arrow(scorer.schema.empty_table())
    assert isinstance(added, pl.DataFrame)
    return texts.map_batches(score, return_dtype=pl.Struct(added.schema), is_elementwise=True)
