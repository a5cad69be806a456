"""Answers to requests: predictions with explanations as JSON values, and CSV in, CSV out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pyarrow as pa

from fasttext_app.data.bad_rows import ColumnError, FileErrors
from fasttext_app.data.byte_stream import BytesFile, compression_of
from fasttext_app.data.csv import CsvFile
from fasttext_app.data.in_memory import column_settings, with_data_settings
from fasttext_app.errors import DataError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.predictions import Prediction
from fasttext_app.inference.writers import write_text
from fasttext_app.serve.models import Served
from fasttext_app.serve.schema import PredictRequest

MAX_ANSWERS = 1_000_000
"""Labels in the answer to one request, over all its texts."""
MAX_EXPLANATIONS = 1000
"""Explanations in the answer to one request, over all its texts."""
QUICK_CHARACTERS = 4096
"""Text that is answered at once; more goes to a thread, so that other requests do not wait."""

CSV_SETTINGS = {
    **{"keep": "all", "format": "csv", "errors": "strict", "nulls": "empty", "skip_bad": False},
    **{"delimiter": None, "quote": True},
}
OPTIONS = re.compile(r" \(choose with --[^)]*\)|, or pass --.*|--(?=encoding)")
"""What only a command line has."""


@dataclass(frozen=True)
class CsvRequest:
    """A CSV file, and what to answer."""

    data: bytes
    name: str
    """Its name in messages."""
    text_columns: tuple[str, ...] = ()
    """Columns to join; empty: as in training, or else ``text``."""
    header: bool = True
    encoding: str = "utf-8"
    top_k: int | None = None
    threshold: float | str = 0.0


def is_quick(request: PredictRequest) -> bool:
    """Return whether a request takes so little time that no thread is worth it."""
    return request.text is not None and not request.explain and len(request.text) < QUICK_CHARACTERS


def answer(request: PredictRequest, served: Served, max_texts: int) -> dict[str, Any]:
    """Return the values of a :class:`.PredictResponse`.

    Raises:
        ConfigError: the model lacks what is asked of it.
        DataError: the texts are too many.
    """
    model, top_k, threshold = served.classifier, request.top_k, request.threshold
    if request.text is not None:
        prediction = model.predict(request.text, top_k, threshold)
        (values,) = _values(request, served, [request.text], [prediction])
        return {"model": served.name, **values}
    assert request.texts is not None
    check_size(model, len(request.texts), top_k, threshold, max_texts)
    predictions = model.predict(request.texts, top_k, threshold)
    return {
        "model": served.name,
        "predictions": _values(request, served, request.texts, predictions),
    }


def _values(
    request: PredictRequest, served: Served, texts: list[str], predictions: list[Prediction]
) -> list[dict[str, Any]]:
    """Return the values of a :class:`.TextPrediction` for each text."""
    answers = [prediction._asdict() for prediction in predictions]
    if request.explain:
        if sum(len(prediction.labels) for prediction in predictions) > MAX_EXPLANATIONS:
            raise DataError(
                f"explain: there are more than {MAX_EXPLANATIONS:,} labels to explain; send fewer "
                "texts, or a smaller top_k"
            )
        for text, values in zip(texts, answers, strict=True):
            values["explanations"] = [
                _explanation(served.classifier, text, label) for label in values["labels"]
            ]
    return answers


def _explanation(model: TextClassifier, text: str, label: str) -> dict[str, Any]:
    """Return the values of a :class:`.LabelExplanation`."""
    explanation = model.explain(text, label)
    values = explanation.as_dict()
    for key in ("text", "against"):
        del values[key]
    return {**values, "pieces": explanation.pieces()}


def check_size(
    model: TextClassifier, texts: int, top_k: int | None, threshold: float | str, max_texts: int
) -> None:
    """Raise if the answer would be too large.

    Raises:
        DataError: it would.
    """
    if texts > max_texts:
        raise DataError(f"texts: more than {max_texts:,} are too many; send them in parts")
    ranks = model.label_limit(top_k, model.resolve_threshold(threshold))
    if texts * ranks > MAX_ANSWERS:
        most = max(MAX_ANSWERS // ranks, 1)
        raise DataError(
            f"texts: for {ranks:,} labels of each, more than {most:,} are too many; send them in "
            "parts, or a smaller top_k"
        )


def answer_csv(request: CsvRequest, served: Served, max_texts: int) -> tuple[str, int]:
    """Return the rows of a CSV file with their labels, as CSV, and their number.

    All columns are kept. Cells that a spreadsheet would run as formulas are guarded.

    Raises:
        ConfigError: the model lacks what is asked of it.
        DataError: it is not CSV, lacks the column of texts, or has too many rows.
    """
    if compression_of(request.data) is not None:
        raise DataError(f"{request.name}: is compressed; send plain text")
    own = served.classifier.config.data.text_columns
    if request.text_columns:
        candidates = [request.text_columns]
    else:
        candidates = [own, ("text",)] if request.header else [("1",)]
    problem: DataError | None = None
    for columns in candidates:
        try:
            return _answer_columns(request, columns, served, max_texts)
        except ColumnError as error:
            hint = "; choose another text_column" if request.header else "; columns have numbers"
            problem = problem or DataError(OPTIONS.sub("", str(error)) + hint)
        except DataError as error:
            problem = DataError(OPTIONS.sub("", str(error)))
            break
    assert problem is not None
    raise problem


def _answer_columns(
    request: CsvRequest, columns: tuple[str, ...], served: Served, max_texts: int
) -> tuple[str, int]:
    model, top_k, threshold = served.classifier, request.top_k, request.threshold
    own = {"header": request.header, "encoding": request.encoding}
    settings = {**CSV_SETTINGS, **column_settings(columns), **own}
    config = with_data_settings(model.config, settings).data
    file = CsvFile.open(BytesFile(request.name, request.data), config, ",", with_labels=False)

    def batches() -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in file.scan(False, FileErrors(skip=False)):
            rows += len(batch)
            check_size(model, rows, top_k, threshold, max_texts)
            yield batch

    predictions = model.predict_batches(batches(), top_k, threshold, "text", keep="all")
    output = StringIO()
    top = model.label_limit(top_k, model.resolve_threshold(threshold))
    rows = write_text(predictions, output, "csv", top, safe_csv=True)
    return output.getvalue(), rows
