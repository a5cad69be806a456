"""``fasttext-app quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    Reading,
    ScoredDataOption,
    SetOption,
    SplitOption,
    TextColumnsOption,
    ThreadsOption,
    load_model,
    print_json,
    scored_rows,
    size_on_disk,
)
from fasttext_app.cli.outputs import OverwriteOption, check_new_model

if TYPE_CHECKING:
    from fasttext_app.config.loading import Layer
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.model.artifact import Artifact
    from fasttext_app.model.quantize import Retrain

RETRAINING = "Retraining"
SCORES = ("examples", "accuracy", "exact_match", "macro_f1")

_cutoff = Option(
    metavar="N", min=0, help="Number of rows to keep, those with the largest norms; 0: all."
)
_product = Option("--product", help="Use product quantization, as .ftz files do: smaller, lossier.")
_qout = Option("--qout", help="Quantize the output layer too; needs 256 labels or more.")
_fold = Option("--fold", help="Fold the output layer into the table first: a column per label.")
_retrain = Option(
    metavar="SPEC",
    help="Data on which to retrain the rows kept by --cutoff.",
    rich_help_panel=RETRAINING,
)
_epochs = Option(
    metavar="N", help="Epochs.", show_default="the model's own", rich_help_panel=RETRAINING
)
_lr = Option(
    metavar="RATE",
    help="Learning rate.",
    show_default="the model's own",
    rich_help_panel=RETRAINING,
)


def quantize(
    model: ModelArgument,
    output: Annotated[
        Path, Option("--output", "-o", metavar="FOLDER", help="Directory of the smaller model.")
    ],
    cutoff: Annotated[int, _cutoff] = 0,
    product: Annotated[bool, _product] = False,
    dsub: Annotated[
        int | None, Option(metavar="N", min=1, help="Dimensions per code.", show_default="2")
    ] = None,
    qnorm: Annotated[bool, Option("--qnorm", help="Quantize row norms separately.")] = False,
    qout: Annotated[bool, _qout] = False,
    fold: Annotated[bool, _fold] = False,
    retrain: Annotated[str | None, _retrain] = None,
    epochs: Annotated[int | None, _epochs] = None,
    lr: Annotated[float | None, _lr] = None,
    overwrite: OverwriteOption = False,
    data: ScoredDataOption = None,
    split: SplitOption = None,
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Shrink a model: store its embedding table as 8-bit numbers or product codes.

    Shows the size and, where there is data to score, the accuracy before and
    after.

    Examples:
        fasttext-app quantize models/tickets -o models/small
        fasttext-app quantize models/tickets -o models/tiny --cutoff 20000 --product
    """
    from fasttext_app.cli.render.model import show_quantized
    from fasttext_app.config.loading import flat_layer
    from fasttext_app.errors import DataError
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.model.fold import fold as fold_layer
    from fasttext_app.model.quantize import product_quantize
    from fasttext_app.model.quantize import quantize as quantize_to_8_bits

    if not product and (qnorm or qout or dsub is not None):
        raise BadParameter("is needed for --dsub, --qnorm and --qout", param_hint="--product")
    if retrain is not None and not cutoff:
        raise BadParameter("needs --cutoff", param_hint="--retrain")
    if retrain is None and (epochs is not None or lr is not None):
        raise BadParameter("is needed for --epochs and --lr", param_hint="--retrain")
    check_new_model(output, overwrite=overwrite, derived_from=model)
    original = load_model(model, threads=threads)
    reading = Reading(text_column, label_column, errors, settings)
    retrainer = None
    if retrain is not None:
        flags = {"epochs": epochs, "lr": lr}
        training = flat_layer({name: value for name, value in flags.items() if value is not None})
        retrainer = _retrainer(original, retrain, reading, training)
    unquantized = fold_layer(original.artifact) if fold else original.artifact
    artifact = (
        product_quantize(
            unquantized, cutoff, width=dsub or 2, norms=qnorm, output=qout, retrain=retrainer
        )
        if product
        else quantize_to_8_bits(unquantized, cutoff, retrain=retrainer)
    )
    smaller = TextClassifier(artifact, threads=threads)
    before, after = _table_size(original), _table_size(smaller)
    try:
        rows = scored_rows(original, data, split, reading)
        for summary, classifier in ((before, original), (after, smaller)):
            scores = classifier.evaluate_batches(rows.scan(), data=rows.config)
            summary |= {name: value for name, value in scores.items() if name in SCORES}
    except DataError as error:
        if data is not None or split is not None:
            raise
        note(f"accuracy was not measured; pass --data SPEC ({error})")
    smaller.save(output)
    reading.report_skipped()
    before["bytes"], after["bytes"] = size_on_disk(model), size_on_disk(output)
    if as_json:
        print_json({"output": str(output), "before": before, "after": after})
        return
    show_quantized(before, after)
    note(f"saved the smaller model to {output}", err=False)


def _retrainer(model: TextClassifier, spec: str, reading: Reading, training: Layer) -> Retrain:
    """Open the training rows of a SPEC, and return a function that retrains a model on them."""
    from fasttext_app.cli.render.progress import TrainProgress
    from fasttext_app.data.spec import open_source
    from fasttext_app.pipeline import retrain

    config = reading.config_for(model, [spec]).data
    weights = config.weight_column is not None
    source = open_source(config, weights=weights, bad_rows=reading.bad_rows)
    labels = {"label_separator": config.label_separator, "soft_labels": config.soft_labels}

    def retrain_on_rows(artifact: Artifact) -> Artifact:
        rows = source.scan(config.train_split)
        with TrainProgress() as progress:
            return retrain(artifact, rows, {**training, "data": labels}, progress)

    return retrain_on_rows


def _table_size(model: TextClassifier) -> dict[str, Any]:
    table = model.artifact.table
    return {"bytes": 0, "rows": len(table), "table_bytes": table.nbytes}
