"""Fixtures of the command-line tests: an empty working directory, data and a model in it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.helpers import GOOD_ROWS, HEADER, contents, run_cli


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(workdir: Path) -> Callable[..., Result]:
    """Run a command in an empty folder, and check its exit code."""
    return run_cli


@pytest.fixture(scope="session")
def tiny_csv(
    tmp_path_factory: pytest.TempPathFactory, tiny_examples: list[tuple[str, str]]
) -> Path:
    """A folder with ``train.csv`` and ``test.csv`` of the tiny examples."""
    folder = tmp_path_factory.mktemp("data")
    for split, rows in (("train", tiny_examples), ("test", tiny_examples[::3])):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return folder


@pytest.fixture
def good_csv(workdir: Path) -> Path:
    """Ten rows of two labels, ``good.csv`` in the working directory."""
    (workdir / "good.csv").write_text(HEADER + GOOD_ROWS)
    return Path("good.csv")


@pytest.fixture
def model(workdir: Path, good_csv: Path, tiny_model_dir: Path) -> Path:
    """A copy of the tiny model, ``model`` in the working directory, beside ``good.csv``."""
    return Path(shutil.copytree(tiny_model_dir, workdir / "model")).relative_to(workdir)


@pytest.fixture
def fails(workdir: Path, good_csv: Path) -> Callable[..., str]:
    """Run a command that must fail as bad input does, and return its message.

    That is one line on stderr that begins with ``error:``, exit code 1, no traceback, nothing on
    stdout, and every file as it was.
    """

    def run(*arguments: object, stdin: str | bytes | None = None) -> str:
        before = contents(workdir)
        result = run_cli(*arguments, code=1, stdin=stdin)
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert contents(workdir) == before
        return result.stderr.removeprefix("error: ").removesuffix("\n")

    return run
