"""``Scorer``: a table in, the same table with labels and probabilities out, in any process.

It holds the path of a model and its digest, so it travels to a worker in a few hundred bytes. The
worker maps the model into memory when the first rows arrive; processes of one machine share it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core import arguments
from fasttext_app.core.arrays import F64, Bool
from fasttext_app.core.arrow import string_array, to_arrow, to_numpy, with_nulls
from fasttext_app.core.objects import ObjectTable
from fasttext_app.data.labels import find_label
from fasttext_app.errors import ArtifactError, ConfigError, DataError, did_you_mean
from fasttext_app.inference.artifacts import load_artifact_or_fasttext, model_digest
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.predictor import NULLS, TextColumns
from fasttext_app.inference.select import score_texts
from fasttext_app.model.artifact import Artifact
from fasttext_app.scoring.forms import add_columns, as_rows

_loading = threading.Lock()


class Scorer:
    """Adds the predictions of a model to tables; small to pickle, and loaded where it is called.

    Calling it takes a dict of columns, an Arrow table or record batch, or a pandas or Polars frame,
    and returns the same kind, row for row, with the columns of :attr:`schema` after those kept.

    Args:
        model: a model directory, a fastText file or a hub id. Every worker must be able to read it.
        text_column: the text column, or several to join; None: as in training, or else ``text``.
        keep: the columns to keep; None: all.
        prefix: what the names of the new columns begin with.
        top_k: 1 adds ``label`` and ``probability``; more adds the lists ``labels`` and
            ``probabilities``; None adds these lists with as many labels as ``predict`` returns.
        threshold: leave out labels with a smaller probability; ``fitted``: the fitted threshold of
            each label. A row without a label has null in both columns, or empty lists.
        label: answer for this label only: ``probability`` is that of this label in every row, and
            ``label`` is null below the threshold.
        nulls: what a missing text is: an ``error``, an ``empty`` text, or ``null``: its answer is
            null.
        threads: threads of one call; 1 leaves parallel work to the engine.
        packages: whether the model's tokenizer may run an optional package; see ``ft.load``.

    Raises:
        ArtifactError: there is no such model.
        ConfigError: an argument is of the wrong type or cannot be combined with another.
    """

    def __init__(
        self,
        model: str | Path,
        text_column: TextColumns = None,
        keep: str | Sequence[str] | None = None,
        *,
        prefix: str = "",
        top_k: int | None = 1,
        threshold: float | str | None = None,
        label: str | None = None,
        nulls: str = "error",
        threads: int = 1,
        packages: bool = False,
    ) -> None:
        path = arguments.path("model", model)
        self.model = str(path.absolute() if path.exists() else model)
        self.digest = model_digest(self.model)
        self.text_column = (
            None if text_column is None else arguments.columns("text_column", text_column)
        )
        self.keep = None if keep is None else arguments.columns("keep", keep)
        self.prefix = arguments.string("prefix", prefix)
        self.top_k = None if top_k is None else arguments.whole_number("top_k", top_k, 1)
        self.threshold = 0.0 if threshold is None else threshold
        if not isinstance(self.threshold, str):
            self.threshold = arguments.number("threshold", self.threshold)
        self.label = arguments.optional_string("label", label)
        if self.label is not None and self.top_k != 1:
            raise ConfigError("top_k: cannot be combined with label")
        self.nulls = arguments.choice("nulls", nulls, NULLS)
        self.threads = arguments.whole_number("threads", threads, 0)
        self.packages = arguments.flag("packages", packages)

    def __repr__(self) -> str:
        """Return the model."""
        return f"{type(self).__name__}({self.model!r})"

    @property
    def predictor(self) -> TextClassifier:
        """The model, loaded once in each process.

        Raises:
            ArtifactError: it cannot be loaded, or is not the one that the Scorer was made for.
        """
        with _loading:
            return _load(self.model, self.digest, self.packages, self.threads)

    @property
    def schema(self) -> pa.Schema:
        """The columns that are added."""
        if self.top_k == 1:
            columns = {"label": pa.string(), "probability": pa.float64()}
        else:
            columns = {"labels": pa.list_(pa.string()), "probabilities": pa.list_(pa.float64())}
        return pa.schema([(self.prefix + name, kind) for name, kind in columns.items()])

    def changed(self, **settings: Any) -> Scorer:
        """Return the same scorer with other values of some attributes."""
        scorer = copy(self)
        vars(scorer).update(settings)
        return scorer

    def check(self) -> None:
        """Load the model, and check the label and the threshold against it.

        Raises:
            ArtifactError: as for :attr:`predictor`.
            ConfigError: the model does not have the label, or has no fitted thresholds.
        """
        self.predictor.resolve_threshold(self.threshold)
        if self.label is not None:
            find_label(self.label, self.predictor.labels)

    def kept(self, names: Sequence[str]) -> list[str]:
        """Return which columns of a table with these names are kept.

        Raises:
            DataError: the table lacks a column, or has one that would be added.
        """
        kept = list(names) if self.keep is None else self.keep
        for name in kept:
            if name not in names:
                raise DataError(f"keep: there is no column {name!r}{did_you_mean(name, names)}")
            if name in self.schema.names:
                raise DataError(
                    f"column {name!r}: the predictions have a column of this name too; pass "
                    "prefix= to rename theirs, or keep= to leave it out"
                )
        return kept

    def __call__(self, batch: Any) -> Any:
        """Return a table with the predictions for its rows.

        Raises:
            DataError: it is no table or lacks a column, or a text is missing or not a string.
        """
        rows = as_rows(batch)
        kept = self.kept(list(rows.names))
        return add_columns(batch, kept, self.answers(rows))

    def answers(self, rows: ObjectTable | pa.Table | pa.RecordBatch) -> pa.Table:
        """Return the predictions for the rows of a table, without its columns.

        Raises:
            DataError: it lacks the text column, or a text is missing or not a string.
        """
        return self._answers(rows, self.text_column)

    def structs(self, texts: pa.Array | pa.ChunkedArray) -> pa.StructArray:
        """Return the predictions for a column of texts as a column of structs.

        Raises:
            DataError: a text is missing or not a string.
        """
        columns = self._answers(pa.table({"text": texts}), "text").combine_chunks().columns
        arrays = [column.combine_chunks() for column in columns]
        return pa.StructArray.from_arrays(arrays, fields=list(self.schema))

    def _answers(self, rows: Any, text: TextColumns) -> pa.Table:
        find = self._top_answers if self.label is None else self._label_answers
        columns = find(rows, text)
        if not columns:
            return self.schema.empty_table()
        return pa.Table.from_arrays(
            [pa.chunked_array(parts) for parts in zip(*columns, strict=True)], schema=self.schema
        )

    def _top_answers(self, rows: Any, text: TextColumns) -> list[list[pa.Array]]:
        batches = self.predictor.predict_batches(
            rows, self.top_k, self.threshold, text, nulls=self.nulls
        )
        columns = [batch.columns[1:] for batch in batches]
        return columns if self.top_k != 1 else [list(map(_first_of_each, row)) for row in columns]

    def _label_answers(self, rows: Any, text: TextColumns) -> list[list[pa.Array]]:
        assert self.label is not None
        minimum, columns = self.predictor.resolve_threshold(self.threshold), []
        for texts, ranked in score_texts(
            self.predictor, rows, self.label, nulls=self.nulls, text=text
        ):
            values, reaches = ranked.probabilities[:, 0], ranked.mask(minimum)[:, 0]
            columns.append(label_columns(self, values, reaches, texts.missing))
        return columns


def label_columns(
    scorer: Scorer, probabilities: F64, reaches: Bool, missing: pa.BooleanArray | None
) -> list[pa.Array]:
    """Return the columns that are added for one label.

    Args:
        scorer: the scorer with the label.
        probabilities: of the label, [B].
        reaches: whether each reaches the threshold, [B].
        missing: the texts that are missing, [B]; None: none.
    """
    labels = string_array([scorer.label, None]).take(to_arrow(1 - reaches.astype(np.int32)))
    return [with_nulls(labels, missing), with_nulls(to_arrow(probabilities), missing)]


def _first_of_each(lists: pa.ListArray) -> pa.Array:
    """Return the first value of each list of a column, or null if a list is empty or null.

    >>> _first_of_each(pa.array([[1, 2], [], None, [3]])).to_pylist()
    [1, None, None, 3]
    """
    offsets = to_numpy(lists.offsets)
    is_empty, values = offsets[1:] == offsets[:-1], lists.values
    if len(values) != len(lists) or is_empty.any():
        values = values.take(with_nulls(to_arrow(offsets[:-1]), to_arrow(is_empty)))
    return with_nulls(values, lists.is_null() if lists.null_count else None)


@cache
def _load(model: str, digest: str, packages: bool, threads: int) -> TextClassifier:
    return TextClassifier(_load_artifact(model, digest, packages), threads=threads)


@cache
def _load_artifact(model: str, digest: str, packages: bool) -> Artifact:
    artifact = load_artifact_or_fasttext(model, packages=packages)
    if model_digest(model) != digest:
        raise ArtifactError(
            f"{model}: is not the model that this job started with; start the job again"
        )
    return artifact
