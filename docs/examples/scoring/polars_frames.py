"""Score a folder of Parquet files with Polars, in constant memory.

pip install -c constraints.txt '.[polars]'
python docs/examples/scoring/polars_frames.py MODEL INPUT OUTPUT
"""

import sys
from pathlib import Path

import polars as pl

from fasttext_app.scoring import Scorer
from fasttext_app.scoring.polars import expr


def main(model: str, source: str, target: str) -> None:
    """Score the files of ``source`` into one file in ``target``."""
    Path(target).mkdir(parents=True, exist_ok=True)
    pages = pl.scan_parquet(f"{source}/*.parquet")
    answer = expr("text", Scorer(model, nulls="null")).alias("answer")
    scored = pages.with_columns(answer).unnest("answer")  # label and probability
    scored.sink_parquet(f"{target}/scored.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
