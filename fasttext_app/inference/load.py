"""Load a model ready to predict, without importing what trains one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fasttext_app.config.loading import Layer
from fasttext_app.core import arguments
from fasttext_app.errors import ConfigError
from fasttext_app.inference.artifacts import load_artifact_or_fasttext
from fasttext_app.inference.classifier import TextClassifier


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    threads: int = 0,
    text: Mapping[str, Any] | None = None,
    packages: bool = False,
) -> TextClassifier:
    """Load a model directory, a fastText ``.bin`` or ``.ftz`` file, or a model of the hub.

    Prediction on the CPU needs no torch.

    Args:
        path: the model: a path, or ``owner/name`` or ``owner/name@revision`` on the Hugging Face
            hub; a path that exists takes precedence.
        device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
        threads: threads for a column of texts; 0: all cores.
        text: what to do with texts before the model of a fastText file sees them:
            ``{"lowercase": True, "replace": ["url", "number"]}``.
        packages: whether the model's tokenizer may run an optional package (``torchtext:spacy`` and
            the like). A model imports and reads nothing outside its directory without it.

    Raises:
        ArtifactError: the model is missing, damaged, of a newer format, or not a classifier.
        ConfigError: ``text`` has another setting, or is for a model directory; or the model needs
            ``packages``.
        DeviceError: the device is not available.
        MissingDependencyError: the model is on the hub, and huggingface_hub is not installed.
    """
    if text is not None and not isinstance(text, Mapping):
        raise ConfigError("text: must be a dict of settings")
    rewriting = {"text": text} if text else None
    model = arguments.path("path", path)
    packages = arguments.flag("packages", packages)
    return load_classifier(
        model, device=device, threads=threads, rewriting=rewriting, packages=packages
    )


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
