"""From a SPEC to a ``Source``: ``open_source`` opens what ``data.source`` names.

======================  =======================================================================
SPEC                    meaning
======================  =======================================================================
``ag_news``             the AG_NEWS benchmark (``ag_news.py`` says where it is looked for)
``sample``              the embedded sample: Debian package descriptions and their sections
``PATH``                a ``.csv .tsv .jsonl .parquet`` file or fastText text, maybe compressed
``FOLDER``              data files, sorted into splits by their names
``shards/*.parquet``    a glob: all files that match
``a/{split}.csv``       a pattern; ``{split}`` stands for ``train``, ``validation``, ``test``
``owner/name[:config]`` a dataset of the Hugging Face hub
``-``                   standard input
======================  =======================================================================

Several SPECs are read one after the other. Files of a folder or a glob are read in the order of
their names.

The rest of the story: a ``Source`` (``source.py``) reads a split as Arrow batches, in the format of
its files (``files.py``: ``csv.py``, ``jsonl.py``, ``parquet.py``, ``fasttext_text.py``) or from
`datasets` (``hub.py``), and ``columns.py`` turns raw columns into ``text``, ``label``, ``weight``.

To add a source, write a function from ``DataConfig`` to ``Source``, and a branch in
``open_source``. To add a file format, see ``files.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import chain
from pathlib import Path

from fasttext_app.config.resources import sample_dir
from fasttext_app.config.schema import DataConfig
from fasttext_app.core.meter import followed
from fasttext_app.data.ag_news import ag_news_source
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.files import (
    files_source,
    folder_files,
    folder_splits,
    glob_files,
    has_known_name,
    pattern_source,
    scan_files,
    sort_into_splits,
    splits_source,
)
from fasttext_app.data.hub import configured_files, dataset_source, is_configured
from fasttext_app.data.source import Batches, Part, Scan, Source, parts_of
from fasttext_app.errors import DataError, did_you_mean

BUILT_IN = ("ag_news", "sample")
STDIN = "-"


def open_source(
    config: DataConfig, *, weights: bool = False, bad_rows: BadRows | None = None
) -> Source:
    """Open the source that ``data.source`` names; its rows are read when it is scanned.

    Args:
        config: the SPEC, the columns to read, and how to read them.
        weights: whether to read ``data.weight_column``, which only training rows need to have.
        bad_rows: counts the rows that are skipped, if that is asked for.

    Raises:
        DataError: there is no SPEC, or nothing that it could mean, or it cannot be opened.
    """
    if not config.source:
        raise DataError("no data: pass --data SPEC (ag_news, sample, a file, a folder or a hub id)")
    if not weights:
        config = config.model_copy(update={"weight_column": None})
    bad_rows = BadRows() if bad_rows is None else bad_rows
    bad_rows.skip = config.skip_bad
    sources = [_open_spec(spec, config, bad_rows) for spec in config.specs]
    source = sources[0] if len(sources) == 1 else _joined(sources)
    return replace(source, label_names=config.label_columns) if config.label_columns else source


def _open_spec(spec: str, config: DataConfig, bad_rows: BadRows) -> Source:
    if config.weight_column is not None and spec in BUILT_IN:
        raise DataError(f"{spec}: has no column of weights; leave out data.weight_column")
    if spec == "ag_news":
        return ag_news_source(config, bad_rows)
    if spec == "sample":
        on_bad_rows = DataConfig(errors=config.errors, skip_bad=config.skip_bad)
        return splits_source(spec, folder_splits(sample_dir()), on_bad_rows, bad_rows)
    if "{split}" in spec:
        return pattern_source(spec, config, bad_rows)
    path = Path(spec)
    if path.is_dir():
        return _folder_source(path, config, bad_rows)
    if path.exists() or spec == STDIN:
        return files_source(spec, [path], config, bad_rows)
    if has_magic(spec):
        return files_source(spec, glob_files(spec), config, bad_rows)
    if re.fullmatch(r"[\w-]+/[\w.-]+(:[\w.-]+)?", spec) and not path.suffix:
        return dataset_source(spec, config, bad_rows)
    hint = did_you_mean(spec, BUILT_IN)
    raise DataError(f"{spec}: no such file, folder or dataset{hint}")


def _folder_source(folder: Path, config: DataConfig, bad_rows: BadRows) -> Source:
    splits = folder_splits(folder)
    if not splits and is_configured(folder):
        splits = configured_files(folder, config.label_column)
    elif not splits:
        paths = folder_files(folder)
        splits = sort_into_splits(paths, folder)
        if paths and not splits:
            return files_source(str(folder), paths, config, bad_rows)
    if splits and all(map(has_known_name, chain(*splits.values()))):
        return splits_source(str(folder), splits, config, bad_rows)
    return dataset_source(str(folder), config, bad_rows)


def _joined(sources: Sequence[Source]) -> Source:
    """Return several sources as one: each split is that of the first, then that of the next, ...

    Raises:
        DataError: only some have splits.
    """
    spec = ", ".join(source.spec for source in sources)
    single = [source for source in sources if source.single]
    if single and len(single) < len(sources):
        (other, *_) = (source for source in sources if not source.single)
        raise DataError(
            f"{spec}: {other.spec} has splits ({', '.join(other.splits)}) and {single[0].spec} has "
            "none; pass only one kind, or a pattern for the files of one split"
        )
    scans: dict[str, Scan] = {
        split: _JoinedScan([source.scans[split] for source in sources if split in source.scans])
        for split in dict.fromkeys(chain(*(source.splits for source in sources)))
    }
    names = dict.fromkeys(chain(*(source.label_names or () for source in sources)))
    return Source(spec, scans, list(names) or None, single=bool(single))


@dataclass(frozen=True)
class _JoinedScan:
    """Reads several sources one after the other."""

    scans: Sequence[Scan]

    def __call__(self, with_labels: bool) -> Batches:
        for scan in self.scans:
            yield from scan(with_labels)

    def parts(self) -> list[Part]:
        return [*chain.from_iterable(map(parts_of, self.scans))]


def text_files(spec: str) -> list[Path]:
    """Return the files of texts that a SPEC names: a file, a folder, a glob or ``-``.

    Raises:
        DataError: there are none.
    """
    path = Path(spec)
    if path.is_dir():
        inner = folder_files(path)
        if not inner:
            raise DataError(f"{path}: there are no data files in the folder; name a file")
        return inner
    if path.exists() or spec == STDIN:
        return [path]
    if has_magic(spec):
        return glob_files(spec)
    raise DataError(f"{path}: no such file")


def open_texts(config: DataConfig, bad_rows: BadRows | None = None) -> Batches:
    """Read the texts of files batch by batch, without labels; ``-`` reads lines from stdin.

    Args:
        config: the files, and how to read them.
        bad_rows: counts the rows that are skipped, if that is asked for.

    Raises:
        DataError: a file is missing, or its rows cannot be read.
    """
    paths = [path for spec in config.specs for path in text_files(spec)]
    bad_rows = BadRows() if bad_rows is None else bad_rows
    bad_rows.skip = config.skip_bad
    return followed(scan_files(paths, config, False, bad_rows))
