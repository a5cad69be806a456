"""The shipped configs reach a good accuracy through the command line."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.helpers import read_json, run_cli

pytestmark = pytest.mark.slow


def train_and_evaluate(folder: Path, *arguments: object):
    run_cli("train", *arguments, "--output", folder / "m", "--json")
    return read_json(run_cli("evaluate", folder / "m", "--json"))


def test_the_sample_config_learns_the_sample(tmp_path):
    scores = train_and_evaluate(tmp_path, "--config", "sample", "--epochs", "1")
    assert scores["examples"] == 675
    assert scores["accuracy"] > 0.8


@pytest.fixture(scope="module")
def some_ag_news(ag_news_dir, tmp_path_factory):
    """A data folder with the first rows of AG_NEWS."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "ag_news").mkdir()
    for split, rows in (("train", 12_000), ("test", 1500)):
        with (ag_news_dir / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            lines = "".join(islice(file, rows))  # no row has a line break
        (folder / "ag_news" / f"{split}.csv").write_text(lines, encoding="utf-8")
    return folder


@pytest.mark.ag_news
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("ag_news", 0.86),
        ("ag_news_best", 0.86),
        ("ag_news_sgd", 0.8),
        ("ag_news_sparse_adam", 0.84),
        ("fasttext", 0.82),
    ],
)
def test_the_ag_news_configs_learn_from_12_000_rows(
    some_ag_news, name, least, tmp_path, monkeypatch
):
    monkeypatch.setenv("FASTTEXT_APP_DATA", str(some_ag_news))
    quick = ["--set", "text.bucket=20000", "--set", "trainer.ensemble=1"]
    scores = train_and_evaluate(tmp_path, "--config", name, *quick)
    assert scores["labels"] == ["World", "Sports", "Business", "Sci/Tech"]
    assert scores["accuracy"] > least
