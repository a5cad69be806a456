"""Score a folder of Parquet files in a datatrove pipeline.

    pip install -c constraints.txt '.[datatrove]'
    python docs/examples/scoring/datatrove_pipeline.py MODEL INPUT OUTPUT [LABEL THRESHOLD]

With a label and a threshold, only the documents that reach it are written.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from fasttext_app.scoring import Scorer
from fasttext_app.scoring.datatrove import FastTextFilter, FastTextScore


def main(
    model: str, source: str, target: str, label: str | None = None, threshold: str = "0.5"
) -> None:
    """Score the documents of ``source``, or keep those of a label, and write them to ``target``."""
    if label is None:
        step = FastTextScore(Scorer(model, nulls="null"))
    else:
        step = FastTextFilter(Scorer(model, label=label, threshold=float(threshold)))
    LocalPipelineExecutor(
        pipeline=[ParquetReader(source), step, ParquetWriter(target, compression="snappy")],
        tasks=len(list(Path(source).glob("*.parquet"))),  # one for each file
        workers=2,
        logging_dir=f"{target}/_logs",
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
