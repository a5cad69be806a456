"""A model from its directory, or from a fastText file."""

from __future__ import annotations

from pathlib import Path

from fasttext_app.artifact import Artifact, load_artifact
from fasttext_app.errors import ArtifactError
from fasttext_app.predictor import TextClassifier

__all__ = ["open_artifact", "open_classifier"]


def open_artifact(path: str | Path) -> Artifact:
    """Read a model directory, or a ``.bin`` or ``.ftz`` file, which is imported in memory.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or no classifier.
    """
    if not Path(path).is_file():
        return load_artifact(path)
    from fasttext_app.interop.fasttext_file import is_fasttext, read_file
    from fasttext_app.interop.fasttext_model import from_fasttext

    if not is_fasttext(path):
        raise ArtifactError(f"{path}: not a model directory, and no file of fastText's either")
    return from_fasttext(read_file(path), str(path))


def open_classifier(path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
    """Load a model for use; see :func:`open_artifact`.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or no classifier.
        DeviceError: the device is not there.
    """
    return TextClassifier(open_artifact(path), device=device, threads=threads)
