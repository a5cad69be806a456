"""Load a model from its directory or from a fastText file, without importing what trains one."""

from __future__ import annotations

from pathlib import Path

from fasttext_app.errors import ArtifactError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import load_artifact


def load_classifier(path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
    """Load a model directory, or a ``.bin`` or ``.ftz`` file, ready to predict.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or not a classifier.
        DeviceError: the device is not available.
    """
    return TextClassifier(load_artifact_or_fasttext(path), device=device, threads=threads)


def load_artifact_or_fasttext(path: str | Path) -> Artifact:
    """Load a model directory, or convert a ``.bin`` or ``.ftz`` file in memory.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or not a classifier.
    """
    if not Path(path).is_file():
        return load_artifact(path)
    from fasttext_app.fasttext.convert import from_fasttext
    from fasttext_app.fasttext.file_format import is_fasttext, read_file

    if not is_fasttext(path):
        raise ArtifactError(f"{path}: is neither a model directory nor a fastText file")
    return from_fasttext(read_file(path), str(path))
