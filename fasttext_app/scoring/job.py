"""Score files into a folder: the output of each file, passes over the files, and the summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from glob import has_magic
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrays import F64
from fasttext_app.core.checksummed_dir import sole_run
from fasttext_app.data.bad_rows import LISTED
from fasttext_app.data.byte_stream import without_compression
from fasttext_app.data.files import format_of, has_known_name
from fasttext_app.data.spec import STDIN, text_files
from fasttext_app.errors import DataError, missing_package
from fasttext_app.inference.select import Cut, find_cut
from fasttext_app.scoring.files import (
    PROBABILITIES,
    Failed,
    FileScorer,
    FileTask,
    Finished,
    Outcome,
    Progress,
)
from fasttext_app.scoring.local import run_locally
from fasttext_app.scoring.manifest import Manifest, Record, totals

Run: TypeAlias = Callable[[FileScorer, Sequence[FileTask], int], Iterator[Outcome | Progress]]
"""An engine: scores files with a number of workers, and yields their outcomes in any order."""

OUTPUT_FORMATS = {"parquet": "parquet", "csv": "csv", "tsv": "csv"}
"""The format of an output by that of its input; else JSON lines."""
TRIES = 2
"""How often a file is tried in a run; the second time, when all others are finished."""
PROBABILITY_FOLDER = "_probabilities"


@dataclass
class JobProgress:
    """How far a pass over the files is."""

    name: str
    files: int
    bytes: int
    finished_files: int = 0
    finished_bytes: int = 0
    finished_rows: int = 0
    begun: dict[str, Progress] = field(default_factory=dict)
    """The files that are not finished, by output."""

    @property
    def rows(self) -> int:
        """The rows that are scored."""
        return self.finished_rows + sum(file.rows for file in self.begun.values())

    @property
    def scored_bytes(self) -> int:
        """The bytes that are scored."""
        return self.finished_bytes + sum(file.bytes for file in self.begun.values())

    def add(self, outcome: Outcome | Progress) -> None:
        """Count what a worker has done."""
        if isinstance(outcome, Progress):
            self.begun[outcome.output] = outcome
            return
        self.begun.pop(outcome.task.output, None)
        if isinstance(outcome, Finished):
            self.finished_files += 1
            self.finished_bytes += outcome.task.bytes
            self.finished_rows += 0 if outcome.unchanged else outcome.record.rows


Follow: TypeAlias = Callable[[JobProgress], None]


@dataclass
class Summary:
    """What a job did.

    Attributes:
        records: the finished files, by output.
        unchanged: how many of them an earlier run has scored.
        failed: the files that could not be scored.
        seconds: the time of the job.
        cut: the threshold that keeps the share, if one was asked for.
    """

    records: dict[str, Record] = field(default_factory=dict)
    unchanged: int = 0
    failed: list[Failed] = field(default_factory=list)
    seconds: float = 0.0
    cut: Cut | None = None

    def skipped_rows(self) -> tuple[int, list[str]]:
        """Return how many rows cannot be read, and what is wrong with the first of them."""
        records = self.records.values()
        problems = [problem for record in records for problem in record.problems]
        return sum(record.skipped for record in records), problems[:LISTED]

    def document(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        records = self.records.values()
        document: dict[str, Any] = {
            "files": len(records) + len(self.failed),
            "scored": len(records) - self.unchanged,
            "unchanged": self.unchanged,
            "failed": [{"input": f.task.input, "error": str(f)} for f in self.failed],
            "rows": sum(record.rows for record in records),
            "written": sum(record.written for record in records),
            "skipped": self.skipped_rows()[0],
            "labels": totals(self.records),
            "seconds": round(self.seconds, 3),
        }
        return document if self.cut is None else document | {"cut": dict(self.cut)}


def plan(
    specs: Sequence[str], folder: Path, data: DataConfig, form: str | None = None
) -> list[FileTask]:
    """Return the files to score, with the output of each.

    An output has the path that its input has below the folder, or the fixed part of the glob, that
    names it.

    Args:
        specs: files, folders and globs.
        folder: the folder of the outputs; files in it are no inputs.
        data: how files are read.
        form: the format of the outputs; None: as the input.

    Raises:
        DataError: there is no such file, or two have the same output.
    """
    tasks: dict[str, FileTask] = {}
    for spec in specs:
        if spec == STDIN:
            raise DataError("-: standard input is not a file; use predict for it")
        base = _base(spec)
        for path in text_files(spec):
            if folder.resolve() in path.resolve().parents:
                continue
            output_form = form or OUTPUT_FORMATS.get(format_of(path, data), "jsonl")
            output = _output_name(path.relative_to(base), output_form)
            task = FileTask(str(path.absolute()), output, output_form, path.stat().st_size)
            other = tasks.setdefault(output, task)
            if Path(other.input).resolve() != path.resolve():
                raise DataError(
                    f"{path} and {other.input}: both would be written to {folder / output}; "
                    "score them in two runs, to two folders"
                )
    if not tasks:
        raise DataError(f"{', '.join(specs)}: there are no files except in {folder}")
    return list(tasks.values())


def _base(spec: str) -> Path:
    """Return the folder that the outputs of a SPEC are relative to."""
    path = Path(spec)
    if path.is_dir():
        return path
    base = path.parent
    while not path.exists() and has_magic(str(base)):
        base = base.parent
    return base


def _output_name(path: Path, form: str) -> str:
    name = path.with_name(without_compression(path.name))
    name = name.with_suffix("") if has_known_name(path) else name
    return f"{name}.{form}"


def score_files(
    work: FileScorer,
    tasks: Sequence[FileTask],
    run: Run = run_locally,
    workers: int = 1,
    *,
    keep_share: float | None = None,
    follow: Follow = lambda progress: None,
) -> Summary:
    """Score files, but for those that an earlier run of the same job has scored.

    Args:
        work: the model and the settings.
        tasks: the files, from :func:`plan`.
        run: the engine.
        workers: how many files are scored at a time.
        keep_share: the share of the rows, those with the largest probabilities of the scorer's
            label, that reach the threshold, which a first pass over all files finds; None: the
            threshold is the scorer's.
        follow: is told of the progress.

    Raises:
        ArtifactError: another run is writing to the folder.
        DataError: the folder cannot be written, or has other files under the names of outputs; or
            the first pass failed for a file.
    """
    start = time.monotonic()
    try:
        work.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{work.folder}: cannot be created: {error.strerror or error}") from None
    with sole_run(work.folder):
        manifest = Manifest(work.folder)
        _refuse_other_files(work.folder, tasks, manifest)
        manifest.plan(task.output for task in tasks)
        summary = Summary()
        if keep_share is not None:
            work, tasks, summary.cut = _cut(work, tasks, run, workers, keep_share, manifest, follow)
        _run_pass("scoring", work, tasks, run, workers, manifest, summary, follow)
    summary.seconds = time.monotonic() - start
    return summary


def _refuse_other_files(folder: Path, tasks: Sequence[FileTask], manifest: Manifest) -> None:
    for task in tasks:
        path = folder / task.output
        if path.exists() and task.output not in manifest.planned:
            raise DataError(
                f"{path}: already exists, and was not written by score; choose another --output"
            )


def _run_pass(
    name: str,
    work: FileScorer,
    tasks: Sequence[FileTask],
    run: Run,
    workers: int,
    manifest: Manifest,
    summary: Summary,
    follow: Follow,
) -> None:
    """Score files; those that fail are tried again when the others are finished."""
    progress = JobProgress(name, len(tasks), sum(task.bytes for task in tasks))
    for _ in range(TRIES):
        summary.failed = []
        unfinished = [
            replace(task, finished=manifest.records.get(task.output))
            for task in tasks
            if task.output not in summary.records
        ]
        for outcome in run(work, unfinished, workers) if unfinished else ():
            progress.add(outcome)
            if isinstance(outcome, Failed):
                summary.failed.append(outcome)
            elif isinstance(outcome, Finished):
                _finish(outcome, manifest, summary)
            follow(progress)


def _finish(outcome: Finished, manifest: Manifest, summary: Summary) -> None:
    record = outcome.record
    summary.records[record.output] = record
    summary.unchanged += outcome.unchanged
    if not outcome.unchanged:
        manifest.add(record)


def _cut(
    work: FileScorer,
    tasks: Sequence[FileTask],
    run: Run,
    workers: int,
    share: float,
    manifest: Manifest,
    follow: Follow,
) -> tuple[FileScorer, list[FileTask], Cut]:
    """Find the threshold that keeps a share; return the second pass, which scores nothing again."""
    nothing_kept = work.data.model_copy(update={"keep": ()})
    first = replace(work, data=nothing_kept, keep_text=False, only_labeled=False)
    passes = [
        replace(task, output=f"{PROBABILITY_FOLDER}/{task.output}.f64", form=PROBABILITIES)
        for task in tasks
    ]
    found = Summary()
    _run_pass("finding the threshold", first, passes, run, workers, manifest, found, follow)
    if found.failed:
        raise DataError(
            f"{len(found.failed)} of {len(tasks)} files cannot be read, so no threshold keeps a "
            f"share of all; the first: {found.failed[0]}"
        )

    def parts() -> Iterator[F64]:
        for task in passes:
            values = np.fromfile(work.folder / task.output)
            yield values[~np.isnan(values)]

    cut = find_cut(parts(), share)
    second = [
        replace(task, probabilities=found.records[part.output])
        for task, part in zip(tasks, passes, strict=True)
    ]
    return replace(work, scorer=work.scorer.changed(threshold=cut["threshold"])), second, cut


def engine(name: str) -> Run:
    """Return an engine by its name.

    Raises:
        MissingDependencyError: its library is not installed.
    """
    if name == "local":
        return run_locally
    package = {"ray": "ray", "spark": "pyspark"}[name]
    if find_spec(package) is None:
        raise missing_package(f"--engine {name}", package, name)
    if name == "ray":
        from fasttext_app.scoring.ray import run_on_ray

        return run_on_ray
    from fasttext_app.scoring.spark import run_on_spark

    return run_on_spark
