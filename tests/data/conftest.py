"""Fixtures of the tests of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Write bytes to a file, and return its path."""

    def write(data: bytes, name: str = "file.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write
