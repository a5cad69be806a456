"""Make new rows from the word pairs of others: any number of distinct rows, like but not equal.

    python -m peers.synthetic ag_news FOLDER OUTPUT ROWS
    python -m peers.synthetic langid FOLDER OUTPUT LABELS ROWS

A row of a label begins with the first word of one of its rows, and each further word follows the
last one in one of its rows (a Markov chain of order 1); its length is that of one of its rows. So
new rows have the words, the word frequencies and the lengths of the label, and mostly new texts.

``ag_news`` reads what ``peers.rows`` wrote, and writes the same files with ROWS new training rows.
``langid`` reads the sample in ``data/langid``. With more labels than it has languages, each
further label is a language with its letters exchanged, so that its n-grams are its own.
"""

from __future__ import annotations

import csv
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SEED = 1
HELD_OUT = 10  # of the rows of langid, one in so many is for the test


def markov_rows(
    texts: Sequence[Sequence[str]], count: int, generator: np.random.Generator
) -> list[list[str]]:
    """Return ``count`` new texts, as lists of words.

    >>> generator = np.random.default_rng(0)
    >>> markov_rows([["a", "cup"], ["a", "late", "goal"]], 3, generator)
    [['a', 'cup', 'a'], ['a', 'late', 'goal'], ['a', 'late', 'goal']]
    """
    texts = [text for text in texts if text]
    words = sorted({word for text in texts for word in text})
    number = {word: index for index, word in enumerate(words)}
    lengths = np.array([len(text) for text in texts])
    # All texts end to end, and after each text a number that no word has.
    end = len(words)
    stream = np.array([i for text in texts for i in (*map(number.__getitem__, text), end)])
    starts = np.cumsum(lengths + 1) - lengths - 1
    places = np.argsort(stream, kind="stable")  # the places of word 0, of word 1, ...
    bounds = np.searchsorted(stream[places], np.arange(end + 2))

    chosen = generator.choice(lengths, count)
    columns = [stream[generator.choice(starts, count)]]
    for _ in range(1, int(chosen.max())):
        last = columns[-1]
        uses = bounds[last + 1] - bounds[last]
        place = places[bounds[last] + (generator.random(count) * uses).astype(np.int64)]
        following = stream[np.minimum(place + 1, len(stream) - 1)]
        # After the last word of a text comes the first word of another one.
        columns.append(
            np.where(following == end, stream[generator.choice(starts, count)], following)
        )
    names, matrix = np.array(words, dtype=object), np.stack(columns, axis=1)
    return [names[row[:length]].tolist() for row, length in zip(matrix, chosen, strict=True)]


def by_label(rows: Sequence[tuple[str, list[str]]]) -> dict[str, list[list[str]]]:
    """Return the texts of each label."""
    texts = defaultdict(list)
    for label, text in rows:
        texts[label].append(text)
    return dict(sorted(texts.items()))


def shuffled(
    texts: dict[str, list[list[str]]], generator: np.random.Generator
) -> list[tuple[str, list[str]]]:
    """Return (label, words) of all texts in random order."""
    rows = [(label, text) for label, some in texts.items() for text in some]
    return [rows[index] for index in generator.permutation(len(rows))]


def write_fasttext(path: Path, rows: Sequence[tuple[str, list[str]]]) -> None:
    """Write rows in fastText's format."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"__label__{label} {' '.join(text)}\n" for label, text in rows)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file, without a header if that is empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([header, *rows] if header else rows)


def ag_news(folder: str, output: str, rows: str) -> None:
    """Write new training rows of AG_NEWS, and its test rows."""
    source, target = Path(folder), Path(output)
    (target / "ag_news").mkdir(parents=True)
    generator = np.random.default_rng(SEED)
    lines = (source / "train.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix("__label__").partition(" ") for line in lines]
    texts = by_label([(label, text.split()) for label, _, text in pairs])
    total = sum(map(len, texts.values()))
    new = shuffled(
        {
            label: markov_rows(some, round(int(rows) * len(some) / total), generator)
            for label, some in texts.items()
        },
        generator,
    )
    write_fasttext(target / "train.txt", new)
    write_csv(
        target / "ag_news" / "train.csv", (), [(label, "", " ".join(text)) for label, text in new]
    )
    for name in ("test.txt", "ag_news/test.csv"):
        (target / name).write_bytes((source / name).read_bytes())


def exchange_letters(words: list[str], number: int) -> list[str]:
    """Return words with their letters exchanged by a permutation of its own for each number.

    >>> exchange_letters(["spécifié"], 0), len(exchange_letters(["spécifié"], 1)[0])
    (['spécifié'], 8)
    """
    if number == 0:
        return words
    letters = "abcdefghijklmnopqrstuvwxyz"
    order = np.random.default_rng(number).permutation(len(letters))
    table = str.maketrans(letters, "".join(letters[index] for index in order))
    return [word.translate(table) for word in words]


def langid(folder: str, output: str, labels: str, rows: str) -> None:
    """Write rows for language identification with any number of labels."""
    target, generator = Path(output), np.random.default_rng(SEED)
    target.mkdir(parents=True)
    with (Path(folder) / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = by_label(
            [(row["label"], row["text"].lower().split()) for row in csv.DictReader(file)]
        )
    languages = list(texts)
    each = math.ceil(int(rows) / (1 - 1 / HELD_OUT) / int(labels))
    new = {}
    for number in range(int(labels)):
        language, variant = languages[number % len(languages)], number // len(languages)
        some = markov_rows(texts[language], each, generator)
        new[f"{language}{variant}"] = [exchange_letters(text, variant) for text in some]
    all_rows = shuffled(new, generator)
    test = all_rows[: len(all_rows) // HELD_OUT]
    for name, part in (("train", all_rows[len(test) :]), ("test", test)):
        write_fasttext(target / f"{name}.txt", part)
        write_csv(
            target / f"{name}.csv",
            ("text", "label"),
            [(" ".join(text), label) for label, text in part],
        )


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"ag_news": ag_news, "langid": langid}
    jobs[sys.argv[1]](*sys.argv[2:])
