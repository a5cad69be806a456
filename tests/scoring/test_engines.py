"""Real engines: each program of the documentation, and ``score`` with workers that are killed.

An engine that is not installed is skipped. Each runs in a process of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import fasttext_app as ft
from tests.helpers import ROOT, contents
from tests.scoring.conftest import write_pages

pytestmark = pytest.mark.slow

PROGRAMS = {
    "ray_data.py": "ray",
    "spark.py": "pyspark",
    "polars_frames.py": "polars",
    "duckdb_sql.py": "duckdb",
    "datatrove_pipeline.py": "datatrove",
    "datasets_map.py": "datasets",
}
LIBRARIES = {"ray": "ray", "spark": "pyspark"}
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}

KILLED = """
import os, signal, sys
from pathlib import Path
from fasttext_app.config.schema import DataConfig
from fasttext_app.core import meter
from fasttext_app.scoring import Scorer
from fasttext_app.scoring.files import FileScorer
from fasttext_app.scoring.job import engine, plan, score_files

class Dying(FileScorer):
    def __call__(self, task, report=lambda progress: None):
        died = self.folder.parent / "died"
        if task.input.endswith("b.parquet") and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(task, report)

if __name__ == "__main__":
    name, model, pages, output = sys.argv[1:]
    meter.follow = lambda batches: sys.exit("this process reads, or a worker shows what it reads")
    data = DataConfig(keep="all", nulls="null")
    work = Dying.for_data(Scorer(model, "text"), data, Path(output))
    summary = score_files(work, plan([pages], Path(output), data), engine(name), 2)
    assert not summary.failed, summary.failed
    assert (Path(output).parent / "died").exists()
"""


def run(*command: object, timeout: float = 300, **options: Any) -> None:
    """Run a Python program."""
    environment = ENVIRONMENT | options.pop("env", {})
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def score_command(model: Path, source: Path, target: Path, *options: object) -> list[str]:
    command = ["-m", "fasttext_app", "score", model, source, "-o", target, "--nulls", "null"]
    return [*map(str, [*command, *options])]


def expected_rows(model: Path, pages: Path) -> list[dict[str, Any]]:
    """Return all pages with what ``predict`` says of them, by their ids."""
    files = sorted(pages.rglob("*.parquet"))
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    predictions = ft.load(model).predict([row["text"] for row in rows], nulls="null")
    for row, p in zip(rows, predictions, strict=True):
        row |= {"label": p and p.labels[0], "probability": p and p.probabilities[0]}
    return sorted(rows, key=lambda row: row["id"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_documentation_adds_what_predict_says(
    program, model_path, pages, tmp_path
):
    if find_spec(PROGRAMS[program]) is None:
        pytest.skip(f"{PROGRAMS[program]} is not installed")
    (pages / "sub" / "c.parquet").rename(pages / "c.parquet")
    (pages / "sub").rmdir()
    target = tmp_path / "out"
    cache = {"HF_DATASETS_CACHE": str(tmp_path / "cache")}
    run(ROOT / "docs" / "examples" / "scoring" / program, model_path, pages, target, env=cache)
    rows = [row for path in target.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    expected = expected_rows(model_path, pages)
    if program == "datatrove_pipeline.py":  # documents have other columns
        names = ("text", "label", "probability")
        texts = [row for row in expected if row["text"]]  # its reader drops empty documents
        answers = [(row["text"], *(row["metadata"][n] for n in names[1:])) for row in rows]
        assert sorted(answers) == sorted(tuple(row[n] for n in names) for row in texts)
    else:
        assert sorted(rows, key=lambda row: row["id"]) == expected


def test_the_filter_of_datatrove_keeps_the_documents_of_a_label(model_path, pages, tmp_path):
    pytest.importorskip("datatrove")
    program = ROOT / "docs" / "examples" / "scoring" / "datatrove_pipeline.py"
    for path in pages.rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.filter(table["text"].is_valid()), path)
    run(program, model_path, pages, tmp_path / "out", "good", "0.5")
    files = (tmp_path / "out").glob("*.parquet")
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    texts = [row["text"] for row in expected_rows(model_path, pages)]
    proba = ft.load(model_path).predict_proba(texts)[:, ft.load(model_path).labels.index("good")]
    kept = [text for text, p in zip(texts, proba, strict=True) if p >= 0.5]
    assert 0 < len(kept) < len(texts)
    assert sorted(row["text"] for row in rows) == sorted(kept)


@pytest.fixture
def scored_here(model_path, pages, tmp_path) -> dict[str, bytes | None]:
    """The outputs of a job in one process, without its manifest."""
    run(*score_command(model_path, pages, tmp_path / "here", "--workers", 1))
    return outputs(tmp_path / "here")


def outputs(folder: Path) -> dict[str, bytes | None]:
    return {name: data for name, data in contents(folder).items() if "manifest" not in name}


@pytest.mark.parametrize("engine", ["local", "ray", "spark"])
def test_a_killed_worker_changes_nothing(engine, scored_here, model_path, pages, tmp_path):
    if engine in LIBRARIES:
        pytest.importorskip(LIBRARIES[engine])
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    run(program, engine, model_path, pages, tmp_path / "out")
    assert outputs(tmp_path / "out") == scored_here


def test_a_killed_job_goes_on_where_it_was(scored_here, model_path, pages, tmp_path):
    for number in range(4, 8):  # more to do
        write_pages(pages / f"{number}.parquet", range(number * 5000, number * 5000 + 5000))
    command = score_command(model_path, pages, tmp_path / "out", "--workers", 2)
    job = subprocess.Popen([sys.executable, *command], env=ENVIRONMENT, start_new_session=True)
    manifest = tmp_path / "out" / "_manifest.jsonl"
    while job.poll() is None and not finished_files(manifest):
        time.sleep(0.01)
    job.kill()
    job.wait()
    deadline = time.monotonic() + 30
    while _session_lives(job.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _session_lives(job.pid)  # its workers have ended too
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    listed = finished_files(manifest)
    assert 0 < listed <= len(finished)
    run(*command)
    unchanged = [p for p, changed in finished.items() if p.stat().st_mtime_ns == changed]
    assert len(unchanged) >= listed
    assert not list((tmp_path / "out").rglob(".*.partial"))
    after = outputs(tmp_path / "out")
    assert {name: after[name] for name in scored_here} == scored_here
    for name in pages.glob("[4-7].parquet"):
        assert pq.read_table(tmp_path / "out" / name.name).num_rows == 5000


def finished_files(manifest: Path) -> int:
    """Return how many finished files a manifest lists."""
    lines = manifest.read_bytes().splitlines() if manifest.exists() else []
    return sum(b"sha256" in line for line in lines)


def _session_lives(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_finished(number, model_path, pages, tmp_path):
    for part in range(4, 10):
        write_pages(pages / f"{part}.parquet", range(part * 9000, part * 9000 + 9000))
    command = score_command(model_path, pages, tmp_path / "out", "--workers", 2)
    job = subprocess.Popen(
        [sys.executable, *command],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    manifest = tmp_path / "out" / "_manifest.jsonl"
    while job.poll() is None and not finished_files(manifest):
        time.sleep(0.01)
    (os.killpg if number == signal.SIGINT else os.kill)(job.pid, number)  # Ctrl-C goes to all
    _, shown = job.communicate(timeout=60)
    assert job.returncode == 128 + number
    assert "run the command again" in shown
    assert "Traceback" not in shown
    assert not list((tmp_path / "out").rglob(".*.partial"))
