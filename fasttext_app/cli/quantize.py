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
    open_scored,
    print_json,
)

if TYPE_CHECKING:
    from fasttext_app.predictor import TextClassifier

__all__ = ["quantize"]


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
    from fasttext_app import console
    from fasttext_app.artifact import check_target
    from fasttext_app.errors import ArtifactError, DataError
    from fasttext_app.predictor import TextClassifier

    if not product and (qnorm or dsub is not None):
        raise typer.BadParameter("--dsub and --qnorm go with --product", param_hint="--product")
    check_target(output)
    if output.exists() and output.resolve() == model.resolve():
        raise ArtifactError(f"{output}: is the model itself; name another folder")
    original = TextClassifier.load(model, threads=threads or 0)
    smaller = original.quantize(cutoff, product=product, dsub=dsub or 2, qnorm=qnorm)
    before, after = _figures(original), _figures(smaller)
    try:
        reading = (text_column, label_column, errors)
        rows, separator = open_scored(original, data, split, reading, settings)
        for figures, scored in ((before, original), (after, smaller)):
            scores = scored.evaluate_batches(rows(), separator=separator)
            names = ("examples", "accuracy", "exact_match", "macro_f1")
            figures |= {name: value for name, value in scores.items() if name in names}
    except DataError as error:
        if data is not None or split is not None:
            raise
        console.err.print(f"the accuracy is not measured; pass --data SPEC ({error})")
    smaller.save(output)
    before["bytes"], after["bytes"] = _bytes_in(model), _bytes_in(output)
    if json:
        print_json({"output": str(output), "before": before, "after": after})
        return
    console.show_quantized(before, after)
    typer.echo(f"saved the smaller model to {output}")


def _figures(model: TextClassifier) -> dict[str, Any]:
    table = model.artifact.table
    return {"bytes": 0, "rows": len(table), "table_bytes": table.nbytes}


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
