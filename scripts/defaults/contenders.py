"""Our defaults and their peers: each is fitted on texts and labels, and answers the test texts."""

from __future__ import annotations

import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import fasttext_app as ft
from defaults.scores import Answers, is_right
from defaults.sets import SEED, Row
from fasttext_app.text.tokenizers import load_tokenizer

OURS = "our defaults"
AUTOTUNED, GRID_SEARCHED = "fastText, autotune", "fastText, grid"
GRID: list[dict[str, Any]] = [
    {"lr": lr, "epoch": epochs, "minn": minn, "maxn": maxn}
    for lr in (0.25, 0.5, 1.0)
    for epochs in (5, 25)
    for minn, maxn in ((0, 0), (3, 5))
]
GRID_BASE = {"dim": 10, "wordNgrams": 2, "bucket": 500_000}
TUNED_OPTIONS = ("lr", "dim", "epoch", "wordNgrams", "minn", "maxn", "bucket")
"""The options of fastText that autotune sets."""
LABEL = "__label__"

Classifier = Callable[[Sequence[str]], Answers]


@dataclass(frozen=True)
class Contender:
    """A way to train a classifier.

    Attributes:
        name: the name in the tables.
        fit: a function of training rows and a seed that returns the trained classifier.
        package: the package that it needs, by its import name.
        distribution: the name to install the package by.
    """

    name: str
    fit: Callable[[Sequence[Row], int], Classifier]
    package: str = "fasttext_app"
    distribution: str = "fasttext-app"


def fit_ours(rows: Sequence[Row], seed: int) -> Classifier:
    """Train with the default settings."""
    texts, labels = zip(*rows, strict=True)
    model = ft.train(texts, labels, seed=seed)

    def classify(texts: Sequence[str]) -> Answers:
        probabilities = model.predict_proba(texts)
        best = probabilities.argmax(axis=1)
        return Answers([model.labels[index] for index in best], probabilities.max(axis=1))

    return classify


def fit_fasttext(rows: Sequence[Row], seed: int) -> Classifier:
    """Train fastText with its default settings."""
    return _fasttext_classifier(rows, seed)


def fit_autotuned_fasttext(rows: Sequence[Row], seed: int, autotune_seconds: int) -> Classifier:
    """Let fastText choose its settings on a tenth of the rows, then train it on all."""
    train, validation = stratified_tenth(rows)
    labels = sorted({label for _, label in rows})
    with tempfile.TemporaryDirectory() as folder:
        validation_file = Path(folder) / "validation.txt"
        validation_file.write_text(fasttext_lines(validation, labels), encoding="utf-8")
        tuned = _train_fasttext(
            train,
            labels,
            seed,
            autotuneValidationFile=str(validation_file),
            autotuneDuration=autotune_seconds,
        )
    options = {name: getattr(tuned, name) for name in TUNED_OPTIONS}
    del tuned  # it can take gigabytes
    return _fasttext_classifier(rows, seed, **options)


def fit_grid_searched_fasttext(rows: Sequence[Row], seed: int) -> Classifier:
    """Choose the settings of fastText from a grid on a tenth of the rows, then train it on all.

    Autotune tries about ten settings a minute, which is few where the defaults are far off.
    """
    train, validation = stratified_tenth(rows)
    texts, true = zip(*validation, strict=True)

    def validation_accuracy(options: dict[str, Any]) -> float:
        answers = _fasttext_classifier(train, seed, **GRID_BASE, **options)(texts)
        return float(is_right(true, answers).mean())

    return _fasttext_classifier(rows, seed, **GRID_BASE, **max(GRID, key=validation_accuracy))


def _fasttext_classifier(rows: Sequence[Row], seed: int, **options: Any) -> Classifier:
    labels = sorted({label for _, label in rows})
    model = _train_fasttext(rows, labels, seed, **options)

    def classify(texts: Sequence[str]) -> Answers:
        names, probabilities = model.predict(tokenized(texts))
        indices = [int(name.removeprefix(LABEL)) for (name,) in names]
        confidence = np.array([probability for (probability,) in probabilities], np.float64)
        return Answers([labels[index] for index in indices], confidence.clip(0, 1))

    return classify


def _train_fasttext(rows: Sequence[Row], labels: list[str], seed: int, **options: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        file.write_text(fasttext_lines(rows, labels), encoding="utf-8")
        threads = len(os.sched_getaffinity(0))
        return import_module("fasttext").train_supervised(
            input=str(file), thread=threads, seed=seed, verbose=0, **options
        )


def tokenized(texts: Sequence[str]) -> list[str]:
    """Return the tokens of each text with spaces between them, cut as our defaults cut them.

    >>> tokenized(["Stop, thief!"])
    ['stop , thief !']
    """
    tokens = load_tokenizer("basic_english")(pa.array(texts, pa.string()))
    return [" ".join(text) for text in tokens.to_lists()]


def fasttext_lines(rows: Sequence[Row], labels: list[str]) -> str:
    r"""Return rows in fastText's format, with the index of each label as its name.

    >>> fasttext_lines([("A cup.", "home & kitchen")], ["garden", "home & kitchen"])
    '__label__1 a cup .\n'
    """
    indices = {label: index for index, label in enumerate(labels)}
    texts = tokenized([text for text, _ in rows])
    pairs = zip(rows, texts, strict=True)
    return "".join(f"{LABEL}{indices[label]} {text}\n" for (_, label), text in pairs)


def stratified_tenth(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Split a tenth of each label's rows off for validation: at least one, if it has two."""
    by_label: defaultdict[str, list[Row]] = defaultdict(list)
    for row in random.Random(SEED).sample(rows, len(rows)):
        by_label[row[1]].append(row)
    train: list[Row] = []
    validation: list[Row] = []
    for group in by_label.values():
        size = max(round(len(group) / 10), 1) if len(group) > 1 else 0
        validation += group[:size]
        train += group[size:]
    random.Random(SEED).shuffle(train)
    return train, validation


def fit_svm(rows: Sequence[Row], seed: int) -> Classifier:
    """Train a linear support vector machine on tf-idf."""
    from sklearn.svm import LinearSVC

    pipeline = _fit_tfidf(LinearSVC(random_state=seed), rows)
    return lambda texts: Answers(pipeline.predict(texts).tolist())


def fit_logistic_regression(rows: Sequence[Row], seed: int) -> Classifier:
    """Train logistic regression on tf-idf."""
    from sklearn.linear_model import LogisticRegression

    pipeline = _fit_tfidf(LogisticRegression(max_iter=1000, random_state=seed), rows)

    def classify(texts: Sequence[str]) -> Answers:
        probabilities = pipeline.predict_proba(texts)
        labels = pipeline.classes_[probabilities.argmax(axis=1)].tolist()
        return Answers(labels, probabilities.max(axis=1))

    return classify


def _fit_tfidf(classifier: Any, rows: Sequence[Row]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    texts, labels = zip(*rows, strict=True)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(vectorizer, classifier).fit(texts, labels)


def contenders(autotune_seconds: int) -> list[Contender]:
    """Return all contenders, ours first."""
    autotune = partial(fit_autotuned_fasttext, autotune_seconds=autotune_seconds)
    fasttext = "fasttext", "fasttext-community"
    sklearn = "sklearn", "scikit-learn"
    return [
        Contender(OURS, fit_ours),
        Contender("fastText", fit_fasttext, *fasttext),
        Contender(AUTOTUNED, autotune, *fasttext),
        Contender(GRID_SEARCHED, fit_grid_searched_fasttext, *fasttext),
        Contender("tf-idf + LinearSVC", fit_svm, *sklearn),
        Contender("tf-idf + LogisticRegression", fit_logistic_regression, *sklearn),
    ]


def installed(contender: Contender) -> bool:
    """Return whether the package of a contender is installed, without importing it."""
    return find_spec(contender.package) is not None


def warm_up(entries: Sequence[Contender]) -> None:
    """Import and compile what the first run of each contender would be charged with."""
    rows = [("a good one", "good"), ("a bad one", "bad"), ("no good at all", "bad")] * 20
    for contender in entries:
        if contender.name not in (AUTOTUNED, GRID_SEARCHED):  # these import nothing more
            contender.fit(rows, SEED)(["a good one"])
