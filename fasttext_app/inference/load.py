"""Load a model ready to predict, without importing what trains one."""

from __future__ import annotations

from pathlib import Path

from fasttext_app.config.loading import Layer
from fasttext_app.inference.artifacts import load_artifact_or_fasttext
from fasttext_app.inference.classifier import TextClassifier


def load_classifier(
    path: str | Path,
    *,
    device: str = "cpu",
    threads: int = 0,
    rewriting: Layer | None = None,
    packages: bool = False,
) -> TextClassifier:
    """Load a model directory, a ``.bin`` or ``.ftz`` file, or a model of the hub.

    Args:
        path: the model.
        device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
        threads: threads for a column of texts; 0: all cores.
        rewriting: ``text.lowercase`` and ``text.replace``, to put before the model of a file.
        packages: whether the model's tokenizer may run an optional package.

    Raises:
        ArtifactError: it is missing, damaged, of a newer format, or not a classifier.
        ConfigError: ``rewriting`` has another setting, or is for a model directory; or the model
            needs ``packages``.
        DeviceError: the device is not available.
        MissingDependencyError: it is on the hub, and huggingface_hub is not installed.
    """
    artifact = load_artifact_or_fasttext(path, rewriting, packages=packages)
    return TextClassifier(artifact, device=device, threads=threads)
