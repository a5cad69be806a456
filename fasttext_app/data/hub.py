"""Datasets of the Hugging Face hub, and local folders in any layout that `datasets` reads."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from logging import CRITICAL
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core import meter
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.columns import (
    column_with,
    feature_at,
    inner_paths,
    numbered_rows,
    required_columns,
    to_examples,
)
from fasttext_app.data.parquet import parquet_label_names
from fasttext_app.data.source import Batches, Scan, Source
from fasttext_app.errors import DataError

BATCH_ROWS = 16_384
MAX_CAUSE = 300  # characters


def dataset_source(spec: str, config: DataConfig, bad_rows: BadRows) -> Source:
    """Load a dataset by its hub id, ``owner/name`` or ``owner/name:config``, or from a folder.

    Raises:
        DataError: the dataset cannot be loaded; the message gives the library's reason.
    """
    dataset = _load(spec)
    splits: dict[str, Any] = dict(dataset) if isinstance(dataset, dict) else {"train": dataset}
    if not splits:
        raise DataError(f"{spec}: the dataset has no splits")
    scans: dict[str, Scan] = {
        split: partial(_scan, f"{spec}, split {split!r}", table, config, bad_rows)
        for split, table in splits.items()
    }
    return Source(spec, scans, _class_names(next(iter(splits.values())), config.label_column))


def is_configured(folder: Path) -> bool:
    """Return whether the README.md of a folder says how to read its files."""
    readme = folder / "README.md"
    if not readme.is_file():
        return False
    text = readme.read_text("utf-8", "replace")
    return any(key in text for key in ("data_files:", "dataset_info:"))


def configured_files(folder: Path, label_column: str) -> dict[str, list[Path]]:
    """Return the files of each split, as the README.md of a folder says.

    Returns:
        The files; {} if it has names for labels that the files have not, so that only `datasets`
        can read them.

    Raises:
        DataError: `datasets` cannot read what it says.
    """
    with _library(folder) as datasets:
        builder = datasets.load_dataset_builder(str(folder))
    files = {
        str(split): [Path(path) for path in paths]
        for split, paths in (builder.config.data_files or {}).items()
    }
    if builder.info.features and _class_names(builder.info, label_column):
        for path in chain(*files.values()):
            if path.suffix != ".parquet" or not parquet_label_names(path, label_column):
                return {}
    return files


def _load(spec: str) -> Any:
    with _library(spec) as datasets:
        if Path(spec).is_dir():
            saved = any(
                (Path(spec) / name).is_file() for name in ("dataset_dict.json", "state.json")
            )
            return datasets.load_from_disk(spec) if saved else datasets.load_dataset(spec)
        name, _, subset = spec.partition(":")
        with offline_where_unreachable():
            return datasets.load_dataset(name, subset or None)


@contextmanager
def _library(spec: str | Path) -> Iterator[Any]:
    """Import `datasets`, keep it from printing, and raise its errors as one line."""
    import datasets

    datasets.disable_progress_bars()
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(CRITICAL)
    try:
        yield datasets
    except Exception as error:  # noqa: BLE001 - the library raises many unrelated types
        problem = "the dataset cannot be loaded"
        if Path(spec).is_dir():
            problem = "holds no data files, and `datasets` cannot load it either"
        raise DataError(f"{spec}: {problem}: {_reason(error)}") from None
    finally:
        datasets.logging.set_verbosity(verbosity)


def _reason(error: BaseException) -> str:
    """Return what went wrong on one line: the cause too, where the error names none."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if error.__cause__ is None:
        return reason
    cause = " ".join(str(error.__cause__).split())
    return f"{reason}: {cause if len(cause) <= MAX_CAUSE else f'{cause[:MAX_CAUSE]}...'}"


@contextmanager
def offline_where_unreachable() -> Iterator[None]:
    """Use only the local cache if the hub's address cannot be resolved.

    The library would otherwise try six times, for over half a minute, and print each failure.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _has_address(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _has_address(url: str) -> bool:
    from urllib.request import getproxies

    if getproxies():
        return True  # the proxy resolves addresses
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return False
    return True


def _scan(
    where: str, dataset: Any, config: DataConfig, bad_rows: BadRows, with_labels: bool
) -> Batches:
    errors = bad_rows.begin(where)
    inner = inner_paths(dataset.features.arrow_schema)
    columns = required_columns(where, config, with_labels, dataset.column_names, inner=inner)
    label_names = _class_names(dataset, config.label_column)
    whole = dict.fromkeys(column_with(name, dataset.column_names) for name in columns)
    selected = dataset.select_columns(list(whole)).with_format("arrow")
    rows = 0
    reading = meter.opened(where, "rows", len(dataset))
    for table in selected.iter(batch_size=BATCH_ROWS):
        assert isinstance(table, pa.Table)
        locate = numbered_rows(where, rows)
        for batch in table.combine_chunks().to_batches():
            yield to_examples(
                batch,
                config,
                locate,
                with_labels=with_labels,
                label_names=label_names,
                errors=errors,
            )
        rows += len(table)
        reading.position = rows


def _class_names(dataset: Any, label_column: str) -> Sequence[str] | None:
    feature = feature_at(label_column, dataset.features)
    feature = getattr(feature, "feature", feature)  # of a list of classes
    names: Sequence[str] | None = getattr(feature, "names", None)
    return names
