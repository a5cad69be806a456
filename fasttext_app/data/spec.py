"""Where texts and labels come from: ``open_source(config)`` opens the SPEC in ``data.source``.

======================  =======================================================================
SPEC                    meaning
======================  =======================================================================
``ag_news``             the AG_NEWS benchmark (see ``ag_news.py`` for where it is looked for)
``sample``              the embedded sample: Debian package descriptions and their sections
``PATH``                a ``.csv .tsv .jsonl .parquet`` file or fastText text; ``.gz`` of text
``FOLDER``              files named for their split, or any layout that `datasets` knows
``a/{split}.csv``       a pattern; ``{split}`` stands for ``train``, ``validation``, ``test``
``owner/name[:config]`` a dataset of the Hugging Face hub
======================  =======================================================================
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
    """Open the source that ``data.source`` names. Rows are read later, by ``scan`` or ``read``.

    Args:
        config: names it, and says how rows are read.
        weights: whether ``data.weight_column`` is read: it is there for training rows alone.

    Raises:
        DataError: no source is named, there is none such, or it cannot be opened.
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
        own_form = DataConfig(errors=config.errors)
        return splits_source("sample", folder_splits(sample_dir()), own_form)
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
    """Read the texts of one file, without labels, in batches; ``-`` reads lines of stdin.

    Raises:
        DataError: the file is missing, or its rows cannot be read.
    """
    assert config.source is not None
    path = Path(config.source)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    if config.source != "-" and not path.exists():
        raise DataError(f"{path}: no such file")
    return scan_file(path, config, False)
