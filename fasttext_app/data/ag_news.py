r"""AG_NEWS, the benchmark of news in four classes, from local files or from the hub.

The files are from Zhang, Zhao and LeCun (2015), "Character-level Convolutional Networks for Text
Classification": CSV without a header, ``"class 1-4","title","description"``. They write a line
break in a text as a backslash, with or without an ``n`` after it. Nearly every ``\n`` in them is a
bare backslash before a word that begins with n (``\nuclear``), so the ``n`` is dropped only if no
lower-case letter follows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import compute as pc
from fasttext_app.core.arrow import rows_containing, string_array, to_arrow
from fasttext_app.data.bad_rows import BadRows, Locate
from fasttext_app.data.byte_stream import FilePiece
from fasttext_app.data.csv import CsvFile
from fasttext_app.data.hub import dataset_source
from fasttext_app.data.lines import Survey, file_pieces
from fasttext_app.data.source import (
    Batches,
    Part,
    PieceScan,
    Scan,
    Source,
    file_state,
    unchanged,
)
from fasttext_app.errors import DataError

CLASSES = ("World", "Sports", "Business", "Sci/Tech")
HUB_ID = "fancyzhx/ag_news"


def ag_news_source(config: DataConfig, bad_rows: BadRows) -> Source:
    """Find AG_NEWS in ``$FASTTEXT_APP_DATA/ag_news``, in ``data/ag_news``, or on the hub.

    Raises:
        DataError: the data is in none of these places; the message lists them.
    """
    folder = find_folder()
    if folder is not None:
        csv_config = DataConfig(
            header=False, text_columns=("2", "3"), label_column="1", **_on_bad_rows(config)
        )
        scans: dict[str, Scan] = {
            split: _AgNewsScan(CsvFile(folder / f"{split}.csv", csv_config, ","), bad_rows)
            for split in ("train", "test")
            if (folder / f"{split}.csv").is_file()
        }
        return Source("ag_news", scans, CLASSES)
    hub_config = DataConfig(**_on_bad_rows(config))
    try:
        source = dataset_source(HUB_ID, hub_config, bad_rows)
    except DataError as error:
        raise DataError(
            "ag_news: the data was not found. Put train.csv and test.csv in their original form in "
            "data/ag_news/, or in ag_news/ under the folder that $FASTTEXT_APP_DATA names, "
            f"or pass --data PATH, or connect to the hub ({error})"
        ) from None
    return Source("ag_news", source.scans, source.label_names)


def _on_bad_rows(config: DataConfig) -> dict[str, Any]:
    return {"errors": config.errors, "skip_bad": config.skip_bad}


def find_folder() -> Path | None:
    """Return the folder with the original CSV files, if there is one."""
    data_folder = os.environ.get("FASTTEXT_APP_DATA")
    folders = [Path(data_folder) / "ag_news"] if data_folder else []
    for folder in [*folders, Path("data") / "ag_news"]:
        if (folder / "train.csv").is_file() or (folder / "test.csv").is_file():
            return folder
    return None


@dataclass(frozen=True)
class _AgNewsScan:
    """Reads one file, or a piece of it."""

    file: CsvFile
    bad_rows: BadRows

    def __call__(self, with_labels: bool) -> Batches:
        file, rows = self.file, 0
        scanned = file.scan(with_labels, self.bad_rows.begin(file.path))
        for batch in unchanged(Path(str(file.path)), scanned):
            columns = {"text": _line_breaks_to_spaces(batch.column("text"))}
            if with_labels:
                columns["label"] = _class_names(batch.column("label"), partial(file.locate, rows))
            yield pa.record_batch(columns)
            rows += len(batch)

    def survey(self, number: int, count: int) -> Survey:
        """Find out where a share of the file can be cut."""
        return self.file.survey(number, count)

    def pieces(self, surveys: Sequence[Survey]) -> list[Part]:
        """Return pieces of the file; none if it can only be read whole."""
        path = Path(str(self.file.path))
        before = file_state(path)

        def part(piece: FilePiece) -> Part:
            read = replace(self, file=replace(self.file, path=piece))
            return Part(piece.size, PieceScan(path, before, read, self))

        return [*map(part, file_pieces(path, surveys))]


def _class_names(numbers: pa.StringArray, locate: Locate) -> pa.StringArray:
    known = string_array([str(number) for number in range(1, len(CLASSES) + 1)])
    classes = pc.index_in(numbers, value_set=known)
    if classes.null_count:
        row = pc.index(classes.is_null(), True).as_py()
        raise DataError(
            f"{locate(row)}: class {numbers[row].as_py()!r} is not one of 1 to {len(CLASSES)}"
        )
    return pc.take(string_array(CLASSES), classes)


def _line_breaks_to_spaces(texts: pa.StringArray) -> pa.StringArray:
    """Turn each line break into a space, and trim the texts as ``to_examples`` did."""
    has_backslash = rows_containing(texts, "\\")  # few texts have one, and patterns are slow
    if not has_backslash.any():
        return texts
    mask = to_arrow(has_backslash)
    broken = texts.filter(mask)
    broken = pc.replace_substring_regex(broken, r"(?:\\n)+([^a-z]|$)", r" \1")
    joined = pc.utf8_trim_whitespace(pc.replace_substring(broken, "\\", " "))
    return pc.replace_with_mask(texts, mask, joined)
