"""The recipes that are trained, with the commands that train and score each."""

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
PACKAGES = {  # import name: distribution
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
    data: Path
    """The folder that `peers.rows` wrote."""
    package: str = ""
    """The package it needs, by its import name."""
    slow: bool = False
    """Whether it has rounds of its own, without a warm-up."""


def child(module: str, *arguments: object) -> tuple[str, ...]:
    """Return the command that runs a module of this folder."""
    return (sys.executable, "-m", f"peers.{module}", *map(str, arguments))


def ours(name: str, data: Path, config: str = "ag_news", *flags: str) -> Contender:
    """Return fasttext_app with a shipped config."""
    options = ("--config", config, "--output", MODEL, "--seed", SEED, "--overwrite", *flags)
    train = (*APP, "train", *options)
    return Contender(name, train, (*APP, "evaluate", MODEL, "--json"), data)


def fasttext(name: str, data: Path, lr: float, bucket: int, epochs: int) -> Contender:
    """Return fastText with dim 10, bigrams and two threads."""
    train = child("peer_fasttext", "train", data / "train.txt", MODEL, lr, bucket, epochs)
    score = child("peer_fasttext", "score", data / "test.txt", MODEL)
    return Contender(name, train, score, data, "fasttext")


def published(name: str, data: Path) -> Contender:
    """Return fastText with the recipe that its authors publish for AG_NEWS."""
    return fasttext(name, data, 0.25, 10_000_000, 5)


def training_contenders(data: Path, configs: list[str]) -> list[Contender]:
    """Return all recipes, ours first.

    Args:
        data: the folder that `peers.rows` wrote.
        configs: further configs of fasttext_app.
    """
    train, test = data / "ag_news" / "train.csv", data / "ag_news" / "test.csv"

    def python_peer(name: str, module: str, *kind: str, slow: bool = False) -> Contender:
        return Contender(
            name,
            child(module, "train", *kind, train, MODEL),
            child(module, "score", test, MODEL),
            data,
            module.removeprefix("peer_"),
            slow,
        )

    return [
        ours(OURS, data),
        *(ours(f"{OURS}, `{config}`", data, config) for config in configs),
        published(PAPER, data),
        fasttext(QUICK, data, 1.0, 2_000_000, 1),
        python_peer(HASHED, "peer_sklearn", "hashing"),
        python_peer(TFIDF, "peer_sklearn", "tfidf"),
        python_peer(TUTORIAL, "peer_torchtext", slow=True),
    ]


def installed(package: str) -> bool:
    """Return whether a package is installed, without importing it."""
    return not package or find_spec(package) is not None
