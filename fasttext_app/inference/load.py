"""Load a model from its directory or from a fastText file, without importing what trains one."""

from __future__ import annotations

from pathlib import Path

from fasttext_app.config.loading import Layer
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import load_artifact


def load_classifier(
    path: str | Path, *, device: str = "cpu", threads: int = 0, rewriting: Layer | None = None
) -> TextClassifier:
    """Load a model directory, or a ``.bin`` or ``.ftz`` file, ready to predict.

    Args:
        path: the model.
        device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
        threads: threads for a column of texts; 0: all cores.
        rewriting: ``text.lowercase`` and ``text.replace``, to put before the model of a file.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or not a classifier.
        ConfigError: ``rewriting`` has another setting, or is for a model directory.
        DeviceError: the device is not available.
    """
    artifact = load_artifact_or_fasttext(path, rewriting)
    return TextClassifier(artifact, device=device, threads=threads)


def load_artifact_or_fasttext(path: str | Path, rewriting: Layer | None = None) -> Artifact:
    """Load a model directory, or convert a ``.bin`` or ``.ftz`` file in memory.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or not a classifier.
        ConfigError: ``rewriting`` is not for this model; see :func:`load_classifier`.
    """
    if not Path(path).is_file():
        if rewriting:
            raise ConfigError(
                f"{path}: a model directory has its settings, with which it was trained; "
                "only the model of a fastText file can be given text.lowercase and text.replace"
            )
        return load_artifact(path)
    from fasttext_app.fasttext.convert import from_fasttext
    from fasttext_app.fasttext.file_format import is_fasttext, read_file

    if not is_fasttext(path):
        raise ArtifactError(f"{path}: is neither a model directory nor a fastText file")
    return from_fasttext(read_file(path), str(path), rewriting=rewriting)
