"""``fasttext-app predict``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    STDIN,
    DelimiterOption,
    DeviceOption,
    EncodingOption,
    ErrorsOption,
    InputOption,
    ModelArgument,
    Reading,
    SetOption,
    SkipBadOption,
    TextColumnsOption,
    TextsArgument,
    ThreadsOption,
    check_choice,
    complete,
    decode_arguments,
    load_model,
    parse_threshold,
    texts_or_input,
)
from fasttext_app.cli.outputs import (
    OutputFileOption,
    OverwriteOption,
    SafeCsvOption,
    check_new_file,
)
from fasttext_app.cli.reading import hide_reading_from_a_terminal

if TYPE_CHECKING:
    import pyarrow as pa

    from fasttext_app.config.schema import DataConfig

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
_keep = Option(
    metavar="NAME,...|all", help="Columns of the input to copy to the output.", show_default="none"
)
_nulls = Option(
    metavar="error|null|empty",
    help="Missing texts: stop, answer null, or read an empty text.",
    show_default="error",
    rich_help_panel="Reading data",
)
_abstain = Option(
    help="Give no label to a text without a word or n-gram that the model knows.",
)


def predict(
    model: ModelArgument,
    texts: TextsArgument = None,
    inputs: InputOption = None,
    output: OutputFileOption = None,
    overwrite: OverwriteOption = False,
    form: Annotated[str | None, _format] = None,
    top_k: Annotated[int | None, _top_k] = None,
    threshold: Annotated[str | None, _threshold] = None,
    label: Annotated[str | None, _label] = None,
    abstain: Annotated[bool, _abstain] = False,
    keep: Annotated[list[str] | None, _keep] = None,
    safe_csv: SafeCsvOption = False,
    text_column: TextColumnsOption = None,
    nulls: Annotated[str | None, _nulls] = None,
    errors: ErrorsOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
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
    from fasttext_app.core import jit
    from fasttext_app.inference.predictor import NULLS
    from fasttext_app.inference.writers import (
        FORMATS,
        WITH_KNOWN,
        format_for,
        write_predictions,
    )

    check_choice(form, FORMATS, "--format")
    check_choice(nulls, NULLS, "--nulls")
    texts, inputs = _texts_or_input(texts, inputs)
    check_new_file(output, overwrite=overwrite, inputs=inputs)
    if label is not None and top_k is not None:
        raise BadParameter("cannot be combined with --label", param_hint="--top-k")
    if output is None:
        hide_reading_from_a_terminal()
    form, min_probability = format_for(output, form), parse_threshold(threshold)
    if safe_csv and form != "csv":
        raise BadParameter("needs --format csv", param_hint="--safe-csv")
    if keep and form == "fasttext":
        raise BadParameter(
            "a fastText line has no columns; choose another --format", param_hint="--keep"
        )
    if keep and inputs is None:
        raise BadParameter("needs a file with columns; name it with --input", param_hint="--keep")
    if not threads and inputs == STDIN:
        threads = 1  # each line is answered before the next one is read
    classifier = load_model(model, device=device, threads=threads)
    reading = Reading(
        text_column, None, errors, settings, delimiter, encoding, skip_bad, keep, nulls
    )
    config = reading.config_for(classifier, inputs).data
    batches = _batches(texts, config, reading)
    files = [path for path in map(Path, inputs or ()) if path.is_file()]
    if sum(path.stat().st_size for path in files) > jit.PLAIN_BYTES:
        jit.enable()
    answers: dict[str, Any] = {
        "known": form in WITH_KNOWN,
        "abstain": abstain,
        "nulls": config.nulls,
        "keep": "all",  # columns that were read
    }
    if label is not None:
        from fasttext_app.inference.select import keep_texts

        predictions = keep_texts(classifier, batches, label, min_probability, **answers)
    else:
        predictions = classifier.predict_batches(
            batches, top_k, min_probability, text="text", **answers
        )
    ranks = classifier.label_limit(top_k, classifier.resolve_threshold(min_probability))
    top = ranks if label is None else 1
    rows = write_predictions(predictions, output, form, top, safe_csv=safe_csv)
    reading.report_skipped()
    if output is not None:
        note(f"wrote {rows:,} row{'s' * (rows != 1)} to {output}")


def _texts_or_input(
    texts: list[str] | None, inputs: list[str] | None
) -> tuple[list[str] | None, list[str] | None]:
    texts, inputs = texts_or_input(texts, inputs)
    if not texts and inputs is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise BadParameter("give texts, --input FILE, or lines on stdin", param_hint="TEXT")
        inputs = STDIN
    return texts, inputs


def _batches(
    texts: list[str] | None, config: DataConfig, reading: Reading
) -> Iterator[pa.RecordBatch]:
    """Return the texts of the command line as one batch, or scan the input."""
    if not texts:
        from fasttext_app.data.spec import open_texts

        return open_texts(config, reading.bad_rows)
    import pyarrow as pa

    from fasttext_app.core.arrow import string_array

    texts = decode_arguments(texts, config.errors)
    return iter([pa.record_batch({"text": string_array(texts)})])
