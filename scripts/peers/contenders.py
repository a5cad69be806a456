"""Who takes part in training, with the commands that train and score each."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from peers.measure import MODEL, SEED

OURS = "fasttext_app"
PAPER = "fastText, published recipe"
QUICK = "fastText, one epoch"
HASHED = "scikit-learn, hashed n-grams and SGD"
TFIDF = "scikit-learn, tf-idf and LinearSVC"
TUTORIAL = "torchtext tutorial"
PACKAGES = {  # import name: the distribution that brings it
    "fasttext": "fasttext-community",
    "fasttext_new": "fasttext-new",
    "sklearn": "scikit-learn",
    "torchtext": "torchtext",
}
APP = (sys.executable, "-m", "fasttext_app")


@dataclass(frozen=True)
class Contender:
    """One recipe on one set of rows; `{model}` in its commands stands for the saved model."""

    name: str
    train: tuple[str, ...]
    score: tuple[str, ...]
    work: Path  # what peers.rows made
    package: str = ""  # that it needs
    slow: bool = False  # run in rounds of its own, without a warm-up


def child(module: str, *words: object) -> tuple[str, ...]:
    """Return the command that runs a module of this folder."""
    return (sys.executable, "-m", f"peers.{module}", *map(str, words))


def ours(name: str, work: Path, config: str = "ag_news", *flags: str) -> Contender:
    """Return fasttext_app with a shipped config."""
    train = (*APP, "train", "--config", config, "--output", MODEL, "--seed", SEED, *flags)
    return Contender(name, train, (*APP, "evaluate", MODEL, "--json"), work)


def fasttext(name: str, work: Path, lr: float, bucket: int, epochs: int) -> Contender:
    """Return fastText with dim 10, bigrams and two threads."""
    text, test = work / "train.txt", work / "test.txt"
    train = child("peer_fasttext", "train", text, MODEL, lr, bucket, epochs)
    return Contender(name, train, child("peer_fasttext", "score", test, MODEL), work, "fasttext")


def published(name: str, work: Path) -> Contender:
    """Return fastText with the recipe that its authors publish for AG_NEWS."""
    return fasttext(name, work, 0.25, 10_000_000, 5)


def training_contenders(work: Path, also: list[str]) -> list[Contender]:
    """Return all recipes, ours first.

    Args:
        work: what peers.rows made.
        also: further configs of fasttext_app.
    """
    train, test = work / "ag_news" / "train.csv", work / "ag_news" / "test.csv"

    def python_peer(name: str, module: str, *kind: str, slow: bool = False) -> Contender:
        return Contender(
            name,
            child(module, "train", *kind, train, MODEL),
            child(module, "score", test, MODEL),
            work,
            module.removeprefix("peer_"),
            slow,
        )

    return [
        ours(OURS, work),
        *(ours(f"{OURS}, `{config}`", work, config) for config in also),
        published(PAPER, work),
        fasttext(QUICK, work, 1.0, 2_000_000, 1),
        python_peer(HASHED, "peer_sklearn", "hashing"),
        python_peer(TFIDF, "peer_sklearn", "tfidf"),
        python_peer(TUTORIAL, "peer_torchtext", slow=True),
    ]


def installed(package: str) -> bool:
    """Say whether a package is there, without importing it."""
    return not package or find_spec(package) is not None
