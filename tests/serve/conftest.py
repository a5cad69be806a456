"""A service of small models, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fasttext_app.serve.app import Service
from fasttext_app.serve.metrics import Metrics
from fasttext_app.serve.models import Models
from fasttext_app.serve.settings import ServeSettings


def make_service(*models: object, **settings: Any) -> Service:
    """Return a service that says nothing."""
    served = Models(list(map(str, models)), [].append, [].append)
    return Service(served, ServeSettings(**settings), Metrics(list(served.watched), 1))


@pytest.fixture(scope="session")
def client(tiny_model_dir: Path) -> Iterator[TestClient]:
    """A client of a service with the tiny model, under two names."""
    service = make_service(f"news={tiny_model_dir}", f"other={tiny_model_dir}", max_texts=100,
                           max_bytes=20_000)  # fmt: skip
    with TestClient(service, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def model_copy(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be replaced."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "served"))
