"""Workers on one machine share the table of their model."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fasttext_app.core.arrow import string_array
from fasttext_app.data.labels import Labels
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import save_artifact
from fasttext_app.scoring import Scorer
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import make_config

ROWS, SMALL, LARGE = 20_000, 2, 1000
WORKER = """
import pickle, sys
scorer = pickle.loads(bytes.fromhex(sys.argv[1]))
scorer.predictor.warm_up()
scorer({"text": [f"w{number}" for number in range(20_000)]})
print("ready", flush=True)
sys.stdin.read()
"""


def make_model(path: Path, dim: int) -> None:
    generator = np.random.default_rng(0)
    words = string_array([f"w{number}" for number in range(ROWS)])
    artifact = Artifact(
        config=make_config(dim=dim, fold=False),
        vocabulary=Vocabulary(words, np.ones(ROWS, np.int64)),
        labels=Labels(("a", "b"), (1, 1)),
        tensors={
            "table": generator.random((ROWS, dim), np.float32),
            "weight": generator.random((2, dim), np.float32),
            "bias": np.zeros(2, np.float32),
        },
    )
    save_artifact(artifact, path)


def private_mb(pid: int) -> float:
    """Return the memory that only this process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) / 1000 for line in lines if line.startswith("Private_"))


def private_mb_of_second_worker(model: Path) -> float:
    pickled = pickle.dumps(Scorer(model)).hex()
    workers: list[subprocess.Popen[str]] = []
    try:
        for _ in range(2):
            worker = subprocess.Popen(
                [sys.executable, "-c", WORKER, pickled],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            workers.append(worker)
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        return private_mb(workers[1].pid)
    finally:
        for worker in workers:
            worker.communicate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_second_worker_adds_less_than_a_tenth_of_the_table(tmp_path):
    for dim in (SMALL, LARGE):
        make_model(tmp_path / str(dim), dim)
    # Each process has its interpreter, libraries and vocabulary, whatever the size of the table.
    small, large = (private_mb_of_second_worker(tmp_path / str(dim)) for dim in (SMALL, LARGE))
    assert large - small < (LARGE - SMALL) * ROWS * 4 / 1e6 / 10
