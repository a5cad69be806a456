r"""AG_NEWS: the four-class news benchmark, wherever it is found.

The files are those of Zhang, Zhao and LeCun (2015), "Character-level Convolutional Networks for
Text Classification": CSV without a header, ``"class 1-4","title","description"``. They write a
line break inside a text as a backslash, with or without an ``n`` after it. Nearly every ``\n`` in
them is a bare backslash before a word in n- (``\nuclear``), so the ``n`` is dropped only where no
small letter follows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import rows_containing, string_array, to_arrow
from fasttext_app.data.csv import row_name, scan_delimited
from fasttext_app.data.hub import dataset_source
from fasttext_app.data.source import Batches, Source
from fasttext_app.errors import DataError

CLASSES = ("World", "Sports", "Business", "Sci/Tech")
HUB_ID = "fancyzhx/ag_news"


def ag_news_source(config: DataConfig) -> Source:
    """Find AG_NEWS: ``$FASTTEXT_APP_DATA/ag_news``, then ``data/ag_news``, then the hub.

    Raises:
        DataError: it is in none of these places; the message names them all.
    """
    folder = find_folder()
    if folder is not None:
        scans = {
            split: _AgNewsScan(folder / f"{split}.csv", config)
            for split in ("train", "test")
            if (folder / f"{split}.csv").is_file()
        }
        return Source("ag_news", scans, CLASSES)
    hub_config = DataConfig(text_columns=("text",), label_column="label", errors=config.errors)
    try:
        source = dataset_source(HUB_ID, hub_config)
    except DataError as error:
        raise DataError(
            "ag_news: the data is not here. Put train.csv and test.csv of the original CSV form in "
            "data/ag_news/, or in ag_news/ under the folder that $FASTTEXT_APP_DATA names, "
            f"or pass --data PATH, or connect to the hub ({error})"
        ) from None
    return Source("ag_news", source.scans, source.label_names)


def find_folder() -> Path | None:
    """Return the folder that holds the original CSV files, if there is one."""
    named = os.environ.get("FASTTEXT_APP_DATA")
    places = [Path(named) / "ag_news"] if named else []
    for folder in [*places, Path("data") / "ag_news"]:
        if (folder / "train.csv").is_file() or (folder / "test.csv").is_file():
            return folder
    return None


class _AgNewsScan:
    """Reads one of the original CSV files."""

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.path = path
        self.config = DataConfig(
            header=False, text_columns=("2", "3"), label_column="1", errors=config.errors
        )

    def __call__(self, labels: bool) -> Batches:
        rows = 0
        for batch in scan_delimited(self.path, self.config, labels=labels, delimiter=","):
            columns = {"text": _line_breaks_to_spaces(batch.column("text"))}
            if labels:
                named = partial(row_name, self.path, self.config, ",", rows)
                columns["label"] = _class_names(batch.column("label"), named)
            yield pa.record_batch(columns)
            rows += len(batch)


def _class_names(numbers: pa.StringArray, row_name: Callable[[int], str]) -> pa.StringArray:
    known = string_array([str(number) for number in range(1, len(CLASSES) + 1)])
    classes = pc.index_in(numbers, value_set=known)
    if classes.null_count:
        row = pc.index(classes.is_null(), True).as_py()
        raise DataError(
            f"{row_name(row)}: class {numbers[row].as_py()!r} is not one of 1 to {len(CLASSES)}"
        )
    return pc.take(string_array(CLASSES), classes)


def _line_breaks_to_spaces(texts: pa.StringArray) -> pa.StringArray:
    """Put a space for each, and trim again what ``to_examples`` has trimmed."""
    rows = rows_containing(texts, "\\")  # few have one, and patterns are slow
    if not rows.any():
        return texts
    broken = to_arrow(rows)
    joined = pc.replace_substring_regex(texts.filter(broken), r"(?:\\n)+([^a-z]|$)", r" \1")
    joined = pc.utf8_trim_whitespace(pc.replace_substring(joined, "\\", " "))
    return pc.replace_with_mask(texts, broken, joined)
