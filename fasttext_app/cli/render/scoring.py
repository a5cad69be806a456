"""The progress and the summary of ``score``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fasttext_app.cli.render.console import Text, new_table, on_a_screen, out, pairs_table, say_rest
from fasttext_app.cli.render.progress import LiveBar
from fasttext_app.core.sizes import format_size

if TYPE_CHECKING:
    from fasttext_app.scoring.job import JobProgress, Summary


class JobBar(LiveBar):
    """A bar with the files and rows that are scored, of each pass."""

    def follow(self, progress: JobProgress) -> None:
        """Show the progress of a pass."""
        from rich.progress import BarColumn, TimeRemainingColumn

        if self.progress is None:
            self._start = time.monotonic()
        seconds = max(time.monotonic() - self._start, 1e-3)
        fields = {
            "name": progress.name,
            "done": f"{progress.finished_files:,} of {progress.files:,} files, "
            f"{format_size(progress.scored_bytes)} of {format_size(progress.bytes)}, "
            f"{progress.rows:,} rows  {progress.rows / seconds:,.0f} rows/s",
        }
        if self.progress is None:
            columns = "{task.fields[name]}", BarColumn(20), "{task.fields[done]}"
            self.start(*columns, TimeRemainingColumn(), total=progress.bytes, **fields)
        self.update(progress.scored_bytes, total=progress.bytes, **fields)


def show_summary(summary: Summary) -> None:
    """Show what a job did: files, rows, the rows of each label, and the threshold of a share."""
    document = summary.document()
    values = {
        "files": f"{document['files']:,}: {document['scored']:,} scored, "
        f"{document['unchanged']:,} unchanged, {len(document['failed']):,} failed",
        "rows": document["rows"],
        "rows written": document["written"],
        "bad rows skipped": document["skipped"],
        "seconds": round(summary.seconds, 2),
    }
    if summary.cut is not None:
        values["threshold"] = repr(summary.cut["threshold"])
        values["rows that reach it"] = summary.cut["kept"]
    out.print(pairs_table("Scored", values))
    if document["labels"]:
        table = new_table("Labels", "label", "rows", numeric=("rows",))
        labels = list(document["labels"].items())
        for label, rows in on_a_screen(labels, show_all=False):
            table.add_row(Text(label), f"{rows:,}")
        out.print(table)
        say_rest(labels, "labels", show_all=False, option="--json")
