"""What several test modules need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fasttext_app.core import jit

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
SCRIPTS = ROOT / "scripts"
DATA = Path(__file__).parent / "data"
"""Files that tests read."""


@contextmanager
def code_path(*, compiled: bool) -> Iterator[None]:
    """Run compiled code in this block, or plain Python for any amount of text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "_enabled", compiled)
        patch.setattr(jit, "PLAIN_BYTES", float("inf"))
        yield
