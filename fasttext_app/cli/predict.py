"""``fasttext-app predict``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    STDIN,
    DeviceOption,
    ErrorsOption,
    InputOption,
    ModelArgument,
    Reading,
    SetOption,
    TextColumnsOption,
    TextsArgument,
    ThreadsOption,
    check_choice,
    complete,
    decode_arguments,
    texts_or_input,
)
from fasttext_app.cli.outputs import OutputFileOption, OverwriteOption, check_new_file

if TYPE_CHECKING:
    import pyarrow as pa

    from fasttext_app.inference.predictor import Predictor

_format = Option(
    "--format",
    "-f",
    metavar="text|jsonl|csv|parquet|fasttext",
    help="Output format.",
    autocompletion=complete("text", "jsonl", "csv", "parquet", "fasttext"),
    show_default="by the suffix of --output, else text",
)
_top_k = Option(
    "--top-k",
    "-k",
    metavar="N",
    min=1,
    help="Number of labels per text.",
    show_default="1; all above --threshold if a text can have several, or with fitted",
)
_threshold = Option(
    "--threshold",
    "-t",
    metavar="P|fitted",
    help="Leave out labels below this probability, or below their fitted one.",
)
_label = Option(
    "--label",
    "-l",
    metavar="LABEL",
    help="Output only the texts that reach --threshold for this label.",
)


def predict(
    model: ModelArgument,
    texts: TextsArgument = None,
    input_path: InputOption = None,
    output: OutputFileOption = None,
    overwrite: OverwriteOption = False,
    form: Annotated[str | None, _format] = None,
    top_k: Annotated[int | None, _top_k] = None,
    threshold: Annotated[str | None, _threshold] = None,
    label: Annotated[str | None, _label] = None,
    text_column: TextColumnsOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
) -> None:
    """Predict the labels of texts from arguments, standard input or a file.

    Every text gets one row of output, in order, even an empty text. With
    --label, only texts whose probability for that label is at least --threshold
    are output.

    Examples:
        fasttext-app predict models/tickets "where is my parcel" -k 3
        fasttext-app predict models/tickets -i new.csv -o labels.jsonl
        cat lines.txt | fasttext-app predict models/tickets
    """
    from fasttext_app.core.jit import PLAIN_BYTES
    from fasttext_app.inference.load import load_classifier
    from fasttext_app.inference.writers import FORMATS, format_for, write_predictions

    check_choice(form, FORMATS, "--format")
    texts, input_path = _texts_or_input(texts, input_path)
    check_new_file(output, overwrite=overwrite, input_path=input_path)
    if label is not None and top_k is not None:
        raise BadParameter("cannot be combined with --label", param_hint="--top-k")
    form, min_probability = format_for(output, form), _parse_threshold(threshold)
    if not threads and input_path == STDIN:
        threads = 1  # each line is answered before the next one is read
    classifier = load_classifier(model, device=device, threads=threads)
    reading = Reading(text_column, None, errors, settings)
    batches = _batches(classifier, texts, input_path, reading)
    if input_path is not None and input_path.is_file() and input_path.stat().st_size > PLAIN_BYTES:
        classifier.warm_up()
    if label is not None:
        from fasttext_app.inference.select import keep_texts

        predictions = keep_texts(classifier, batches, label, min_probability)
    else:
        predictions = classifier.predict_batches(batches, top_k, min_probability, text="text")
    ranks = classifier.label_limit(top_k, classifier.resolve_threshold(min_probability))
    rows = write_predictions(predictions, output, form, ranks if label is None else 1)
    if output is not None:
        note(f"wrote {rows:,} row{'s' * (rows != 1)} to {output}")


def _texts_or_input(
    texts: list[str] | None, input_path: Path | None
) -> tuple[list[str] | None, Path | None]:
    texts, input_path = texts_or_input(texts, input_path)
    if not texts and input_path is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise BadParameter("give texts, --input FILE, or lines on stdin", param_hint="TEXT")
        input_path = STDIN
    return texts, input_path


def _parse_threshold(text: str | None) -> float | str:
    if text is None or text == "fitted":
        return text or 0.0
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise BadParameter(
            f"{text!r} is neither a number from 0 to 1 nor 'fitted'", param_hint="--threshold"
        )
    return threshold


def _batches(
    model: Predictor, texts: list[str] | None, input_path: Path | None, reading: Reading
) -> Iterator[pa.RecordBatch]:
    """Return the texts of the command line as one batch, or scan the input."""
    if not texts:
        from fasttext_app.data.spec import open_texts

        return open_texts(reading.config_for(model, str(input_path)).data)
    import pyarrow as pa

    from fasttext_app.core.arrow import string_array

    texts = decode_arguments(texts, reading.config_for(model, None).data.errors)
    return iter([pa.record_batch({"text": string_array(texts)})])
