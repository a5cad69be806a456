"""Measure what a model2vec table adds where there are few labeled rows.

The open sets are cut to the same number of training rows for each label, and tested on their test
rows. Contenders: our defaults; our defaults on a table, as it is and frozen; a frozen table whose
words are the only features; logistic regression on our vectors of those words, weighted by tf-idf;
and logistic regression on the vectors of model2vec itself.

    python scripts/bench_model2vec.py --table FOLDER_OR_HUB_ID [--rows 300] [--seeds 3]
    python scripts/bench_model2vec.py --stand-in FOLDER

The second command makes a table to try the first with, where no published one can be downloaded:
word vectors of the unlabeled training texts of AG_NEWS (positive pointwise mutual information of
words within five words of each other, and its singular vectors). It knows the domain of the test
texts and nothing else, so its scores say nothing about published tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from defaults.sets import SETS, OpenSet, Row, Sources, balanced

import fasttext_app as ft
from fasttext_app.data.model2vec import PREFIX
from fasttext_app.data.spec import open_source
from fasttext_app.errors import FastTextAppError
from fasttext_app.sklearn import FastTextVectorizer

ONLY = ("ag_all", "two", "short", "sample")
WINDOW, MIN_COUNT, DIM = 5, 5, 256

ITS_WORDS = {"word_ngrams": 1, "maxn": 0, "min_count": 1_000_000}
"""Settings under which only the words of the table have a row."""
OURS: Mapping[str, Mapping[str, Any] | None] = {
    "our defaults": None,
    "on the table": {},
    "on the table, frozen": {"freeze_pretrained": True},
    "frozen, its words only": {"freeze_pretrained": True, **ITS_WORDS},
}
"""The settings of each contender, beside ``pretrained`` and ``dim``; None: without the table."""

Fit = Callable[[Sequence[Row], int], Callable[[Sequence[str]], Sequence[str]]]


def contenders(table: str) -> dict[str, Fit]:
    """Return the ways to train a classifier, by name."""
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(table, force_download=False)
    start = {"pretrained": PREFIX + table, "dim": model.dim}

    def ours(settings: Mapping[str, Any]) -> Fit:
        def fit(rows: Sequence[Row], seed: int) -> Callable[[Sequence[str]], Sequence[str]]:
            trained = ft.train(*zip(*rows, strict=True), seed=seed, **settings)
            return lambda texts: [found.labels[0] for found in trained.predict(texts)]

        return fit

    def logistic(encode: Callable[[Sequence[str]], Callable[[Sequence[str]], Any]]) -> Fit:
        from sklearn.linear_model import LogisticRegression

        def fit(rows: Sequence[Row], seed: int) -> Callable[[Sequence[str]], Sequence[str]]:
            texts, labels = zip(*rows, strict=True)
            vectors = encode(texts)
            head = LogisticRegression(max_iter=1000, random_state=seed)
            head.fit(vectors(texts), labels)
            return lambda texts: list(head.predict(vectors(texts)))

        return fit

    fits = {
        name: ours({} if settings is None else {**start, **settings})
        for name, settings in OURS.items()
    }
    unlabeled = FastTextVectorizer(epochs=0, **start, **ITS_WORDS)
    return {
        **fits,
        "FastTextVectorizer + LogisticRegression": logistic(
            lambda texts: unlabeled.fit(texts).transform
        ),
        "model2vec + LogisticRegression": logistic(lambda _: model.encode),
    }


def accuracy(fit: Fit, data: OpenSet, seed: int) -> float:
    """Fit on the training rows of a set, and score its test rows."""
    classify = fit(data.train, seed)
    texts, true = zip(*data.test, strict=True)
    return float(np.mean([a == b for a, b in zip(classify(texts), true, strict=True)]))


def make_stand_in(folder: Path) -> None:
    """Write a table of vectors of the words in the training texts of AG_NEWS."""
    import tokenizers
    from model2vec import StaticModel
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import svds

    from fasttext_app.config.schema import DataConfig
    from fasttext_app.text.tokenizers import load_tokenizer
    from fasttext_app.text.vocabulary import Vocabulary

    tokens = load_tokenizer("basic_english")(
        open_source(DataConfig(source="ag_news")).read("train").column("text").combine_chunks()
    )
    vocabulary = Vocabulary.build([tokens], MIN_COUNT)
    codes = vocabulary.rows(tokens.words)[tokens.codes]
    text_of = np.repeat(np.arange(len(tokens.lengths)), tokens.lengths)
    pairs = []
    for distance in range(1, WINDOW + 1):
        near = (text_of[:-distance] == text_of[distance:]) & (codes[:-distance] >= 0)
        near &= codes[distance:] >= 0
        pairs.append((codes[:-distance][near], codes[distance:][near]))
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    words = len(vocabulary)
    ones = np.ones(2 * len(left), np.float32)
    both = np.concatenate((left, right)), np.concatenate((right, left))
    counts = coo_matrix((ones, both), (words, words)).tocsr().tocoo()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    expected = totals[counts.row] * totals[counts.col] / totals.sum()
    counts.data = np.maximum(np.log(counts.data / expected), 0).astype(np.float32)
    vectors, values, _ = svds(counts.tocsr(), k=DIM, random_state=0)
    vectors = vectors * np.sqrt(values)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-12
    # As model2vec does: frequent words weigh less.
    frequency = vocabulary.counts / vocabulary.counts.sum()
    vectors *= (1e-3 / (1e-3 + frequency))[:, None]

    names = ["[UNK]", *vocabulary.words.to_pylist()]
    ids = {name: index for index, name in enumerate(names)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    table = np.concatenate((np.zeros((1, DIM)), vectors)).astype(np.float32)
    StaticModel(table, tokenizer).save_pretrained(folder)


def report(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table in Markdown of accuracies in percent, by set and contender."""
    names = list(next(iter(scores.values())))
    lines = [["", *names], ["---", *["---:"] * len(names)]]
    lines += [
        [title, *(f"{100 * row[name]:.1f}" for name in names)] for title, row in scores.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the sets one after another, or make a stand-in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--table", metavar="PATH", help="the folder or hub id of a table")
    which.add_argument("--stand-in", type=Path, metavar="FOLDER", help="write a table there")
    parser.add_argument("--rows", type=int, default=300, help="training rows (default: 300)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds (default: 3)")
    parser.add_argument("--only", nargs="+", choices=ONLY, default=ONLY, metavar="SET")
    options = parser.parse_args(argv)
    sources = Sources(held_out=False, folders={})
    try:
        if options.stand_in is not None:
            make_stand_in(options.stand_in)
            return
        fits, scores = contenders(options.table), dict[str, dict[str, float]]()
        for name in options.only:
            full = SETS[name](sources)
            data = OpenSet(name, full.title, balanced(full.train, options.rows), full.test)
            title = f"{full.title.removesuffix(', all rows')}, {len(data.train)} rows"
            scores[title] = {
                contender: mean(accuracy(fit, data, seed) for seed in range(options.seeds))
                for contender, fit in fits.items()
            }
            print(title, scores[title], file=sys.stderr)
    except FastTextAppError as error:
        sys.exit(str(error))
    print(report(scores))


if __name__ == "__main__":
    main()
