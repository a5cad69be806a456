"""Files, folders of files and ``{split}`` patterns as sources; the format is told by the name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.csv import scan_delimited
from fasttext_app.data.fasttext_text import scan_fasttext
from fasttext_app.data.jsonl import scan_json_lines
from fasttext_app.data.parquet import parquet_label_names, scan_parquet
from fasttext_app.data.source import SPLIT_NAMES, Batches, Scan, Source
from fasttext_app.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")


def scan_file(path: Path, config: DataConfig, labels: bool) -> Batches:
    """Read one file in the format that its name tells; any other name is fastText's text form."""
    kind = _kind(path)
    if kind == ".parquet":
        return scan_parquet(path, config, labels=labels)
    if kind == ".csv":
        return scan_delimited(path, config, labels=labels, delimiter=",")
    if kind == ".tsv":
        return scan_delimited(path, config, labels=labels, delimiter="\t")
    if kind in {".jsonl", ".ndjson", ".json"}:
        return scan_json_lines(path, config, labels=labels)
    return scan_fasttext(path, config, labels=labels)


def _kind(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def file_source(path: Path, config: DataConfig) -> Source:
    """One file, which serves as whatever split is asked for."""
    scan: Scan = partial(scan_file, path, config)
    return Source(str(path), {"all": scan}, _label_names(path, config), single=True)


def pattern_source(pattern: str, config: DataConfig) -> Source:
    """A path with ``{split}`` in it: every file that fits, its split read from that place."""
    if pattern.count("{split}") != 1:
        raise DataError(f"{pattern}: '{{split}}' must stand in it exactly once")
    before, after = pattern.split("{split}")
    folder = Path(before + "x").parent
    if not folder.is_dir():
        raise DataError(f"{pattern}: there is no folder {folder}")
    splits: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = str(path)
        plain_before = str(Path(before + "x"))[:-1]
        if path.is_file() and name.startswith(plain_before) and name.endswith(after):
            found = name[len(plain_before) : len(name) - len(after)]
            split = SPLIT_NAMES.get(found, found)
            _refuse_second(pattern, split, splits, path)
            splits[split] = path
    if not splits:
        raise DataError(f"{pattern}: no file fits the pattern")
    return splits_source(pattern, splits, config)


def folder_splits(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that are named for a split (``train.csv``, ``test.jsonl.gz``).

    Raises:
        DataError: two files are named for the same split.
    """
    splits: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = path.name.lower().removesuffix(".gz").rpartition(".")[0]
        split = SPLIT_NAMES.get(stem)
        if split is None or not path.is_file() or _kind(path) not in SUFFIXES:
            continue
        _refuse_second(folder, split, splits, path)
        splits[split] = path
    return splits


def _refuse_second(where: object, split: str, splits: dict[str, Path], path: Path) -> None:
    if split in splits:
        raise DataError(
            f"{where}: both {splits[split].name} and {path.name} are the split {split!r}; "
            "name one file, or a pattern such as '{split}.csv' that fits only one of them"
        )


def splits_source(spec: str, splits: dict[str, Path], config: DataConfig) -> Source:
    """Several files, each a split."""
    scans: dict[str, Scan] = {
        split: partial(scan_file, path, config) for split, path in splits.items()
    }
    first = next(iter(splits.values()))
    return Source(spec, scans, _label_names(first, config))


def _label_names(path: Path, config: DataConfig) -> Sequence[str] | None:
    return parquet_label_names(path, config.label_column) if _kind(path) == ".parquet" else None
