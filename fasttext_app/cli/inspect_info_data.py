"""``fasttext-app inspect``, ``info`` and ``data``: looking at texts, models and data sets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fasttext_app.cli.options import (
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    SetOption,
    TextColumnOption,
    bytes_of,
    data_layer,
    given_texts,
    only_section,
    print_json,
)


def inspect(
    arguments: Annotated[list[str], typer.Argument(metavar="MODEL TEXT...")],
    without_model: Annotated[
        bool,
        typer.Option(
            "--without-model", help="All arguments are texts; their words are the vocabulary."
        ),
    ] = False,
    settings: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show what every stage makes of a few texts, from tokens to logits.

    With --without-model the text settings come from --set, as in --set text.word_ngrams=2.
    """
    from fasttext_app.cli.render import tables as console
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.inference.inspect import inspect_texts, standalone_encoder
    from fasttext_app.inference.load import load_classifier

    if without_model:
        config = resolve(only_section("text", parse_assignments(settings or [])))
        texts = given_texts(arguments)
        inspection = inspect_texts(texts, standalone_encoder(config, texts))
    else:
        model, *texts = arguments
        if not texts:
            raise typer.BadParameter(
                "give a model directory and at least one text", param_hint="TEXT"
            )
        if settings:
            raise typer.BadParameter("goes only with --without-model", param_hint="--set")
        classifier = load_classifier(model)
        inspection = inspect_texts(given_texts(texts), classifier.encoder, classifier)
    if json:
        print_json(_plain(inspection))
    else:
        console.show_inspection(inspection)


def _plain(inspection: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "texts": [vars(stages) for stages in inspection.texts],
        "indices": inspection.bags.indices.tolist(),
        "offsets": inspection.bags.offsets.tolist(),
        "bag_sizes": inspection.bags.lengths.tolist(),
        "vocabulary": inspection.vocabulary_size,
        "bucket": inspection.bucket,
    }
    if inspection.logits is not None:
        document |= {
            "labels": list(inspection.labels),
            "logits": inspection.logits.tolist(),
            "probabilities": inspection.probabilities.tolist(),
        }
    return document


def info(model: ModelArgument, json: JsonOption = False) -> None:
    """Show a model's configuration, vocabulary, labels, sizes, training data and metrics."""
    from fasttext_app.cli.render import tables as console
    from fasttext_app.inference.inspect import known_settings
    from fasttext_app.inference.load import load_classifier

    classifier = load_classifier(model)
    size = bytes_of(model)
    if not json:
        console.show_info(classifier, str(model), size)
        return
    artifact = classifier.artifact
    print_json(
        {
            "config": known_settings(artifact),
            "labels": dict(zip(artifact.labels.names, artifact.labels.counts, strict=True)),
            "vocabulary": len(artifact.vocabulary),
            "table": list(artifact.table.shape),
            "bytes": size,
            "metrics": artifact.metrics,
            "calibration": artifact.calibration,
            "history": artifact.history,
            "data": artifact.data,
        }
    )


def data(
    source: Annotated[str, typer.Argument(metavar="SPEC")],
    split: Annotated[str, typer.Option("--split")] = "train",
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show the rows, lengths, label balance and first rows of a data set."""
    from fasttext_app.cli.render import tables as console
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.data.describe import describe_data
    from fasttext_app.data.spec import open_source

    config = resolve(
        parse_assignments(settings or []),
        data_layer(source, text_column, label_column, errors),
    )
    separator, soft = config.data.label_separator, config.data.soft_labels
    description = describe_data(open_source(config.data), split, separator, soft=soft)
    if json:
        print_json(description)
    else:
        console.show_data(description)
