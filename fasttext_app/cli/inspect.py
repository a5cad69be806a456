"""``fasttext-app inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, BadParameter, Option

from fasttext_app.cli.options import (
    AllOption,
    JsonOption,
    decode_arguments,
    load_model,
    parse_section,
    print_json,
)

if TYPE_CHECKING:
    from fasttext_app.inference.inspect import Inspection

_set = Option("--set", "-s", metavar="text.KEY=VALUE", help="A text setting; repeatable.")
_without_model = Option(
    "--without-model", help="Take all arguments as texts, and their words as the vocabulary."
)


def inspect(
    arguments: Annotated[list[str], Argument(metavar="MODEL TEXT", help="A model, and texts.")],
    without_model: Annotated[bool, _without_model] = False,
    settings: Annotated[list[str] | None, _set] = None,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show each stage from a text to its logits: tokens, table rows, the batch.

    With --without-model, text settings come from --set (--set
    text.word_ngrams=2).

    Examples:
        fasttext-app inspect models/tickets "where is my parcel"
        fasttext-app inspect --without-model "play chess" -s text.word_ngrams=3
    """
    from fasttext_app.cli.render.inspection import show_inspection
    from fasttext_app.config.loading import resolve
    from fasttext_app.inference.inspect import inspect_texts, standalone_encoder

    if without_model:
        config = resolve(parse_section("text", settings))
        texts = decode_arguments(arguments)
        inspection = inspect_texts(texts, standalone_encoder(config, texts))
    else:
        model, *texts = arguments
        if not texts:
            raise BadParameter("give a model directory and at least one text", param_hint="TEXT")
        if settings:
            raise BadParameter("needs --without-model", param_hint="--set")
        classifier = load_model(Path(model))
        inspection = inspect_texts(decode_arguments(texts), classifier.encoder, classifier)
    if as_json:
        print_json(_document(inspection))
    else:
        show_inspection(inspection, show_all=show_all)


def _document(inspection: Inspection) -> dict[str, Any]:
    document: dict[str, Any] = {
        "texts": [vars(stages) for stages in inspection.texts],
        "indices": inspection.bags.indices.tolist(),
        "offsets": inspection.bags.offsets.tolist(),
        "bag_sizes": inspection.bags.lengths.tolist(),
        "vocabulary": inspection.vocabulary_size,
        "bucket": inspection.bucket,
    }
    if inspection.logits is not None and inspection.probabilities is not None:
        document |= {
            "labels": list(inspection.labels),
            "logits": inspection.logits.tolist(),
            "probabilities": inspection.probabilities.tolist(),
        }
    return document
