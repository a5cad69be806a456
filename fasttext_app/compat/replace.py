"""``install``: put this program in place of the package ``fasttext``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from typing import Any

PACKAGE = "fasttext_app.compat"
MODULES = {"fasttext": "", "fasttext.FastText": ".FastText", "fasttext.util": ".util"}
DISTRIBUTIONS = "fasttext", "fasttext-wheel", "fasttext-numpy2-wheel"
"""Names under which libraries look for fastText among the installed packages."""
VERSION = "0.9.3"
"""The version whose API this is."""


def install() -> None:
    """Put this package in place of ``fasttext``, ``fasttext.FastText`` and ``fasttext.util``.

    From then on, every import of them in this process finds this package, whether the original is
    installed or not. A module that imported the original before keeps it. Libraries that ask
    whether fastText is installed, as datatrove does, are told that it is.
    """
    for name, module in MODULES.items():
        sys.modules[name] = import_module(PACKAGE + module)
    if FINDER not in sys.meta_path:
        sys.meta_path.append(FINDER)  # at the end, so that an installed original is found first


class _Finder(DistributionFinder):
    """Finds fastText among the installed packages; it finds no modules."""

    def find_spec(self, *arguments: Any) -> None:
        return None

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> list[Distribution]:
        wanted = context.name if context else None
        return [_Stub(name) for name in DISTRIBUTIONS if wanted in (None, name)]


class _Stub(Distribution):
    """A package with a name and a version, and no files."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        metadata = f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {VERSION}\n"
        return metadata if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


FINDER = _Finder()
