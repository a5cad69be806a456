"""A model and a folder of pages for the tests of scoring."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fasttext_app as ft
from tests.helpers import WORDS_ONLY

WORDS = ["great fun", "dull and slow", "a joy to watch", "a waste of time"]


@pytest.fixture(scope="package")
def model_path(tmp_path_factory) -> Path:
    """The directory of a model with the labels ``good`` and ``bad``, and fitted thresholds."""
    folder: Path = tmp_path_factory.mktemp("scoring") / "model"
    texts, labels = WORDS * 6, ["good", "bad"] * 12
    model = ft.train(texts, labels, **WORDS_ONLY | {"dim": 4, "threads": 1})
    model.calibrate(texts, labels, temperature=False, thresholds="f1").save(folder)
    return folder


def page_text(number: int) -> str | None:
    """Return the text of a page; every eleventh has none."""
    if number % 11 == 10:
        return None
    return f"{WORDS[number % 4]} {WORDS[number // 3 % 4].split()[-1]} {number}"


@pytest.fixture
def pages(tmp_path) -> Path:
    """A folder of three Parquet files with ``id``, ``url`` and ``text``, one in a subfolder."""
    folder: Path = tmp_path / "pages"
    for part, name in enumerate(["a.parquet", "b.parquet", "sub/c.parquet"]):
        write_pages(folder / name, range(part * 40, part * 40 + 40))
    return folder


def write_pages(path: Path, numbers: range) -> None:
    """Write a file of pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "id": list(numbers),
        "url": [f"https://example.org/{number}" for number in numbers],
        "text": [page_text(number) for number in numbers],
    }
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)
