"""Processes that use one model share its table in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrow import string_array
from fasttext_app.data.labels import Labels
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import save_artifact
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import WORDS_ONLY

ROWS, DIM, PROCESSES = 400_000, 50, 4
WORKER = """
import sys
import fasttext_app as ft
model = ft.load(sys.argv[1]).warm_up()
model.predict([f"w{number}" for number in range(400_000)], top_k=1)
print("ready", flush=True)
sys.stdin.read()
"""


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process: a page that n share counts 1/n."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:"))


@pytest.mark.slow
def test_four_processes_hold_a_table_once(tmp_path):
    generator = np.random.default_rng(0)
    config: Config = resolve(flat_layer(WORDS_ONLY | {"dim": DIM, "fold": False}))
    artifact = Artifact(
        config=config,
        vocabulary=Vocabulary(
            string_array([f"w{number}" for number in range(ROWS)]), np.ones(ROWS, np.int64)
        ),
        labels=Labels(("a", "b"), (1, 1)),
        tensors={
            "table": generator.random((ROWS, DIM), np.float32),
            "weight": generator.random((2, DIM), np.float32),
            "bias": np.zeros(2, np.float32),
        },
    )
    save_artifact(artifact, tmp_path / "model")
    table_mb = ROWS * DIM * 4 / 1e6
    command = [sys.executable, "-c", WORKER, str(tmp_path / "model")]
    pipe = subprocess.PIPE
    totals = []
    for count in (1, PROCESSES):
        workers = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            totals.append(sum(pss_mb(worker.pid) for worker in workers))
        finally:
            for worker in workers:
                worker.communicate()
    # Each process adds its interpreter, libraries and vocabulary, but not the table.
    alone = totals[0] - table_mb
    assert totals[1] < PROCESSES * alone + 1.3 * table_mb
