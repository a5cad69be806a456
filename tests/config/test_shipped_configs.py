"""The shipped configs reach a good accuracy through the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fasttext_app.cli.app import make_app


def train_and_evaluate(tmp_path, *arguments: str):
    for command in (
        ["train", *arguments, "--output", tmp_path / "m"],
        ["evaluate", tmp_path / "m"],
    ):
        result = CliRunner().invoke(make_app(), [*map(str, command), "--json"])
        assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_the_sample_config_learns_the_sample(tmp_path):
    scores = train_and_evaluate(tmp_path, "--config", "sample", "--epochs", "1")
    assert scores["examples"] == 675
    assert scores["accuracy"] > 0.8


@pytest.mark.slow
@pytest.mark.ag_news
@pytest.mark.parametrize("name", ["ag_news", "ag_news_sgd", "ag_news_sparse_adam", "fasttext"])
def test_the_ag_news_configs_learn_from_a_quarter_of_the_rows(
    name, tmp_path, ag_news_dir, monkeypatch
):
    monkeypatch.setenv("FASTTEXT_APP_DATA", str(ag_news_dir.parent))
    quarter = ["--set", "data.validation=0.75", "--set", "text.bucket=100000"]
    scores = train_and_evaluate(tmp_path, "--config", name, *quarter)
    assert scores["labels"] == ["World", "Sports", "Business", "Sci/Tech"]
    assert scores["accuracy"] > 0.84
