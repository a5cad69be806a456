"""The artifact of a MODEL: a model directory, a fastText file, or a model of the hub."""

from __future__ import annotations

from pathlib import Path

from fasttext_app.config.loading import Layer
from fasttext_app.core.checksummed_dir import MANIFEST
from fasttext_app.core.digest import file_digest
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import load_artifact


def load_artifact_or_fasttext(
    model: str | Path,
    rewriting: Layer | None = None,
    revision: str | None = None,
    token: str | None = None,
    *,
    packages: bool = False,
) -> Artifact:
    """Load a model directory, or convert a ``.bin`` or ``.ftz`` file in memory.

    Args:
        model: the path, or the id of a model of the hub.
        rewriting: ``text.lowercase`` and ``text.replace``, to put before the model of a file.
        revision: the revision of an id that names none.
        token: the access token; see ``hub.local_model``.
        packages: whether the tokenizer may run an optional package.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or not a classifier.
        ConfigError: ``rewriting`` has another setting, or is for a model directory; or
            ``revision`` is for a path.
        MissingDependencyError: it is on the hub, and huggingface_hub is not installed.
    """
    path = Path(model)
    if revision is not None or not (path / MANIFEST).is_file():
        from fasttext_app.hub import FASTTEXT_SUFFIXES, local_model

        path = local_model(model, revision, token)
        if path.suffix in FASTTEXT_SUFFIXES and not path.exists():
            raise ArtifactError(f"{path}: no such file; check the path")
    if not path.is_file():
        if rewriting:
            raise ConfigError(
                f"{model}: a model directory has its settings, with which it was trained; "
                "only the model of a fastText file can be given text.lowercase and text.replace"
            )
        return load_artifact(path, packages=packages)
    from fasttext_app.fasttext.convert import from_fasttext
    from fasttext_app.fasttext.file_format import is_fasttext, read_file

    if not is_fasttext(path):
        raise ArtifactError(f"{path}: is neither a model directory nor a fastText file")
    return from_fasttext(read_file(path), str(model), rewriting=rewriting)


def model_digest(model: str | Path) -> str:
    """Return the digest of a model: of its one file, or of the manifest with its files' digests.

    Args:
        model: the path, or the id of a model of the hub.

    Raises:
        ArtifactError: there is no such model, or it cannot be read.
    """
    from fasttext_app.hub import local_model

    path = local_model(model)
    file = path if path.is_file() else path / MANIFEST
    try:
        return file_digest(file)
    except OSError as error:
        load_artifact_or_fasttext(model)  # it says what is wrong
        raise ArtifactError(f"{file}: cannot be read ({error.strerror})") from None
