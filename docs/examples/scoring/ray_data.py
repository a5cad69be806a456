"""Score a folder of Parquet files with Ray Data.

    pip install -c constraints.txt '.[ray]'
    python docs/examples/scoring/ray_data.py MODEL INPUT OUTPUT

On a cluster, MODEL, INPUT and OUTPUT are paths that every machine can read: a shared disk, or s3://
for INPUT and OUTPUT. MODEL may also be the id of a model of the Hugging Face hub. RAY_ADDRESS names
the cluster; without it, Ray starts on this machine.
"""

import sys

import ray

from fasttext_app.scoring import Scorer
from fasttext_app.scoring.ray import score_dataset


def main(model: str, source: str, target: str) -> None:
    """Score the files of ``source``, and write as many files to ``target``."""
    ray.init(include_dashboard=False, log_to_driver=False)
    scorer = Scorer(model, nulls="null")
    pages = ray.data.read_parquet(source)

    # Tasks, which Ray fuses with those that read: no rows travel between processes. A task whose
    # worker dies runs again.
    score_dataset(pages, scorer).write_parquet(target)

    # The same with a pool of actors. Give it less than all cores, or nothing is left to read with:
    #
    #   pages.map_batches(
    #       Scorer,
    #       fn_constructor_args=(model,),
    #       fn_constructor_kwargs={"nulls": "null"},
    #       batch_format="pyarrow",
    #       concurrency=2,
    #       num_cpus=0.5,
    #   )
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
