"""Models of other shapes than the recipe for AG_NEWS: ours and fastText's with equal settings.

Both have the same rows, epochs, dimension, n-grams and number of buckets. The rows with many labels
come from ``peers.synthetic``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peers.contenders import APP, Contender, child
from peers.measure import MODEL, SEED

THREADS = (2, 1)
UNIGRAMS = "dim 10, words"
IMPORT_TORCH = "import torch"


@dataclass(frozen=True)
class Shape:
    """The settings of one shape, in the names of both programs."""

    name: str
    dim: int
    word_ngrams: int = 1
    characters: tuple[int, int] = (0, 0)
    bucket: int = 2_000_000
    tfidf: bool = False
    """Whether our model weighs ids by tf-idf; fastText cannot."""
    labels: int = 0
    """Labels of synthetic rows for language identification; 0: the rows are those of AG_NEWS."""
    epochs: int = 5
    their_epochs: int = 0
    """fastText's epochs; 0: as many."""
    target: float = 1.0
    """The target for our time divided by fastText's."""

    @property
    def settings(self) -> list[str]:
        """Our settings."""
        weighting, mode = ("tfidf", "sum") if self.tfidf else ("none", "mean")
        values = {
            "model.dim": self.dim,
            "model.mode": mode,
            "text.term_weighting": weighting,
            "text.word_ngrams": self.word_ngrams,
            "text.minn": self.characters[0],
            "text.maxn": self.characters[1],
            "text.bucket": self.bucket,
            "text.min_count": 1,
            "trainer.epochs": self.epochs,
            "data.validation": 0,
            **({"text.tokenizer": "whitespace"} if self.labels else {}),
        }
        return [f"{name}={value}" for name, value in values.items()]

    def source(self, data: Path) -> str:
        """Return the SPEC of our rows."""
        return str(data / "{split}.csv") if self.labels else "ag_news"

    def ours(self, data: Path, threads: int) -> Contender:
        """Return our run."""
        flags = [word for setting in self.settings for word in ("--set", setting)]
        options = ["--output", MODEL, "--seed", SEED, "--overwrite", "--threads", str(threads)]
        train = (*APP, "train", "--data", self.source(data), *options, *flags)
        score = (*APP, "evaluate", MODEL, "--json", "--data", self.source(data))
        return Contender(f"{self.name}, {threads}", train, score, data)

    def fasttext(self, data: Path, threads: int) -> Contender:
        """Return fastText's run."""
        options = {
            "dim": self.dim,
            "wordNgrams": self.word_ngrams,
            "minn": self.characters[0],
            "maxn": self.characters[1],
            "thread": threads,
        }
        given = [f"{name}={value}" for name, value in options.items()]
        arguments = (
            data / "train.txt",
            MODEL,
            0.25,
            self.bucket,
            self.their_epochs or self.epochs,
            *given,
        )
        train = child("peer_fasttext", "train", *arguments)
        score = child("peer_fasttext", "score", data / "test.txt", MODEL)
        return Contender(f"fastText, {self.name}, {threads}", train, score, data, "fasttext")


SHAPES = [
    Shape("dim 100, bigrams", 100, word_ngrams=2, target=0.8),
    Shape("dim 16, characters 2-5, mean", 16, characters=(2, 5), target=0.95),
    Shape("dim 16, characters 2-5, tf-idf", 16, characters=(2, 5), tfidf=True, target=0.95),
    Shape(UNIGRAMS, 10, target=1.3),
    Shape(
        "dim 256, characters 2-5, 20 labels",
        256,
        characters=(2, 5),
        bucket=1_000_000,
        labels=20,
        epochs=2,
        target=0.8,
    ),
    Shape(
        "dim 256, characters 2-5, 2,000 labels",
        256,
        characters=(2, 5),
        bucket=1_000_000,
        labels=2000,
        epochs=1,
        target=0.8,
    ),
]
TO_ITS_ACCURACY = [
    Shape(
        f"dim 16, characters 2-5, {name}, {epochs} against 5 epochs",
        16,
        characters=(2, 5),
        tfidf=name == "tf-idf",
        epochs=epochs,
        their_epochs=5,
        target=0.5,
    )
    for name, epochs in (("mean", 2), ("tf-idf", 1))
]
"""Shapes with so few epochs that our model is still at least as accurate as fastText's."""
LANGID_ROWS = 20_000
