"""Shared fixtures: tests run offline, and share one small trained model."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Set on import, before any test can import `datasets`, which reads both only once.
_HF_HOME = tempfile.mkdtemp(prefix="fasttext_app-hf-")
atexit.register(shutil.rmtree, _HF_HOME, ignore_errors=True)
os.environ["HF_HOME"] = _HF_HOME
os.environ["HF_HUB_OFFLINE"] = "1"

TINY_EXAMPLES = [
    ("the striker scored two goals in the final match", "sport"),
    ("the team won the cup after extra time", "sport"),
    ("a late goal gave the club the league title", "sport"),
    ("the coach praised the young goalkeeper", "sport"),
    ("injury keeps the champion out of the match", "sport"),
    ("the runner broke the record in the final race", "sport"),
    ("tennis champion wins the final in straight sets", "sport"),
    ("fans cheered as the team scored again", "sport"),
    ("the league fined the club for the late match", "sport"),
    ("the coach named his team for the cup", "sport"),
    ("shares fell as the bank cut its profit forecast", "money"),
    ("the market rose after the bank cut interest rates", "money"),
    ("oil prices pushed inflation higher this quarter", "money"),
    ("the company reported record profit and revenue", "money"),
    ("investors sold shares of the retailer", "money"),
    ("the central bank raised its inflation forecast", "money"),
    ("the retailer will buy back shares worth millions", "money"),
    ("bond prices fell as the market feared inflation", "money"),
    ("the company cut jobs after weak revenue", "money"),
    ("quarterly profit at the bank beat the forecast", "money"),
]


@pytest.fixture(scope="session")
def tiny_examples() -> list[tuple[str, str]]:
    """Twenty (text, label) pairs, ``sport`` and ``money``, ten of each."""
    return TINY_EXAMPLES


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of the tiny examples (words and bigrams). Read it; copy it before a change."""
    from fasttext_app.api import train

    texts, labels = zip(*TINY_EXAMPLES, strict=True)
    model = train(
        texts,
        labels,
        validation=0.0,
        word_ngrams=2,
        bucket=1000,
        dim=8,
        lr=0.5,
        epochs=10,
        device="cpu",
        threads=1,
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model.save(folder)
    return folder


@pytest.fixture(scope="session")
def ag_news_dir() -> Path:
    """The folder of the AG_NEWS files, named by ``$FASTTEXT_APP_DATA``; skips where it is not."""
    named = os.environ.get("FASTTEXT_APP_DATA")
    folder = Path(named) / "ag_news" if named else None
    if folder is None or not all((folder / f"{s}.csv").is_file() for s in ("train", "test")):
        pytest.skip("needs the AG_NEWS files: FASTTEXT_APP_DATA names no folder with ag_news/")
    return folder
