"""``fasttext-app export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import ModelArgument, complete
from fasttext_app.cli.outputs import OverwriteOption, check_new_file

FORMATS = {".bin": "fasttext-bin", ".ftz": "fasttext-ftz", ".vec": "vec"}

_format = Option(
    "--format",
    "-f",
    metavar="|".join(FORMATS.values()),
    help="File format.",
    autocompletion=complete(*FORMATS.values()),
    show_default="by the suffix of FILE",
)


def export(
    model: ModelArgument,
    file: Annotated[Path, Argument(metavar="FILE", help="File to write.")],
    form: Annotated[str | None, _format] = None,
    seed: Annotated[int, Option(metavar="N", help="Random seed of the codes of an .ftz file.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Export a model to a fastText file with the same labels and probabilities.

    A model that fastText cannot represent is refused; `train --config fasttext`
    trains models that it can.

    Examples:
        fasttext-app export models/mine model.bin
    """
    from fasttext_app.core.sizes import format_size
    from fasttext_app.errors import ArtifactError
    from fasttext_app.fasttext.convert import to_fasttext
    from fasttext_app.fasttext.file_format import write_file
    from fasttext_app.fasttext.word_vectors import classifier_vectors, write_vectors
    from fasttext_app.inference.artifacts import load_artifact_or_fasttext

    if file.is_dir():
        raise ArtifactError(f"{file}: is a folder; name a file")
    check_new_file(file, overwrite=overwrite)
    form = form or FORMATS.get(file.suffix)
    if form not in FORMATS.values():
        raise BadParameter(
            f"name FILE with .bin, .ftz or .vec, or choose one of {', '.join(FORMATS.values())}",
            param_hint="--format",
        )
    artifact = load_artifact_or_fasttext(model)
    if form == "vec":
        write_vectors(classifier_vectors(artifact.encoder(), artifact), file)
    else:
        write_file(to_fasttext(artifact, quantized=form == "fasttext-ftz", seed=seed), file)
    note(f"wrote {file} ({format_size(file.stat().st_size)})", err=False)
