"""Score a folder of Parquet files in SQL, with DuckDB.

pip install -c constraints.txt '.[duckdb]'
python docs/examples/scoring/duckdb_sql.py MODEL INPUT OUTPUT
"""

import sys
from pathlib import Path

import duckdb

from fasttext_app.scoring import Scorer
from fasttext_app.scoring.duckdb import register


def main(model: str, source: str, target: str) -> None:
    """Score the files of ``source`` into one file in ``target``."""
    Path(target).mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    register(connection, "classify", Scorer(model, nulls="null"))
    connection.sql(
        f"""
        COPY (
            SELECT * EXCLUDE answer, answer.label, answer.probability
            FROM (SELECT *, classify(text) AS answer FROM '{source}/*.parquet')
        ) TO '{target}/scored.parquet'
        """
    )
    for label, pages in connection.sql(
        f"SELECT label, count(*) FROM '{target}/scored.parquet' GROUP BY label ORDER BY 2 DESC"
    ).fetchall():
        print(f"{pages:8,}  {label}")


if __name__ == "__main__":
    main(*sys.argv[1:])
