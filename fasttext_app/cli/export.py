"""``fasttext-app export``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

from fasttext_app.cli import messages
from fasttext_app.cli.messages import note
from fasttext_app.cli.options import ModelArgument, Reading, complete
from fasttext_app.cli.outputs import OverwriteOption, check_new_file

if TYPE_CHECKING:
    from fasttext_app.model.artifact import Artifact

FORMATS = {".bin": "fasttext-bin", ".ftz": "fasttext-ftz", ".vec": "vec", ".onnx": "onnx"}

_format = Option(
    "--format",
    "-f",
    metavar="|".join(FORMATS.values()),
    help="File format.",
    autocompletion=complete(*FORMATS.values()),
    show_default="by the suffix of FILE",
)
_input = Option(
    "--input",
    "-i",
    metavar="FILE",
    help="Texts to check an ONNX export on.",
    show_default="the sample",
)


def export(
    model: ModelArgument,
    file: Annotated[Path, Argument(metavar="FILE", help="File to write.")],
    form: Annotated[str | None, _format] = None,
    inputs: Annotated[list[str] | None, _input] = None,
    seed: Annotated[int, Option(metavar="N", help="Random seed of the codes of an .ftz file.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Export a model to a fastText file or to ONNX, with the same labels and probabilities.

    A model that fastText cannot represent is refused; `train --config fasttext`
    trains models that it can. An .onnx file comes with its encoder (.json) and with
    scorers in Python and JavaScript; it is checked before it is written.

    Examples:
        fasttext-app export models/mine model.bin
        fasttext-app export models/mine model.onnx
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
            f"name FILE with {', '.join(FORMATS)}, or choose one of {', '.join(FORMATS.values())}",
            param_hint="--format",
        )
    if inputs and form != "onnx":
        raise BadParameter("needs --format onnx", param_hint="--input")
    artifact = load_artifact_or_fasttext(model, packages=messages.says_yes)
    if form == "onnx":
        _export_onnx(artifact, file, inputs, overwrite=overwrite)
        return
    if form == "vec":
        write_vectors(classifier_vectors(artifact.encoder(), artifact), file)
    else:
        write_file(to_fasttext(artifact, quantized=form == "fasttext-ftz", seed=seed), file)
    note(f"wrote {file} ({format_size(file.stat().st_size)})", err=False)


def _export_onnx(
    artifact: Artifact, file: Path, inputs: list[str] | None, *, overwrite: bool
) -> None:
    from fasttext_app.core.arrow import python_strings
    from fasttext_app.core.sizes import format_size
    from fasttext_app.data.spec import open_texts
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.onnx.export import CHECKED_TEXTS, export_onnx, exported_files, is_scorer

    for target in exported_files(file):
        if not is_scorer(target):  # the same for every model
            check_new_file(target, overwrite=overwrite)
    model, texts = TextClassifier(artifact), None
    if inputs:
        batches = open_texts(Reading().config_for(model, inputs).data)
        columns = (python_strings(batch.column("text")) for batch in batches)
        texts = list(islice((text for column in columns for text in column), CHECKED_TEXTS))
    for written in export_onnx(model, file, texts):
        note(f"wrote {written} ({format_size(written.stat().st_size)})", err=False)
