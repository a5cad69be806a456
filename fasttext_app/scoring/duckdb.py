"""DuckDB: ``register`` makes a SQL function of a model, from a text to a struct."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fasttext_app.scoring.scorer import Scorer

TYPES = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.float64()): "DOUBLE[]",
}


def register(connection: Any, name: str, scorer: Scorer) -> None:
    """Add a function to a connection: ``SELECT name(text).label FROM ...``.

    Args:
        connection: a ``duckdb.DuckDBPyConnection``.
        name: the name of the function.
        scorer: the model and what to predict; what it says of columns has no meaning here.
    """
    struct = {field.name: TYPES[field.type] for field in scorer.schema}
    connection.create_function(
        name,
        scorer.structs,
        ["VARCHAR"],
        connection.struct_type(struct),
        type="arrow",
        null_handling="special",
    )
