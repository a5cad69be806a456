"""From a SPEC to a ``Source``: ``open_source`` opens what ``data.source`` names.

======================  =======================================================================
SPEC                    meaning
======================  =======================================================================
``ag_news``             the AG_NEWS benchmark (``ag_news.py`` says where it is looked for)
``sample``              the embedded sample: Debian package descriptions and their sections
``PATH``                a ``.csv .tsv .jsonl .parquet`` file or fastText text; text compressed
``FOLDER``              files named for their split, or any layout that `datasets` reads
``a/{split}.csv``       a pattern; ``{split}`` stands for ``train``, ``validation``, ``test``
``owner/name[:config]`` a dataset of the Hugging Face hub
======================  =======================================================================

The rest of the story: a ``Source`` (``source.py``) reads a split as Arrow batches, in the format of
its files (``files.py``: ``csv.py``, ``jsonl.py``, ``parquet.py``, ``fasttext_text.py``) or from
`datasets` (``hub.py``), and ``columns.py`` turns raw columns into ``text``, ``label``, ``weight``.

To add a source, write a function from ``DataConfig`` to ``Source``, and a branch in
``open_source``. To add a file format, see ``files.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

from fasttext_app.config.resources import sample_dir
from fasttext_app.config.schema import DataConfig
from fasttext_app.data.ag_news import ag_news_source
from fasttext_app.data.files import (
    file_source,
    folder_splits,
    pattern_source,
    scan_file,
    splits_source,
)
from fasttext_app.data.hub import dataset_source
from fasttext_app.data.source import Batches, Source
from fasttext_app.errors import DataError, did_you_mean

BUILT_IN = ("ag_news", "sample")


def open_source(config: DataConfig, *, weights: bool = False) -> Source:
    """Open the source that ``data.source`` names; its rows are read when it is scanned.

    Args:
        config: the SPEC, the columns to read, and how to read them.
        weights: whether to read ``data.weight_column``, which only training rows need to have.

    Raises:
        DataError: there is no SPEC, or nothing that it could mean, or it cannot be opened.
    """
    spec = config.source
    if not spec:
        raise DataError("no data: pass --data SPEC (ag_news, sample, a file, a folder or a hub id)")
    if not weights:
        config = config.model_copy(update={"weight_column": None})
    elif config.weight_column is not None and spec in BUILT_IN:
        raise DataError(f"{spec}: has no column of weights; leave out data.weight_column")
    if spec == "ag_news":
        return ag_news_source(config)
    if spec == "sample":
        return splits_source(spec, folder_splits(sample_dir()), DataConfig(errors=config.errors))
    if "{split}" in spec:
        return pattern_source(spec, config)
    path = Path(spec)
    if path.is_dir():
        splits = folder_splits(path)
        return splits_source(spec, splits, config) if splits else dataset_source(spec, config)
    if path.exists():
        return file_source(path, config)
    if re.fullmatch(r"[\w-]+/[\w.-]+(:[\w.-]+)?", spec) and not path.suffix:
        return dataset_source(spec, config)
    hint = did_you_mean(spec, BUILT_IN)
    raise DataError(f"{spec}: no such file, folder or dataset{hint}")


def open_texts(config: DataConfig) -> Batches:
    """Read the texts of one file batch by batch, without labels; ``-`` reads lines from stdin.

    Raises:
        DataError: the file is missing, or its rows cannot be read.
    """
    assert config.source is not None
    path = Path(config.source)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    if config.source != "-" and not path.exists():
        raise DataError(f"{path}: no such file")
    return scan_file(path, config, with_labels=False)
