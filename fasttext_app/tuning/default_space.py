"""What is searched where no one says what: the settings that matter most, around a base."""

from __future__ import annotations

from typing import Any

from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.tuning.space import SearchSpace

RATES = {
    "adagrad": (0.05, 1.0),
    "rowwise_adagrad": (0.05, 1.0),
    "sparse_adam": (0.001, 0.05),
    "sgd": (0.2, 20.0),
}
LOSSES = ["softmax", "ova"]
EPS = {"low": 1e-8, "high": 1e-3, "log": True}  # the larger, the shorter a row's first steps
SMOOTHINGS = [0.0, 0.05, 0.1, 0.2]
MANY_EPOCHS, DIM = 5, 32
WITH_NGRAMS = {"text.word_ngrams": [2, 3]}


def default_space(base: Config, *, small: bool = False) -> SearchSpace:
    """Return the settings to search, each with its values.

    What the base rules out is left out. A base outside these values is a trial all the same.

    Args:
        base: the settings to start from.
        small: whether the size of the model is limited; smaller tables are searched then.
    """
    of_texts = {**_of_text(base, small), **_of_model(base, small)}
    if base.model.start_from is not None:  # its texts and its model are settled
        of_texts = {"text.min_count": of_texts["text.min_count"]}
    return SearchSpace.parse({**of_texts, **_of_run(base)})


def _of_text(base: Config, small: bool) -> dict[str, Any]:
    text = base.text
    table: dict[str, Any] = {
        "text.word_ngrams": [1, 2, 3],
        "text.min_count": {"low": 1, "high": 10 if small else 5, "log": True},
    }
    if text.prune:
        most = 20 if small else 5
        table["text.min_ngram_count"] = {"low": 1, "high": most, "log": True, "when": WITH_NGRAMS}
    if small:
        buckets = [100_000, 500_000, 2_000_000]
        table["text.bucket"] = {"choices": buckets, "when": WITH_NGRAMS}
    if text.maxn:
        given = {"text.minn": text.minn, "text.maxn": text.maxn}
        table["character n-grams"] = [{"text.minn": 0, "text.maxn": 0}, given]
    return table


def _of_model(base: Config, small: bool) -> dict[str, Any]:
    model = base.model
    table: dict[str, Any] = {}
    if model.pretrained is None:  # the vectors have their own
        most = max(DIM, 2 * model.dim)
        table["model.dim"] = {"low": 4 if small else 8, "high": most, "log": True}
    if model.mode != "max":
        table["weighting"] = [
            {"model.mode": "mean", "text.term_weighting": "none"},
            {"model.mode": "sum", "text.term_weighting": "tfidf"},
        ]
    metric = Metric.parse(base.trainer.monitor)
    by_decisions = metric.name != "loss" and not metric.needs_probabilities
    if model.loss in LOSSES and by_decisions and base.data.label_separator is None:
        table["model.loss"] = LOSSES
    return table


def _of_run(base: Config) -> dict[str, Any]:
    name, most = base.optimizer.name, max(MANY_EPOCHS, 2 * base.trainer.epochs)
    low, high = RATES[name]
    batch = base.trainer.batch_size
    table: dict[str, Any] = {
        "optimizer.lr": {"low": low, "high": high, "log": True},
        "optimizer.schedule": ["linear", "cosine", "constant"],
        "optimizer.warmup": [0.0, 0.1, 0.2],
        "trainer.epochs": {"low": 1, "high": most, "log": True},
        "trainer.batch_size": sorted({max(batch // 2, 1), batch, 2 * batch, 4 * batch}),
    }
    if name != "sgd":
        table["optimizer.eps"] = EPS
    if base.model.loss in LOSSES and not base.trainer.focal_gamma:
        table["trainer.label_smoothing"] = SMOOTHINGS
    return table
