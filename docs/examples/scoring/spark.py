"""Score a folder of Parquet files with Spark.

    pip install -c constraints.txt '.[spark]'          # and Java 17
    python docs/examples/scoring/spark.py MODEL INPUT OUTPUT [MASTER]

On a cluster, such as the MASTER spark://host:7077, MODEL is a path that every machine can read, or
the id of a model of the Hugging Face hub, and the Python of the executors has fasttext_app.
"""

import os
import sys

from pyspark.sql import SparkSession

from fasttext_app.scoring import Scorer
from fasttext_app.scoring.spark import score_frame


def main(model: str, source: str, target: str, master: str = "local[2,4]") -> None:
    """Score the files of ``source``, and write as many files to ``target``."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run this Python
    spark = (
        SparkSession.builder.master(master)  # by default two workers here, four tries for each task
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "16384")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    pages = spark.read.parquet(source)
    score_frame(pages, Scorer(model, nulls="null")).write.mode("overwrite").parquet(target)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
