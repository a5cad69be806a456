"""Where commands write. One rule for all: an earlier result is kept, unless ``--overwrite``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from fasttext_app.core.checksummed_dir import MANIFEST
from fasttext_app.errors import ArtifactError, DataError

OverwriteOption = Annotated[
    bool, Option("--overwrite", help="Replace the result of an earlier run.")
]
SafeCsvOption = Annotated[
    bool,
    Option("--safe-csv", help="Put ' before cells of CSV that a spreadsheet would run (=1+1)."),
]
OutputFileOption = Annotated[
    Path | None,
    Option("--output", "-o", metavar="FILE", help="Write to this file instead of stdout."),
]


def refuse_existing_model(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a model, unless ``overwrite``.

    Raises:
        ArtifactError: there is one.
    """
    if not overwrite and (path / MANIFEST).is_file():
        raise ArtifactError(
            f"{path}: already has a model; pass --overwrite to replace it, or choose another folder"
        )


def refuse_existing_file(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file, unless ``overwrite`` or it is empty, a pipe or a device.

    Raises:
        DataError: there is one.
    """
    if not overwrite and path.is_file() and path.stat().st_size:
        raise DataError(
            f"{path}: already exists; pass --overwrite to replace it, or choose another file"
        )


def check_new_file(
    path: Path | None, *, overwrite: bool, inputs: Sequence[str] | None = None
) -> None:
    """Refuse a file that cannot be the output of a command.

    Args:
        path: the output file; None: standard output.
        overwrite: whether it may replace an earlier one.
        inputs: the files that the command reads.

    Raises:
        typer.BadParameter: the file is the input too.
        DataError: the file exists.
    """
    if path is None:
        return
    files = [file for file in map(Path, inputs or ()) if file.is_file()]
    if path.is_file() and any(map(path.samefile, files)):
        raise BadParameter(f"{path} is the input too", param_hint="--output")
    refuse_existing_file(path, overwrite=overwrite)


def check_new_model(path: Path, *, overwrite: bool, derived_from: Path | None = None) -> None:
    """Refuse a folder in which a model cannot be saved, before the work of making it.

    Args:
        path: the folder.
        overwrite: whether the model may replace an earlier one.
        derived_from: the model that the new one is made from.

    Raises:
        ArtifactError: the folder has a model or other files, or is not writable.
        CheckpointError: the folder has the checkpoints of an unfinished run.
    """
    from fasttext_app.model.directory import check_target

    check_target(path)
    if derived_from is not None and path.exists() and path.resolve() == derived_from.resolve():
        raise ArtifactError(f"{path}: is the model itself; choose another --output")
    refuse_existing_model(path, overwrite=overwrite)
