"""Files, folders, globs and ``{split}`` patterns as sources. A file's name tells its format.

To add a format, write a function of the type ``Read``, and name it in ``FORMATS`` and ``SUFFIXES``.
If a file of the format can be read in pieces, add how it is cut to ``CUTS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from fasttext_app.config.schema import DataConfig
from fasttext_app.core import meter
from fasttext_app.core.checksummed_dir import MANIFEST
from fasttext_app.data.bad_rows import BadRows, FileErrors
from fasttext_app.data.byte_stream import InputFile, PipeCopy, without_compression
from fasttext_app.data.csv import CsvFile
from fasttext_app.data.fasttext_text import scan_fasttext, survey_fasttext
from fasttext_app.data.jsonl import scan_json, survey_json
from fasttext_app.data.lines import Survey, file_pieces
from fasttext_app.data.parquet import (
    parquet_label_names,
    parquet_pieces,
    scan_parquet,
    survey_parquet,
)
from fasttext_app.data.source import (
    SPLIT_NAMES,
    Batches,
    Part,
    PieceScan,
    Scan,
    Source,
    file_state,
    unchanged,
)
from fasttext_app.errors import DataError

Read: TypeAlias = Callable[[InputFile, DataConfig, bool, FileErrors], Batches]
"""A function that reads a file: its path, the settings, whether to read labels, its bad rows."""


class Cut(NamedTuple):
    """How files of a format are cut into pieces; see :class:`~fasttext_app.data.source.Part`."""

    survey: Callable[[Path, DataConfig, int, int], Any]
    """A function of the file, the settings, the number of the share and the number of shares."""
    pieces: Callable[[Path, Sequence[Any]], Sequence[Any]]
    """A function of the file and the surveys. The pieces have a ``size`` in bytes, and the format's
    ``Read`` takes them like a path."""


def _scan_csv(
    path: InputFile, config: DataConfig, with_labels: bool, errors: FileErrors, default: str = ","
) -> Batches:
    file = CsvFile.open(path, config, default, with_labels=with_labels)
    return file.scan(with_labels, errors)


def _survey_csv(
    path: Path, config: DataConfig, number: int, count: int, default: str = ","
) -> Survey:
    return CsvFile.open(path, config, default).survey(number, count)


FORMATS: dict[str, Read] = {
    "csv": _scan_csv,
    "tsv": partial(_scan_csv, default="\t"),
    "jsonl": scan_json,
    "parquet": scan_parquet,
    "fasttext": scan_fasttext,
}
"""The reader of each format, by its name in ``data.format``."""

CUTS: dict[str, Cut] = {
    "csv": Cut(_survey_csv, file_pieces),
    "tsv": Cut(partial(_survey_csv, default="\t"), file_pieces),
    "jsonl": Cut(survey_json, file_pieces),
    "parquet": Cut(survey_parquet, parquet_pieces),
    "fasttext": Cut(survey_fasttext, file_pieces),
}
"""How files of each format are cut."""

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "fasttext",
}
"""The format of a file by the suffix of its name; any other suffix is like ``.txt``."""

READ_BY_DATASETS = ("dataset_dict.json", "state.json", "dataset_infos.json")
"""Files in a folder that only Hugging Face `datasets` understands."""

_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}")
_SPLIT_WORD = re.compile(rf"(?:^|[-._ 0-9/])({'|'.join(SPLIT_NAMES)})(?=[-._ 0-9/]|$)")


def scan_files(
    paths: Sequence[Path],
    config: DataConfig,
    with_labels: bool,
    bad_rows: BadRows | None = None,
) -> Batches:
    """Read files one after the other; of several, those without a byte are left out.

    Raises:
        DataError: a file is missing, or its rows cannot be read.
    """
    bad_rows = BadRows(config.skip_bad) if bad_rows is None else bad_rows
    if len(paths) == 1:
        yield from _scan_file(paths[0], config, with_labels, bad_rows)
        return
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    try:
        for number, path in enumerate(paths):
            if sizes[number] or not path.is_file():
                meter.span = sum(sizes[:number]), sum(sizes)
                yield from _scan_file(path, config, with_labels, bad_rows)
    finally:
        meter.span = None


@dataclass(frozen=True)
class FilesScan:
    """Reads files one after the other; see :func:`scan_files`."""

    paths: Sequence[Path]
    config: DataConfig
    bad_rows: BadRows

    def __call__(self, with_labels: bool) -> Batches:
        """Read all files."""
        return scan_files(self.paths, self.config, with_labels, self.bad_rows)

    def parts(self) -> list[Part]:
        """Return each file as a part; of several, those without a byte are left out."""
        sizes = [path.stat().st_size if path.is_file() else 1 for path in self.paths]
        return [
            Part(size, FilesScan([path], self.config, self.bad_rows))
            for path, size in zip(self.paths, sizes, strict=True)
            if size or len(sizes) == 1
        ]

    def survey(self, number: int, count: int) -> Any:
        """Find out where a share of the one file can be cut."""
        (path,) = self.paths
        if _is_pipe(path):
            return None
        return CUTS[format_of(path, self.config)].survey(path, self.config, number, count)

    def pieces(self, surveys: Sequence[Any]) -> list[Part]:
        """Return pieces of the one file; none if it can only be read whole."""
        (path,) = self.paths
        form, before = format_of(path, self.config), file_state(path)

        def read(piece: Any, with_labels: bool) -> Batches:
            errors = self.bad_rows.begin(repr(piece))
            return FORMATS[form](piece, self.config, with_labels, errors)

        return [
            Part(piece.size, PieceScan(path, before, partial(read, piece), self))
            for piece in CUTS[form].pieces(path, surveys)
        ]


def _scan_file(path: Path, config: DataConfig, with_labels: bool, bad_rows: BadRows) -> Batches:
    form = format_of(path, config)
    with ExitStack() as stack:
        file: InputFile = path
        if form != "fasttext" and _is_pipe(path):
            file = stack.enter_context(PipeCopy(path))
        yield from unchanged(path, FORMATS[form](file, config, with_labels, bad_rows.begin(path)))


def format_of(path: Path, config: DataConfig) -> str:
    """Return the format that a file is read in: one of ``FORMATS``."""
    if config.format != "auto":
        return config.format
    form = SUFFIXES.get(_suffix(path), "fasttext")
    return "csv" if form == "fasttext" and config.delimiter is not None else form


def _is_pipe(path: Path) -> bool:
    return str(path) == "-" or (path.exists() and not path.is_file())


def has_known_name(path: Path) -> bool:
    """Return whether a file's name tells a format."""
    return _suffix(path) in SUFFIXES


def _suffix(path: Path) -> str:
    return Path(without_compression(path.name.lower())).suffix


def files_source(spec: str, paths: Sequence[Path], config: DataConfig, bad_rows: BadRows) -> Source:
    """Return files as one source; together they are whatever split is asked for."""
    scan = FilesScan(paths, config, bad_rows)
    return Source(spec, {"all": scan}, _label_names(paths, config), single=True)


def splits_source(
    spec: str, splits: Mapping[str, Sequence[Path]], config: DataConfig, bad_rows: BadRows
) -> Source:
    """Return files as a source, given the paths of each split."""
    scans: dict[str, Scan] = {
        split: FilesScan(paths, config, bad_rows) for split, paths in splits.items()
    }
    return Source(spec, scans, _label_names([*chain(*splits.values())], config))


def _label_names(paths: Sequence[Path], config: DataConfig) -> Sequence[str] | None:
    """Return the class names of all Parquet files, in the order of the first one that has a name.

    Raises:
        DataError: labels are numbers that one file has names for and another has not.
    """
    parquet = [path for path in paths if _suffix(path) == ".parquet"]
    names_of = {path: parquet_label_names(path, config.label_column) for path in parquet}
    named = next((path for path, names in names_of.items() if names), None)
    bare = next((path for path, names in names_of.items() if names == []), None)
    if named is not None and bare is not None:
        raise DataError(
            f"{bare}: column {config.label_column!r} holds numbers without class names, which "
            f"{named} has; give both files the names, or neither"
        )
    return list(dict.fromkeys(name for names in names_of.values() for name in names or ())) or None


def pattern_source(pattern: str, config: DataConfig, bad_rows: BadRows) -> Source:
    """Return the files that match a path with ``{split}`` in it as a source.

    With ``*`` or ``?`` in it too, a split can have several files.

    Raises:
        DataError: ``{split}`` occurs twice, no file matches, or two files are the same split.
    """
    if pattern.count("{split}") != 1:
        raise DataError(f"{pattern}: must contain '{{split}}' exactly once")
    folder = Path(pattern.partition("{split}")[0] + "x").parent
    while has_magic(str(folder)) and not folder.is_dir():
        folder = folder.parent
    if not folder.is_dir():
        raise DataError(f"{pattern}: there is no folder {folder}")
    inner = str(Path(pattern).relative_to(folder))
    regex = _as_regex(inner)
    splits: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(inner.replace("{split}", "*"))):
        match = regex.fullmatch(str(path.relative_to(folder)))
        if match and path.is_file():
            split = SPLIT_NAMES.get(match["split"], match["split"])
            splits.setdefault(split, []).append(path)
    if not splits:
        raise DataError(f"{pattern}: no file matches the pattern")
    if not has_magic(inner):
        _refuse_two_files(splits, pattern)
    return splits_source(pattern, splits, config, bad_rows)


def _as_regex(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for the paths that a pattern matches."""
    wild = {"{split}": "(?P<split>[^/]+?)", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\{split\}|\*\*/|\*|\?|\[[^]]+\])", pattern)
    return re.compile(
        "".join(wild.get(part, part if part[:1] == "[" else re.escape(part)) for part in parts)
    )


def glob_files(pattern: str) -> list[Path]:
    """Return the files that match a glob, by name.

    Raises:
        DataError: there are none.
    """
    names = glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob needs the folder
    paths = sorted(path for path in map(Path, names) if path.is_file())
    if not paths:
        raise DataError(f"{pattern}: no file matches")
    return paths


def folder_splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder that are named for a split (``train.csv``, ``test.jsonl.zst``).

    Raises:
        DataError: two files are named for the same split.
    """
    splits: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        stem = without_compression(path.name.lower()).rpartition(".")[0]
        if stem in SPLIT_NAMES and path.is_file() and _suffix(path) in SUFFIXES:
            splits.setdefault(SPLIT_NAMES[stem], []).append(path)
    _refuse_two_files(splits, folder)
    return splits


def _refuse_two_files(splits: Mapping[str, Sequence[Path]], where: object) -> None:
    for split, paths in splits.items():
        if len(paths) > 1:
            raise DataError(
                f"{where}: both {paths[0].name} and {paths[1].name} are the split {split!r}; "
                "name one file, or a pattern such as '{split}.csv' that matches only one of them"
            )


def folder_files(folder: Path) -> list[Path]:
    """Return the data files in a folder and its subfolders, by name; [] if it is not of files.

    Files whose name begins with a dot or an underscore are left out, as are models, and ``.txt``
    files beside other formats. A folder in a form of Hugging Face `datasets` is not one of files.
    """
    if any((folder / name).is_file() for name in READ_BY_DATASETS):
        return []
    inner = ((path, path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    models = {manifest.parent for manifest in folder.rglob(MANIFEST)}
    paths = sorted(
        path
        for path, name in inner
        if not any(part[0] in "._" for part in name.parts) and models.isdisjoint(path.parents)
    )
    suffixes = {path: _suffix(path) for path in paths}
    if set(suffixes.values()) == {""}:
        return paths  # fastText text, as Hadoop writes it: part-00000, ...
    tables = [path for path in paths if suffixes[path] in SUFFIXES and suffixes[path] != ".txt"]
    return tables or [path for path in paths if suffixes[path] == ".txt"]


def sort_into_splits(paths: Iterable[Path], folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split, by the rules of Hugging Face `datasets`; {} without splits.

    The first rule that fits any file counts: ``train-00000-of-00002``; a split's name in the name
    of the file; one in the name of a folder. Files without a split are then left out.

    >>> paths = [Path("x", name) for name in ("dev-1.csv", "train_2.csv", "a.csv")]
    >>> sort_into_splits(paths, Path("x"))
    {'validation': [PosixPath('x/dev-1.csv')], 'train': [PosixPath('x/train_2.csv')]}
    """
    rules: list[Callable[[Path], re.Match[str] | None]] = [
        lambda path: _SHARD.match(path.name),
        lambda path: _SPLIT_WORD.search(path.name.lower()),
        lambda path: _SPLIT_WORD.search(path.relative_to(folder).parent.as_posix().lower()),
    ]
    for split_of in rules:
        splits: dict[str, list[Path]] = {}
        for path in paths:
            if match := split_of(path):
                splits.setdefault(SPLIT_NAMES.get(match[1], match[1]), []).append(path)
        if splits:
            return splits
    return {}
