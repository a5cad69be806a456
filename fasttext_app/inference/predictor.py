"""``Predictor``: texts in, labels and probabilities out; without torch on the CPU.

A text without a known feature is the zero vector, so its logits are the bias.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Literal, Self, TypeAlias, overload

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core import arguments, jit
from fasttext_app.core.arrays import F32, F64, I64, Array
from fasttext_app.core.arrow import string_array, without_nulls
from fasttext_app.core.objects import ObjectTable, as_table, tables
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import ConfigError, DataError, did_you_mean
from fasttext_app.inference.display import html_table, model_facts, one_line
from fasttext_app.inference.forward import CpuForward, TextForward, forward_on
from fasttext_app.inference.predictions import FITTED, Prediction, TextRows, Threshold, TopK
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.calibration import recorded_thresholds
from fasttext_app.model.heads import Head, texts_at_once
from fasttext_app.model.metrics import top_k_classes
from fasttext_app.text.chunks import TextLike, as_chunks, one_text, read_chunks

SET_UP = ("encoder", "head", "_forward", "_text_forward", "_predict_text")

NULLS = ("error", "null", "empty")
"""What a missing text can be."""

Texts: TypeAlias = TextLike | Any
"""Texts, or a table with a column of texts."""
TextColumns: TypeAlias = str | Sequence[str] | None
"""The text column of a table, or several to join; None: the default."""


class Predictor:
    """A model that is ready to predict.

    Args:
        artifact: the model.
        device: ``cpu`` (without torch), or ``cuda``, ``cuda:i`` or ``auto`` (torch).
        threads: threads for a column of texts; 0: all cores.

    Raises:
        DeviceError: the device is not available.
    """

    def __init__(self, artifact: Artifact, *, device: str = "cpu", threads: int = 0) -> None:
        self.artifact = artifact
        self.device = arguments.string("device", device)
        self.threads = arguments.whole_number("threads", threads, 0)
        self._set_up()

    def _set_up(self) -> None:
        self.encoder, self.head = self.artifact.encoder(), self.artifact.head()
        self._forward = forward_on(self.artifact, self.device)
        self._predict_text: Callable[[str, float, bool], Prediction] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A model for another process is its artifact: what `_set_up` makes holds locks and buffers.
        return {key: value for key, value in vars(self).items() if key not in SET_UP}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._set_up()

    @property
    def config(self) -> Config:
        """The configuration of the model."""
        return self.artifact.config

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.artifact.labels.names

    @property
    def fitted_thresholds(self) -> F64 | None:
        """The fitted threshold of each class, [C]; None if calibration fitted none."""
        return recorded_thresholds(self.artifact.calibration, self.labels)

    @property
    def classes_(self) -> Array:
        """The names of the C classes as an array, under scikit-learn's name."""
        return np.array(self.labels)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The loss, the scores and the speed of each epoch; empty for an imported model."""
        return [dict(epoch) for epoch in self.artifact.history.get("epochs", ())]

    def __repr__(self) -> str:
        """Return the labels, the size and the scores of the model."""
        return one_line(type(self).__name__, model_facts(self.artifact))

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, model_facts(self.artifact))

    def warm_up(self) -> Self:
        """Load the compiled code now, so that no later prediction waits for it; return the model.

        It takes half a second. Without it, the first texts (up to a megabyte) go through plain
        Python, which loads nothing, takes twice as long per text, and gives bit-identical results.
        """
        jit.enable()
        self.predict(["a"])
        self.predict("a")
        return self

    def logits(self, texts: Texts, text: TextColumns = None) -> F32:
        """Return the logits of texts, [B, C]; see :meth:`predict`."""
        parts = list(map_threads(self.chunk_logits, self.chunks(texts, text), self.threads))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def chunk_logits(self, texts: pa.StringArray) -> F32:
        """Return the logits of a column without nulls, [B, C], on the calling thread."""
        return self._forward(self.encoder.encode_chunk(texts))

    def scored(self, texts: pa.StringArray) -> tuple[F32, I64]:
        """Return the logits of texts, [B, C], and how many words and n-grams of each are known."""

        def score(chunk: pa.StringArray) -> tuple[F32, I64]:
            bags = self.encoder.encode_chunk(chunk)
            return self._forward(bags), self.encoder.count_known(bags)

        logits, known = zip(*map_threads(score, as_chunks(texts), self.threads), strict=True)
        return np.concatenate(logits), np.concatenate(known)

    def embed(self, texts: Texts, text: TextColumns = None) -> F32:
        """Return the vectors of texts, [B, D]: the weighted sum or mean of the rows of each.

        D is the number of columns of the table: ``model.dim``, or the number of labels if the
        linear layer is folded into the table (``model.fold = false`` keeps it apart). A text of
        which nothing is known is the zero vector.

        Args:
            texts: as for :meth:`predict`.
            text: as for :meth:`predict`.
        """
        forward = self._forward
        if not isinstance(forward, CpuForward):
            forward = CpuForward(self.artifact)

        def embed(chunk: pa.StringArray) -> F32:
            return forward.vectors(self.encoder.encode_chunk(chunk))

        parts = list(map_threads(embed, self.chunks(texts, text), self.threads))
        return np.concatenate(parts) if parts else np.empty((0, self.artifact.dim), np.float32)

    def predict_proba(self, texts: Texts, text: TextColumns = None) -> F64:
        """Return the probability of every class for each text, [B, C]; see :meth:`predict`."""
        return self.head.probabilities(self.logits(texts, text))

    def chunks(
        self,
        texts: Texts,
        text: TextColumns = None,
        nulls: str = "error",
        max_rows: int = sys.maxsize,
    ) -> Iterator[pa.StringArray]:
        """Return the texts of a column, an iterable or a table as chunks, made one by one.

        Args:
            texts: the texts.
            text: the text columns of a table; None: as in training, or else ``text``.
            nulls: as for :meth:`predict`.
            max_rows: a limit on the texts of a chunk, beside the usual ones.

        Raises:
            ConfigError: ``text`` names columns, and there is no table; or ``nulls`` is unknown.
            DataError: a column is missing, or a text is missing or not a string.
        """
        arguments.choice("nulls", nulls, NULLS)
        table = as_table(texts)
        if table is not None:
            texts = self._read_texts(table, self._text_columns(table, text), nulls)
        elif text is not None:
            raise ConfigError(f"text = {text!r}: names a column, and the texts are no table")
        chunks = read_chunks(texts, max_rows, "error" if nulls == "error" else "null")
        return map(without_nulls, chunks) if nulls == "empty" else chunks

    def _text_columns(self, table: ObjectTable, text: TextColumns) -> list[str]:
        """Return the text columns of a table."""
        if text is not None:
            return arguments.columns("text", text)
        columns = list(self.config.data.text_columns)
        is_own = set(columns) <= set(table.names) or "text" not in table.names
        return columns if is_own else ["text"]

    def _read_texts(self, table: ObjectTable, columns: list[str], nulls: str) -> TextLike:
        if len(columns) == 1 and list(table.names).count(columns[0]) == 1:
            return table.read(columns).column(0)
        from fasttext_app.data.in_memory import column_settings, table_texts, with_data_settings

        settings = column_settings(columns) | {"nulls": nulls, "keep": ()}
        return table_texts(table, with_data_settings(self.config, settings).data, "texts")

    def rank(self, texts: Texts, top_k: int = 1, text: TextColumns = None) -> TopK:
        """Return the ``top_k`` best classes of each text, or all if there are fewer.

        Raises:
            ConfigError: ``top_k`` is below 1.
        """
        rank = partial(self.rank_chunk, top_k=arguments.whole_number("top_k", top_k, 1))
        parts = list(map_threads(rank, self.chunks(texts, text), self.threads))
        return TopK.concat(parts or [rank(string_array([]))])

    def rank_chunk(
        self, texts: pa.StringArray | str, top_k: int = 1, *, known: bool = False
    ) -> TopK:
        """Return the ``top_k`` best classes of a column or of one text, on the calling thread.

        Args:
            texts: the texts; a missing one counts as empty.
            top_k: the number of classes.
            known: whether to tell how much of each text is known.
        """
        bags, shares = self.encode_rows(texts, known=known)
        ranked = self.rank_bags(bags, top_k)
        return TopK(ranked.classes, ranked.probabilities, shares) if known else ranked

    def encode_rows(
        self, texts: pa.StringArray | str, *, known: bool = False
    ) -> tuple[Ragged, F64 | None]:
        """Encode a column or one text, and tell how much of each text is known, if that is asked.

        Args:
            texts: the texts; a missing one counts as empty.
            known: whether to return the share of each text's words and n-grams that have a row.
        """
        encoder = self.encoder
        if isinstance(texts, str):
            tokens = encoder.tokenize_text(texts)
        else:
            tokens = encoder.tokenize(without_nulls(texts))
        bags = encoder.encode_tokens(tokens)
        return bags, encoder.known_shares(tokens, bags) if known else None

    def bag_logits(self, bags: Ragged) -> F32:
        """Return the logits of texts that :attr:`encoder` has encoded, [B, C]."""
        return self._forward(bags)

    def rank_bags(self, bags: Ragged, top_k: int = 1, head: Head | None = None) -> TopK:
        """Return the ``top_k`` best classes of texts that :attr:`encoder` has encoded.

        Args:
            bags: the texts.
            top_k: the number of classes.
            head: what turns logits into probabilities; None: the model's own.
        """
        rows = texts_at_once(len(self.labels))
        if len(bags) <= rows:
            return self._top_k(self._forward(bags), top_k, head)
        pieces = np.split(np.arange(len(bags)), range(rows, len(bags), rows))
        return TopK.concat([self.rank_bags(bags.take(piece), top_k, head) for piece in pieces])

    def _top_k(self, logits: F32, top_k: int, head: Head | None = None) -> TopK:
        # Ranked by logit: probabilities of large logits all round to 1.
        classes = top_k_classes(logits, top_k)
        return TopK(classes, (head or self.head).class_probabilities(logits, classes))

    @overload
    def predict(  # type: ignore[overload-overlap]  # str is an iterable of str too
        self,
        texts: str | bytes,
        top_k: int | None = None,
        threshold: float | str = 0.0,
        text: TextColumns = None,
        *,
        abstain: bool = False,
        nulls: Literal["error", "null", "empty"] = "error",
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        texts: Texts,
        top_k: int | None = None,
        threshold: float | str = 0.0,
        text: TextColumns = None,
        *,
        abstain: bool = False,
        nulls: Literal["error", "empty"] = "error",
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        texts: Texts,
        top_k: int | None = None,
        threshold: float | str = 0.0,
        text: TextColumns = None,
        *,
        abstain: bool = False,
        nulls: str,
    ) -> list[Prediction | None]: ...
    def predict(
        self,
        texts: Texts,
        top_k: int | None = None,
        threshold: float | str = 0.0,
        text: TextColumns = None,
        *,
        abstain: bool = False,
        nulls: str = "error",
    ) -> Prediction | list[Prediction] | list[Prediction | None]:
        """Return the best labels of one text, or of each of several.

        Args:
            texts: one text; any iterable or column of texts; or a table: a pandas or Polars frame,
                a Dataset or an Arrow table. Bytes are UTF-8.
            top_k: at most this many labels per text; None: 1, or all that reach the threshold if
                a text can have several labels, or with ``fitted``.
            threshold: leave out labels with a smaller probability; ``fitted``: the fitted threshold
                of each label.
            text: the text column of a table, or several to join; None: as in training.
            abstain: predict no label for a text of which no word or n-gram has a row.
            nulls: what a missing text (None, NaN) is: an ``error``, an ``empty`` text, or ``null``:
                its prediction is None.

        Raises:
            ConfigError: ``top_k`` is below 1, or the model has no fitted thresholds.
            DataError: a text is missing or not a string, or a table lacks the column.
        """
        if (
            type(texts) is str
            and top_k is None
            and type(threshold) is float
            and threshold == 0
            and abstain is False
            and self._predict_text is not None
        ):  # the usual call: there is nothing to check
            return self._predict_text(texts, 0.0, False)
        minimum = self.resolve_threshold(threshold)
        ranks = self.label_limit(top_k, minimum)
        abstain = arguments.flag("abstain", abstain)
        if isinstance(texts, str | bytes):
            one = texts if isinstance(texts, str) else one_text(texts)
            if ranks == 1 and isinstance(minimum, float) and jit.enabled():
                if self._predict_text is None:
                    self._predict_text = self._make_predict_text()
                return self._predict_text(one, minimum, abstain)
            ranked = self._rank_text(one, ranks)
            mask = ranked.mask(minimum, top_k, abstain=abstain)
            return ranked.predictions(self.labels, mask)[0]

        def rank(chunk: pa.StringArray) -> tuple[TopK, pa.StringArray]:
            return self.rank_chunk(chunk, ranks, known=True), chunk

        # The objects of a chunk are made while the threads work on the next ones.
        predictions: list[Any] = []
        for ranked, chunk in map_threads(rank, self.chunks(texts, text, nulls), self.threads):
            mask = ranked.mask(minimum, top_k, abstain=abstain)
            of_chunk: list[Any] = ranked.predictions(self.labels, mask)
            if chunk.null_count:
                is_text = chunk.is_valid().to_pylist()
                of_chunk = [
                    p if has_text else None for p, has_text in zip(of_chunk, is_text, strict=True)
                ]
            predictions += of_chunk
        return predictions

    @cached_property
    def _text_forward(self) -> TextForward | None:
        return self.text_forward(self.head)

    def text_forward(self, head: Head) -> TextForward | None:
        """Return what scores one text in one compiled call; None if nothing does.

        Args:
            head: what turns outputs into probabilities.
        """
        forward = self._forward
        return forward.of_text(self.encoder, head) if isinstance(forward, CpuForward) else None

    def _best_of_rows(self, text: str) -> tuple[int, float, int, int]:
        """Return what :meth:`.TextForward.best` does, in several steps."""
        tokens = self.encoder.tokenize_text(text)
        bags = self.encoder.encode_tokens(tokens)
        features = int(self.encoder.count_features(tokens)[0])
        return *self.head.best(self._forward(bags)), len(bags.indices), features

    def _rank_text(self, text: str, top_k: int) -> TopK:
        """Return what :meth:`rank_chunk` does for one text, in one compiled call if it can."""
        forward = self._text_forward if jit.enabled() else None
        if forward is None:
            return self.rank_chunk(text, top_k, known=True)
        logits, rows, features = forward.logits(self.encoder.text_bytes(text))
        known = np.array([(rows - self.encoder.has_end) / (features or 1)])
        return replace(self._top_k(logits, top_k), known=known)

    def _make_predict_text(self) -> Callable[[str, float, bool], Prediction]:
        """Return a function that predicts the best label of one text in as few steps as can be.

        Its arguments are the text, the threshold, and whether to abstain.
        """
        forward = self._text_forward
        best_of: Callable[[Any], tuple[int, float, int, int]] = self._best_of_rows
        to_argument: Callable[[str], Any] = str
        if forward is not None:
            best_of, to_argument = forward.best, self.encoder.text_bytes
        has_end, labels = self.encoder.has_end, [(label,) for label in self.labels]
        new: Callable[..., Prediction] = tuple.__new__  # faster than the class itself

        def predict(text: str, threshold: float, abstain: bool) -> Prediction:
            best, probability, rows, features = best_of(to_argument(text))
            known = (rows - has_end) / (features or 1)
            if probability >= threshold and not (abstain and known == 0):
                return new(Prediction, (labels[best], (probability,), known))
            return Prediction((), (), known)

        return predict

    def predict_batches(
        self,
        batches: Any,
        top_k: int | None = None,
        threshold: float | str = 0.0,
        text: TextColumns = None,
        *,
        known: bool = False,
        abstain: bool = False,
        nulls: str = "error",
        keep: str | Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Predict a stream of tables or record batches, on all threads, in constant memory.

        Args:
            batches: tables of any kind that :meth:`predict` takes, or one of them.
            top_k: as for :meth:`predict`.
            threshold: as for :meth:`predict`.
            text: the text column, or several to join; None: as in training, or else ``text``.
            known: whether to add a column ``known``, the share of each text's words and n-grams
                that have a row.
            abstain: as for :meth:`predict`.
            nulls: as for :meth:`predict`.
            keep: columns to copy to the result, before its own; ``all``: all but the text column.
                One whose name the result has too gets the prefix ``input_``.

        Returns:
            Batches with the columns of :data:`PREDICTIONS`, in the order of the texts.

        Raises:
            ConfigError: ``top_k`` is below 1, or the model has no fitted thresholds.
            DataError: a batch is no table or lacks a column, or a text is missing or not a string.
        """
        minimum = self.resolve_threshold(threshold)
        ranks = self.label_limit(top_k, minimum)
        known, abstain = arguments.flag("known", known), arguments.flag("abstain", abstain)

        def predict(rows: TextRows) -> pa.RecordBatch:
            ranked = self.rank_chunk(rows.texts, ranks, known=known or abstain)
            mask = ranked.mask(minimum, top_k, abstain=abstain)
            if not known:
                ranked = replace(ranked, known=None)
            return rows.with_columns(ranked.columns(self.labels, mask, rows.missing))

        return map_threads(predict, self.rows(batches, text, nulls, keep), self.threads)

    def rows(
        self,
        batches: Any,
        text: TextColumns = None,
        nulls: str = "error",
        keep: str | Sequence[str] = (),
        max_rows: int = sys.maxsize,
    ) -> Iterator[TextRows]:
        """Yield the texts of a stream of tables, with columns to keep; see :meth:`predict_batches`.

        Raises:
            DataError: a batch is no table or lacks a column, or a text is missing or not a string.
        """
        for table in tables(batches):
            columns = self._text_columns(table, text)
            if isinstance(keep, str) and keep == "all":
                kept = [name for name in table.names if columns != [name]]
            else:
                kept = arguments.columns("keep", keep)
            for name in kept:
                if name not in table.names:
                    hint = did_you_mean(name, table.names)
                    raise DataError(f"keep: there is no column {name!r}{hint}")
            others, start = None, 0
            if kept:
                from fasttext_app.data.source import kept_name

                others = table.read(kept).rename_columns([kept_name(name) for name in kept])
            for chunk in self.chunks(table, columns, nulls, max_rows):
                yield TextRows(chunk, None if others is None else others.slice(start, len(chunk)))
                start += len(chunk)

    def resolve_threshold(self, threshold: float | str) -> Threshold:
        """Return a threshold as numbers: as it is, or the fitted ones of all classes, [C].

        Raises:
            ConfigError: the model has no fitted thresholds, or it is neither a number nor
                ``fitted``.
        """
        if not isinstance(threshold, str):
            return arguments.number("threshold", threshold)
        if threshold != FITTED:
            raise ConfigError(f"threshold = {threshold!r}: must be a number or {FITTED!r}")
        fitted = self.fitted_thresholds
        if fitted is None:
            raise ConfigError(
                "the model has no fitted thresholds; fit them with "
                "`fasttext-app calibrate MODEL --thresholds f1`"
            )
        return fitted

    def label_limit(self, top_k: int | None, threshold: Threshold = 0.0) -> int:
        """Return how many classes of each text to rank: all where the best may be left out.

        Raises:
            ConfigError: ``top_k`` is not a whole number of at least 1.
        """
        classes = len(self.labels)
        if top_k is not None:
            top_k = arguments.whole_number("top_k", top_k, 1)
        if not isinstance(threshold, float):
            return classes
        if top_k is None and threshold > 0 and self.config.data.eval_label_separator is not None:
            return classes
        return min(top_k or 1, classes)
