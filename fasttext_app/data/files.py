"""Files, folders of files and ``{split}`` patterns as sources. A file's name tells its format.

To add a format, write a function from (path, config, with_labels) to batches, and name it in
``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.byte_stream import without_compression
from fasttext_app.data.csv import CsvFile
from fasttext_app.data.fasttext_text import scan_fasttext
from fasttext_app.data.jsonl import scan_json_lines
from fasttext_app.data.parquet import parquet_label_names, scan_parquet
from fasttext_app.data.source import SPLIT_NAMES, Batches, Scan, Source
from fasttext_app.errors import DataError


def _scan_csv(path: Path, config: DataConfig, with_labels: bool) -> Batches:
    return CsvFile(path, config, ",").scan(with_labels)


def _scan_tsv(path: Path, config: DataConfig, with_labels: bool) -> Batches:
    return CsvFile(path, config, "\t").scan(with_labels)


FORMATS: dict[str, Callable[[Path, DataConfig, bool], Batches]] = {
    ".csv": _scan_csv,
    ".tsv": _scan_tsv,
    ".jsonl": scan_json_lines,
    ".ndjson": scan_json_lines,
    ".json": scan_json_lines,
    ".parquet": scan_parquet,
    ".txt": scan_fasttext,
}
"""The reader of each format, by the suffix of the file's name; any other suffix is ``.txt``."""


def scan_file(path: Path, config: DataConfig, with_labels: bool) -> Batches:
    """Read one file in the format that its name tells.

    Raises:
        DataError: the file is missing, or its rows cannot be read.
    """
    return FORMATS.get(_suffix(path), scan_fasttext)(path, config, with_labels)


def _suffix(path: Path) -> str:
    return Path(without_compression(path.name.lower())).suffix


def file_source(path: Path, config: DataConfig) -> Source:
    """Return one file as a source; it is whatever split is asked for."""
    scan: Scan = partial(scan_file, path, config)
    return Source(str(path), {"all": scan}, _label_names(path, config), single=True)


def splits_source(spec: str, paths: dict[str, Path], config: DataConfig) -> Source:
    """Return several files as a source, given the path of each split."""
    scans: dict[str, Scan] = {
        split: partial(scan_file, path, config) for split, path in paths.items()
    }
    first = next(iter(paths.values()))
    return Source(spec, scans, _label_names(first, config))


def pattern_source(pattern: str, config: DataConfig) -> Source:
    """Return the files that match a path with ``{split}`` in it as a source.

    Raises:
        DataError: ``{split}`` occurs twice, no file matches, or two files are the same split.
    """
    if pattern.count("{split}") != 1:
        raise DataError(f"{pattern}: must contain '{{split}}' exactly once")
    before, after = pattern.split("{split}")
    folder = Path(before + "x").parent
    if not folder.is_dir():
        raise DataError(f"{pattern}: there is no folder {folder}")
    before = str(Path(before + "x"))[:-1]  # as pathlib spells the paths in the folder
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = str(path)
        if path.is_file() and name.startswith(before) and name.endswith(after):
            split = name[len(before) : len(name) - len(after)]
            _add_split(paths, SPLIT_NAMES.get(split, split), path, pattern)
    if not paths:
        raise DataError(f"{pattern}: no file matches the pattern")
    return splits_source(pattern, paths, config)


def folder_splits(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that are named for a split (``train.csv``, ``test.jsonl.zst``).

    Raises:
        DataError: two files are named for the same split.
    """
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = without_compression(path.name.lower()).rpartition(".")[0]
        if stem in SPLIT_NAMES and path.is_file() and _suffix(path) in FORMATS:
            _add_split(paths, SPLIT_NAMES[stem], path, folder)
    return paths


def _add_split(paths: dict[str, Path], split: str, path: Path, where: object) -> None:
    if split in paths:
        raise DataError(
            f"{where}: both {paths[split].name} and {path.name} are the split {split!r}; "
            "name one file, or a pattern such as '{split}.csv' that matches only one of them"
        )
    paths[split] = path


def _label_names(path: Path, config: DataConfig) -> Sequence[str] | None:
    if _suffix(path) != ".parquet":
        return None
    return parquet_label_names(path, config.label_column)
