"""fasttext_app: fastText as it would be written today, in Python on PyTorch.

>>> import fasttext_app as ft
>>> ft.load("no/such/model")
Traceback (most recent call last):
    ...
fasttext_app.errors.ArtifactError: no/such/model: no such model directory; train one with ...

Names are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fasttext_app._version import __version__

if TYPE_CHECKING:
    from fasttext_app.api import review, train, tune
    from fasttext_app.config.schema import Config
    from fasttext_app.errors import FastTextAppError
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.load import load
    from fasttext_app.inference.predictions import Prediction
    from fasttext_app.text.encoder import TextEncoder

_HOMES = {
    "Config": "fasttext_app.config.loading",
    "FastTextAppError": "fasttext_app.errors",
    "Prediction": "fasttext_app.inference.predictions",
    "TextClassifier": "fasttext_app.inference.classifier",
    "TextEncoder": "fasttext_app.text.encoder",
    "load": "fasttext_app.inference.load",
    "review": "fasttext_app.api",
    "train": "fasttext_app.api",
    "tune": "fasttext_app.api",
}

__all__ = [
    "Config",
    "FastTextAppError",
    "Prediction",
    "TextClassifier",
    "TextEncoder",
    "__version__",
    "load",
    "review",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fasttext_app' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
