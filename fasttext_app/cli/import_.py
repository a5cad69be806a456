"""``fasttext-app import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import JsonOption, print_json
from fasttext_app.cli.outputs import OverwriteOption, check_new_model

_label = Option(
    "--label",
    "-l",
    metavar="PREFIX",
    help="Label prefix to remove.",
    show_default="the one they share",
)

_set = Option(
    "--set",
    metavar="KEY=VALUE",
    help="text.lowercase or text.replace, to put before the model; repeatable.",
)


def import_(
    file: Annotated[Path, Argument(metavar="FILE", help="A fastText .bin or .ftz file.")],
    output: Annotated[Path, Option("--output", "-o", metavar="FOLDER", help="Model directory.")],
    label: Annotated[str | None, _label] = None,
    dequantize: Annotated[
        bool, Option("--dequantize", help="Decode a quantized table into floats.")
    ] = False,
    settings: Annotated[list[str] | None, _set] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a fastText file into a model directory that gives the same predictions.

    Examples:
        fasttext-app import lid.176.ftz -o models/lid
    """
    from fasttext_app.config.loading import parse_assignments
    from fasttext_app.fasttext.convert import from_fasttext
    from fasttext_app.fasttext.file_format import read_file
    from fasttext_app.model.directory import save_artifact

    check_new_model(output, overwrite=overwrite)
    artifact = from_fasttext(
        read_file(file),
        str(file),
        prefix=label,
        dequantize=dequantize,
        rewriting=parse_assignments(settings or []),
    )
    save_artifact(artifact, output)
    rows, dim = artifact.table.shape
    quantized = "codes" in artifact.tensors
    if as_json:
        print_json(
            {
                "output": str(output),
                "labels": len(artifact.labels),
                "vocabulary": len(artifact.vocabulary),
                "table_rows": rows,
                "dim": dim,
                "loss": artifact.config.model.loss,
                "quantised": quantized,
            }
        )
        return
    note(
        f"imported {file} to {output}: {len(artifact.labels):,} labels, "
        f"{len(artifact.vocabulary):,} words, {rows:,} rows of {dim} "
        f"{'codes' if quantized else 'floats'}, loss {artifact.config.model.loss}",
        err=False,
    )
