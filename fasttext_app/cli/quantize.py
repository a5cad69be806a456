"""``fasttext-app quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttext_app.cli.options import (
    DataOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    SetOption,
    SplitOption,
    TextColumnOption,
    ThreadsOption,
    bytes_of,
    check_other_folder,
    data_layer,
    only_section,
    open_scored,
    print_json,
)

if TYPE_CHECKING:
    from fasttext_app.config.loading import Layer
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.model.artifact import Artifact
    from fasttext_app.model.quantize import Retrain


def quantize(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", help="The smaller model's directory.")],
    cutoff: Annotated[
        int,
        typer.Option(
            "--cutoff", min=0, help="Keep this many rows, those of the largest norms; 0: all."
        ),
    ] = 0,
    product: Annotated[
        bool,
        typer.Option("--product", help="Product codes, as in an .ftz: smaller, less exact."),
    ] = False,
    dsub: Annotated[
        int | None, typer.Option("--dsub", min=1, help="Numbers that share a code.  [default: 2]")
    ] = None,
    qnorm: Annotated[
        bool, typer.Option("--qnorm", help="Code the norms of rows by themselves.")
    ] = False,
    qout: Annotated[
        bool, typer.Option("--qout", help="Code the linear layer too; for 256 labels or more.")
    ] = False,
    retrain: Annotated[
        str | None,
        typer.Option(
            "--retrain", metavar="SPEC", help="Train the rows that --cutoff keeps on this data."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Of --retrain.  [default: as in training]")
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Of --retrain.  [default: as in training]")
    ] = None,
    data: DataOption = None,
    split: SplitOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Make a model smaller: a quarter of the table, by rows of 8-bit numbers, or less.

    Size and accuracy are shown before and after, the accuracy where there is data to score.
    """
    from fasttext_app.cli.render import tables as console
    from fasttext_app.config.loading import flat_layer
    from fasttext_app.errors import DataError
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.load import load_classifier
    from fasttext_app.model.quantize import product_quantize
    from fasttext_app.model.quantize import quantize as quantize_numbers

    if not product and (qnorm or qout or dsub is not None):
        raise typer.BadParameter(
            "--dsub, --qnorm and --qout go with --product", param_hint="--product"
        )
    if retrain is not None and not cutoff:
        raise typer.BadParameter("goes with --cutoff", param_hint="--retrain")
    if retrain is None and (epochs is not None or lr is not None):
        raise typer.BadParameter("--epochs and --lr go with --retrain", param_hint="--retrain")
    check_other_folder(model, output)
    original = load_classifier(model, threads=threads or 0)
    reading = (text_column, label_column, errors)
    train_on = None
    if retrain is not None:
        layer = flat_layer({k: v for k, v in (("epochs", epochs), ("lr", lr)) if v is not None})
        train_on = _retrainer(original, data_layer(retrain, *reading), settings, layer)
    smaller = TextClassifier(
        product_quantize(
            original.artifact, cutoff, width=dsub or 2, norms=qnorm, output=qout, retrain=train_on
        )
        if product
        else quantize_numbers(original.artifact, cutoff, retrain=train_on),
        threads=threads or 0,
    )
    before, after = _figures(original), _figures(smaller)
    try:
        rows, config = open_scored(original, data, split, reading, settings)
        for figures, scored in ((before, original), (after, smaller)):
            scores = scored.evaluate_batches(rows(), data=config)
            names = ("examples", "accuracy", "exact_match", "macro_f1")
            figures |= {name: value for name, value in scores.items() if name in names}
    except DataError as error:
        if data is not None or split is not None:
            raise
        console.err.print(f"the accuracy is not measured; pass --data SPEC ({error})")
    smaller.save(output)
    before["bytes"], after["bytes"] = bytes_of(model), bytes_of(output)
    if json:
        print_json({"output": str(output), "before": before, "after": after})
        return
    console.show_quantized(before, after)
    typer.echo(f"saved the smaller model to {output}")


def _retrainer(
    model: TextClassifier, data: Layer, assignments: list[str] | None, training: Layer
) -> Retrain:
    """Return what trains a model on with the training rows of a SPEC, which is opened here."""
    from fasttext_app.cli.render.progress import TrainProgress
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.data.spec import open_source
    from fasttext_app.pipeline import retrain

    chosen = only_section("data", parse_assignments(assignments or []))
    config = resolve(model.config.model_dump(), chosen, data).data
    source = open_source(config, weights=config.weight_column is not None)
    reads = {"label_separator": config.label_separator, "soft_labels": config.soft_labels}
    layer = {**training, "data": reads}

    def train_on(artifact: Artifact) -> Artifact:
        progress = TrainProgress()
        try:
            return retrain(artifact, source.scan(config.train_split), layer, progress)
        finally:
            progress.close()

    return train_on


def _figures(model: TextClassifier) -> dict[str, Any]:
    table = model.artifact.table
    return {"bytes": 0, "rows": len(table), "table_bytes": table.nbytes}
