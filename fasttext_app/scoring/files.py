"""One file in, one file of predictions out: what a worker does, in whatever engine it runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core import meter
from fasttext_app.core.arrow import to_arrow, to_numpy
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.core.digest import file_digest
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.files import scan_files
from fasttext_app.errors import DataError, FastTextAppError
from fasttext_app.foreign_text import for_terminal
from fasttext_app.inference.writers import write_table
from fasttext_app.scoring.manifest import Record
from fasttext_app.scoring.scorer import Scorer, label_columns

PROBABILITIES = "probabilities"
"""The format of one column of 64-bit floats, with NaN for a missing text."""
NAN = to_arrow(np.array([np.nan]))[0]


@dataclass(frozen=True)
class FileTask:
    """A file to score.

    Attributes:
        input: the file.
        output: the path of its output in the folder of the job.
        form: the format of the output.
        bytes: the size of the input when the job was planned.
        finished: what the manifest says of the output; None: nothing.
        probabilities: the probabilities that an earlier pass has found; None: score the rows.
    """

    input: str
    output: str
    form: str
    bytes: int
    finished: Record | None = None
    probabilities: Record | None = None


@dataclass(frozen=True)
class Finished:
    """A file that is scored."""

    task: FileTask
    record: Record
    unchanged: bool = False
    """Whether an earlier run has scored it."""


@dataclass(frozen=True)
class Failed:
    """A file that could not be scored; ``str()`` of one names the file and says why."""

    task: FileTask
    problem: str
    """Errors about the content of a file name it, and often the line; others do not."""

    def __str__(self) -> str:
        file, problem = for_terminal(self.task.input), for_terminal(self.problem)
        is_named = problem.startswith((f"{file}:", f"{file}, row"))
        return problem if is_named else f"{file}: {problem}"


@dataclass(frozen=True)
class Progress:
    """How much is scored of a file that is not finished."""

    output: str
    rows: int
    bytes: int
    """Bytes of the input."""


Outcome: TypeAlias = Finished | Failed
Report: TypeAlias = Callable[[Progress], None]
"""A function that is told how far a file is."""


@dataclass(frozen=True)
class FileScorer:
    """Scores one file at a time; small to pickle.

    Attributes:
        scorer: the model, and what to add.
        data: how files are read, and which columns are kept.
        folder: the folder of the outputs.
        keep_text: whether to keep the text.
        only_labeled: whether to write only the rows that have a label.
        safe_csv: whether to guard cells of CSV that a spreadsheet would run as formulas.
    """

    scorer: Scorer
    data: DataConfig
    folder: Path
    keep_text: bool = True
    only_labeled: bool = False
    safe_csv: bool = False

    @classmethod
    def for_data(
        cls, scorer: Scorer, data: DataConfig, folder: Path, **settings: bool
    ) -> FileScorer:
        """Return what scores files that are read with these settings."""
        keep, keep_text = data.keep, False
        if len(data.text_columns) == 1:
            keep_text = keep == "all" or data.text_columns[0] in keep
        if keep != "all":
            keep = tuple(name for name in keep if (name,) != data.text_columns)
        # The reader leaves missing texts to the scorer, but for errors, which it can locate.
        nulls = "error" if data.nulls == "error" else "null"
        reading = data.model_copy(update={"keep": keep, "nulls": nulls})
        scorer = scorer.changed(nulls=data.nulls)
        return cls(scorer, reading, folder, keep_text=keep_text, **settings)

    @cached_property
    def settings(self) -> str:
        """The digest of what the outputs depend on, apart from the inputs."""
        scorer = self.scorer
        document = {
            "model": scorer.digest,
            "scorer": [scorer.top_k, scorer.threshold, scorer.label, scorer.nulls],
            "data": self.data.model_dump(mode="json", exclude={"source"}),
            "rows": [self.keep_text, self.only_labeled, self.safe_csv],
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def __call__(self, task: FileTask, report: Report = lambda progress: None) -> Outcome:
        """Score a file, unless it is scored already; an error is an outcome too."""
        try:
            return self._score(task, report)
        except FastTextAppError as error:
            return Failed(task, str(error))
        except MemoryError:
            return Failed(task, "not enough memory")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return Failed(task, f"{where}{error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - one bad file does not end the job
            return Failed(task, f"{type(error).__name__}: {error}")

    def _score(self, task: FileTask, report: Report) -> Finished:
        source, target = Path(task.input), self.folder / task.output
        size, digest = _identity(source)
        finished = task.finished
        if finished is not None and (finished.bytes, finished.sha256) == (size, digest):
            with suppress(DataError):
                output = finished.output_bytes, finished.output_sha256
                if finished.settings == self.settings and _identity(target) == output:
                    return Finished(task, finished, unchanged=True)
        if task.probabilities is not None and task.probabilities.sha256 != digest:
            raise DataError(f"{source}: has changed while the job ran; run it again")
        bad_rows, counts, rows = BadRows(self.data.skip_bad), Counter[str](), 0

        def scored() -> Iterator[pa.RecordBatch]:
            nonlocal rows
            for batch, answers in self._answers(task, bad_rows):
                counts.update(_label_counts(answers))
                rows += len(batch)
                report(Progress(task.output, rows, meter.current.position if meter.current else 0))
                yield self._output_rows(batch, answers)

        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target, DataError) as partial:
            written = self._write(scored(), partial, task.form)
        output_size, output_digest = _identity(target)
        return Finished(
            task,
            Record(
                input=task.input,
                bytes=size,
                sha256=digest,
                settings=self.settings,
                output=task.output,
                output_bytes=output_size,
                output_sha256=output_digest,
                rows=rows,
                written=written,
                skipped=bad_rows.count,
                problems=bad_rows.problems,
                labels=dict(counts),
            ),
        )

    def _answers(
        self, task: FileTask, bad_rows: BadRows
    ) -> Iterator[tuple[pa.RecordBatch, pa.Table]]:
        """Yield the rows of a file with their predictions."""
        batches = meter.followed(scan_files([Path(task.input)], self.data, False, bad_rows))
        if task.probabilities is None:
            for batch in batches:
                yield batch, self.scorer.answers(batch)
            return
        values, start = np.fromfile(self.folder / task.probabilities.output), 0
        for batch in batches:
            part = values[start : start + len(batch)]
            missing = to_arrow(np.isnan(part))
            reaches = part >= float(self.scorer.threshold)
            columns = label_columns(self.scorer, part, reaches, missing)
            yield batch, pa.table(columns, self.scorer.schema)
            start += len(batch)

    def _output_rows(self, batch: pa.RecordBatch, answers: pa.Table) -> pa.RecordBatch:
        (text, *columns), (_, *names) = batch.columns, batch.schema.names
        if self.keep_text:
            columns, names = [*columns, text], [*names, *self.data.text_columns]
        columns += [column.combine_chunks() for column in answers.columns]
        output = pa.RecordBatch.from_arrays(columns, [*names, *answers.column_names])
        if self.only_labeled:
            return output.filter(output.column(answers.column_names[0]).is_valid())
        return output

    def _write(self, batches: Iterable[pa.RecordBatch], path: Path, form: str) -> int:
        if form == PROBABILITIES:
            return _write_probabilities(batches, path)
        text = [("text", pa.string())] if self.keep_text else []
        empty = pa.schema([*text, *self.scorer.schema])
        return write_table(batches, path, form, empty, safe_csv=self.safe_csv)


def _identity(path: Path) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.stat().st_size, file_digest(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _label_counts(answers: pa.Table) -> dict[str, int]:
    """Return how many rows have each label."""
    column = answers.column(0).combine_chunks()
    if pa.types.is_list(column.type):
        column = column.flatten()
    counts = column.drop_null().value_counts()
    return dict(
        zip(*(counts.field(name).to_pylist() for name in ("values", "counts")), strict=True)
    )


def _write_probabilities(batches: Iterable[pa.RecordBatch], path: Path) -> int:
    rows = 0
    with path.open("wb") as file:
        for batch in batches:
            column = batch.column(batch.num_columns - 1).fill_null(NAN)
            file.write(to_numpy(column).tobytes())
            rows += len(batch)
    return rows
