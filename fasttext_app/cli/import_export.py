"""``fasttext-app import`` and ``fasttext-app export``: fastText's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fasttext_app.cli.options import JsonOption, ModelArgument, print_json

FORMATS = ("fasttext-bin", "fasttext-ftz", "vec")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A fastText .bin or .ftz file.")],
    output: Annotated[Path, typer.Option("--output", help="The model directory.")],
    label: Annotated[
        str | None,
        typer.Option("--label", help="What its labels begin with.  [default: as they do]"),
    ] = None,
    dequantize: Annotated[
        bool, typer.Option("--dequantize", help="Make numbers of a quantized table.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a model of a fastText file; it gives the same answers here as there."""
    from fasttext_app.fasttext.convert import from_fasttext
    from fasttext_app.fasttext.file_format import read_file
    from fasttext_app.model.directory import check_target, save_artifact

    check_target(output)
    artifact = from_fasttext(read_file(file), str(file), prefix=label, dequantize=dequantize)
    save_artifact(artifact, output)
    rows, dim = artifact.table.shape
    figures = {
        "output": str(output),
        "labels": len(artifact.labels),
        "vocabulary": len(artifact.vocabulary),
        "table_rows": rows,
        "dim": dim,
        "loss": artifact.config.model.loss,
        "quantised": "codes" in artifact.tensors,
    }
    if json:
        print_json(figures)
        return
    kind = "codes" if figures["quantised"] else "numbers"
    typer.echo(
        f"imported {file} to {output}: {len(artifact.labels):,} labels, "
        f"{len(artifact.vocabulary):,} words, {rows:,} rows of {dim} {kind}, "
        f"loss {artifact.config.model.loss}"
    )


def export(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="[default: by the name of FILE: .bin, .ftz or .vec]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides the codes of an .ftz.")] = 0,
) -> None:
    """Write a model as a file that fastText reads, with the same labels and probabilities.

    What a fastText file cannot hold is refused. `train --config fasttext` makes models that it can.
    """
    from fasttext_app.errors import ArtifactError
    from fasttext_app.fasttext.convert import to_fasttext
    from fasttext_app.fasttext.file_format import write_file
    from fasttext_app.fasttext.word_vectors import classifier_vectors, write_vectors
    from fasttext_app.inference.load import load_artifact_or_fasttext

    by_name = {".bin": "fasttext-bin", ".ftz": "fasttext-ftz", ".vec": "vec"}
    if file.is_dir():
        raise ArtifactError(f"{file}: is a folder; name a file")
    chosen = form or by_name.get(file.suffix)
    if chosen not in FORMATS:
        raise typer.BadParameter(
            f"name FILE with .bin, .ftz or .vec, or choose one of {', '.join(FORMATS)}",
            param_hint="--format",
        )
    artifact = load_artifact_or_fasttext(model)
    if chosen == "vec":
        write_vectors(classifier_vectors(artifact.encoder(), artifact), file)
    else:
        write_file(to_fasttext(artifact, quantized=chosen == "fasttext-ftz", seed=seed), file)
    typer.echo(f"wrote {file} ({file.stat().st_size / 1e6:,.1f} MB)")
