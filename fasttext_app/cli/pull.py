"""``fasttext-app pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import JsonOption, print_json, size_on_disk
from fasttext_app.cli.outputs import OverwriteOption, refuse_existing_file, refuse_existing_model

_repo = Argument(metavar="REPO", help="Model of the hub: owner/name, or owner/name@revision.")


def pull(
    repo: Annotated[str, _repo],
    directory: Annotated[Path, Argument(metavar="DIRECTORY", help="Folder to write it to.")],
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download a model of the Hugging Face hub into a folder of your own.

    Commands take owner/name in place of a model directory too, and keep the
    download in the hub's cache.

    Examples:
        fasttext-app pull my-name/tickets models/tickets
        fasttext-app pull my-name/tickets@v1.0 models/old
    """
    from shutil import copyfile

    from fasttext_app.core.atomic_file import atomic_file
    from fasttext_app.core.sizes import format_size
    from fasttext_app.errors import ArtifactError
    from fasttext_app.hub import download
    from fasttext_app.inference.publish import repository
    from fasttext_app.model.directory import copy_model

    model = repository(repo)
    if directory.exists() and not directory.is_dir():
        raise ArtifactError(f"{directory}: is a file; name a folder")
    refuse_existing_model(directory, overwrite=overwrite)
    source = download(model)
    if source.is_dir():
        copy_model(source, directory)
        written = directory
    else:
        written = directory / source.name
        refuse_existing_file(written, overwrite=overwrite)
        directory.mkdir(parents=True, exist_ok=True)
        with atomic_file(written, ArtifactError) as partial:
            copyfile(source, partial)
    size = size_on_disk(written)
    if as_json:
        print_json({"output": str(written), "bytes": size})
        return
    note(f"wrote {written} ({format_size(size)})", err=False)
