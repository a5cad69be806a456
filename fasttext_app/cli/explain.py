"""``fasttext-app explain``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    READING,
    ErrorsOption,
    InputOption,
    LabelColumnOption,
    ModelArgument,
    Reading,
    SetOption,
    TextColumnsOption,
    TextsArgument,
    check_choice,
    complete,
    decode_arguments,
    load_model,
    scored_rows,
    texts_or_input,
)
from fasttext_app.cli.outputs import OutputFileOption, OverwriteOption, check_new_file
from fasttext_app.cli.reading import hide_reading_from_a_terminal

if TYPE_CHECKING:
    from fasttext_app.cli.render.console import Console
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.explain import Explanation, LabelFeature, TextScan

FORMATS = ("text", "html", "json")
SUFFIX_FORMATS = {".html": "html", ".htm": "html", ".json": "json", ".jsonl": "json"}
FILE_WIDTH = 100  # columns of a table in a file

_label = Option(
    "--label", "-l", metavar="LABEL", help="Label to explain.", show_default="the predicted one"
)
_format = Option(
    "--format",
    "-f",
    metavar="|".join(FORMATS),
    help="Output format.",
    autocompletion=complete(*FORMATS),
    show_default="by the suffix of --output, else text",
)


def explain(
    model: ModelArgument,
    texts: TextsArgument = None,
    label: Annotated[str | None, _label] = None,
    against: Annotated[
        str | None, Option(metavar="LABEL", help="Compare --label with this label.")
    ] = None,
    top: Annotated[
        int, Option(metavar="N", min=1, help="Features to show for and against the label.")
    ] = 10,
    form: Annotated[str | None, _format] = None,
    inputs: InputOption = None,
    output: OutputFileOption = None,
    overwrite: OverwriteOption = False,
    data: Annotated[
        str | None,
        Option(
            "--data",
            "-d",
            metavar="SPEC",
            help="Without texts: also list n-grams, using those found in this data.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        Option(
            metavar="NAME", help="Split of --data.", show_default="train", rich_help_panel=READING
        ),
    ] = None,
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
) -> None:
    """Show how much each word and n-gram of a text adds to a label's logit.

    Without texts, show the features that count most toward --label.

    Examples:
        fasttext-app explain models/tickets "where is my parcel"
        fasttext-app explain models/tickets "where is my parcel" -o why.html
        fasttext-app explain models/tickets --label refund
    """
    from fasttext_app.inference.explain import label_features
    from fasttext_app.inference.writers import format_for, text_output

    texts, inputs = texts_or_input(texts, inputs)
    has_texts = bool(texts) or inputs is not None
    check_choice(form, FORMATS, "--format")
    form = format_for(output, form, SUFFIX_FORMATS)
    if output is None:
        hide_reading_from_a_terminal()
    _check_options(has_texts, label, data, split, form)
    check_new_file(output, overwrite=overwrite, inputs=inputs)
    classifier = load_model(model)
    reading = Reading(text_column, label_column, errors, settings)
    with text_output(output) as file:
        if has_texts:
            explanations = (
                classifier.explain(text, label, against)
                for text in _texts(classifier, texts, inputs, reading)
            )
            _write_explanations(explanations, file, form, top, f"Explanations by {model}")
        else:
            assert label is not None
            scan = _text_scan(classifier, data, split, reading)
            features = label_features(classifier, label, top, against=against, scan=scan)
            request = {"label": label, "against": against, "data": data}
            has_ngrams = classifier.encoder.bucket > 0
            _write_features(features, file, form, request, has_ngrams=has_ngrams)
    reading.report_skipped()
    if output is not None:
        note(f"wrote {output}")


def _check_options(
    has_texts: bool, label: str | None, data: str | None, split: str | None, form: str
) -> None:
    """Refuse options that do not fit the presence or absence of texts."""
    if not has_texts and label is None:
        raise BadParameter(
            "give texts, --input FILE (- for stdin), or a label to show its strongest features",
            param_hint="--label",
        )
    if data is not None and has_texts:
        raise BadParameter("cannot be combined with texts", param_hint="--data")
    if split is not None and data is None:
        raise BadParameter("needs --data", param_hint="--split")
    if form == "html" and not has_texts:
        raise BadParameter("html needs texts", param_hint="--format")


def _texts(
    model: TextClassifier, texts: list[str] | None, inputs: list[str] | None, reading: Reading
) -> Iterable[str]:
    """Return the texts of the command line, or read them from the input."""
    from fasttext_app.core.arrow import python_strings
    from fasttext_app.data.spec import open_texts

    if texts:
        return decode_arguments(texts, reading.config_for(model, None).data.errors)
    batches = open_texts(reading.config_for(model, inputs).data, reading.bad_rows)
    return (text for batch in batches for text in python_strings(batch.column("text")))


def _text_scan(
    model: TextClassifier, data: str | None, split: str | None, reading: Reading
) -> TextScan | None:
    """Return a function that reads the texts of a SPEC from the start at each call."""
    if data is None:
        return None
    rows = scored_rows(model, [data], split or model.config.data.train_split, reading)
    return lambda: (batch.column("text") for batch in rows.scan())


def _write_explanations(
    explanations: Iterable[Explanation], file: IO[str], form: str, top: int, title: str
) -> None:
    from fasttext_app.cli.render.explanation import html_page, show_explanation

    if form == "html":
        file.writelines(html_page(explanations, title, top))
        return
    for explanation in explanations:
        if form == "json":
            file.write(json.dumps(explanation.as_dict(), ensure_ascii=False) + "\n")
        else:
            show_explanation(explanation, top, _console(file))


def _write_features(
    features: list[LabelFeature],
    file: IO[str],
    form: str,
    request: dict[str, str | None],
    *,
    has_ngrams: bool,
) -> None:
    from fasttext_app.cli.render.explanation import show_label_features

    if form == "json":
        document = {**request, "features": [asdict(feature) for feature in features]}
        file.write(json.dumps(document, ensure_ascii=False) + "\n")
        return
    title = f"Strongest features for {request['label']}"
    if request["against"] is not None:
        title += f" rather than {request['against']}"
    counted = f"Words and n-grams of {request['data']}, counted there."
    if request["data"] is None:
        counted = "Words, counted in the training texts."
        if has_ngrams:
            counted += " A model does not name its n-grams; --data SPEC does, for its texts."
    show_label_features(features, title, counted, _console(file))


def _console(file: IO[str]) -> Console:
    """Return a console for standard output, or a plain one for a file."""
    from fasttext_app.cli.render import console

    if file is sys.stdout:
        return console.out
    return console.Console(file=file, width=FILE_WIDTH)
