"""The open sets: AG_NEWS cut down in several ways, the embedded sample, and folders of CSV files.

Every cut is random with a fixed seed, so the rows of a set are always the same.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.spec import open_source

SEED = 0
HELD_OUT_ROWS = 8000
AG_NEWS_CUTS = (300, 1000, 3000, 10_000, 30_000)
TWO_LABELS = ("Business", "Sci/Tech")
UNBALANCED = {"Business": 1500, "Sci/Tech": 150, "World": 50}
SNIPPET_WORDS, LONG_WORDS = 3, 500

Row = tuple[str, str]
"""A text and its label."""
Split = tuple[list[Row], list[Row]]
"""Training rows and test rows."""


@dataclass(frozen=True)
class OpenSet:
    """A data set to train and test on."""

    name: str
    title: str
    train: list[Row]
    test: list[Row]


class Sources:
    """The rows that the sets are cut from, in a random order; each source is read once.

    Args:
        held_out: test on rows that are held out from the training rows, not on the test split.
        folders: folders with ``train.csv`` and ``test.csv``, by the name of their set.
    """

    def __init__(self, *, held_out: bool, folders: Mapping[str, Path]) -> None:
        self.held_out, self.folders = held_out, folders
        self._splits: dict[str, Split] = {}

    def split(self, spec: str) -> Split:
        """Return the training and test rows of a source.

        Raises:
            DataError: the source cannot be read.
        """
        if spec not in self._splits:
            train = _read(spec, "train")
            if self.held_out:
                size = min(HELD_OUT_ROWS, len(train) // 5)
                self._splits[spec] = train[size:], train[:size]
            else:
                self._splits[spec] = train, _read(spec, "test")
        return self._splits[spec]


def _read(spec: str, split: str) -> list[Row]:
    table = open_source(DataConfig(source=spec)).read(split)
    rows = list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))
    random.Random(SEED).shuffle(rows)
    return rows


def cut(rows: Iterable[Row], counts: Mapping[str, int]) -> list[Row]:
    """Return the first rows of each label, as many as ``counts`` says.

    >>> cut([("a", "x"), ("b", "x"), ("c", "y"), ("d", "z")], {"x": 1, "y": 2})
    [('a', 'x'), ('c', 'y')]
    """
    missing = Counter(counts)
    selected = []
    for text, label in rows:
        if missing[label] > 0:
            missing[label] -= 1
            selected.append((text, label))
    return selected


def balanced(rows: Sequence[Row], size: int | None = None) -> list[Row]:
    """Return as many rows of each label: ``size`` in all, or as many as the rarest label has."""
    counts = Counter(label for _, label in rows)
    each = min(counts.values()) if size is None else size // len(counts)
    return cut(rows, dict.fromkeys(counts, each))


def snippets(rows: Iterable[Row], words: int = SNIPPET_WORDS) -> list[Row]:
    """Replace each text by consecutive words from a random place in it."""
    generator = random.Random(SEED)
    cut_rows = []
    for text, label in rows:
        tokens = text.split()
        start = generator.randrange(max(len(tokens) - words, 0) + 1)
        cut_rows.append((" ".join(tokens[start : start + words]), label))
    return cut_rows


def joined(rows: Iterable[Row], words: int = LONG_WORDS) -> list[Row]:
    """Join texts of one label until each has at least ``words`` words.

    >>> joined([("a b", "x"), ("c", "y"), ("d", "x"), ("e", "x")], words=3)
    [('a b d', 'x')]
    """
    parts: defaultdict[str, list[str]] = defaultdict(list)
    long_rows = []
    for text, label in rows:
        parts[label] += text.split()
        if len(parts[label]) >= words:
            long_rows.append((" ".join(parts.pop(label)), label))
    return long_rows


def of_labels(rows: Iterable[Row], labels: Iterable[str]) -> list[Row]:
    """Return the rows with one of these labels."""
    names = set(labels)
    return [row for row in rows if row[1] in names]


def ag_news(size: int | None, sources: Sources) -> OpenSet:
    """Return AG_NEWS with ``size`` training rows, balanced, or with all."""
    train, test = sources.split("ag_news")
    if size is None:
        return OpenSet("ag_all", "AG_NEWS, all rows", train, test)
    return OpenSet(f"ag_{size}", f"AG_NEWS, {size:,} rows", balanced(train, size), test)


def sample(sources: Sources) -> OpenSet:
    """Return the embedded sample."""
    return OpenSet("sample", "sample", *sources.split("sample"))


def two_labels(sources: Sources) -> OpenSet:
    """Return the two labels of AG_NEWS that are hardest to tell apart."""
    train, test = (of_labels(rows, TWO_LABELS) for rows in sources.split("ag_news"))
    return OpenSet("two", "two labels", balanced(train, 2000), test)


def unbalanced(sources: Sources) -> OpenSet:
    """Return three labels of AG_NEWS, two of them rare in training; test rows are balanced."""
    train, test = sources.split("ag_news")
    rows = balanced(of_labels(test, UNBALANCED))
    return OpenSet("unbalanced", "unbalanced labels", cut(train, UNBALANCED), rows)


def short(sources: Sources) -> OpenSet:
    """Return snippets of three words from AG_NEWS."""
    train, test = sources.split("ag_news")
    title = f"texts of {SNIPPET_WORDS} words"
    return OpenSet("short", title, snippets(balanced(train, 3000)), snippets(test))


def long(sources: Sources) -> OpenSet:
    """Return texts of about 500 words, joined from texts of AG_NEWS with the same label."""
    train, test = (joined(rows) for rows in sources.split("ag_news"))
    return OpenSet("long", f"texts of {LONG_WORDS} words", balanced(train, 1000), test)


def folder(name: str, title: str, sources: Sources) -> OpenSet:
    """Return the set in a folder with ``train.csv`` and ``test.csv``."""
    return OpenSet(name, title, *sources.split(str(sources.folders[name])))


SETS: dict[str, Callable[[Sources], OpenSet]] = {
    **{f"ag_{size}": partial(ag_news, size) for size in AG_NEWS_CUTS},
    "ag_all": partial(ag_news, None),
    "sample": sample,
    "two": two_labels,
    "unbalanced": unbalanced,
    "short": short,
    "long": long,
    "langid": partial(folder, "langid", "languages"),
    "packages": partial(folder, "packages", "packages"),
}
FOLDERS = {
    "langid": "scripts/build_langid.py",
    "packages": "scripts/build_packages.py",
}
"""The sets that are read from a folder, with the script that builds it."""
