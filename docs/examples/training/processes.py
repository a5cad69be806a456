"""Train one model on all processes that torchrun starts, from Python.

    torchrun --standalone --nproc-per-node 2 docs/examples/training/processes.py SPEC OUTPUT

SPEC names the data, and OUTPUT is the model directory. Each process has some columns of the table,
and ``train`` returns the same model in all of them.
"""

import os
import sys

import fasttext_app as ft


def main(spec: str, output: str) -> None:
    """Train on the data of ``spec``, and write the model to ``output``."""
    model = ft.train(spec, shard="columns")
    if os.environ.get("RANK", "0") == "0":  # one process writes
        model.save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
