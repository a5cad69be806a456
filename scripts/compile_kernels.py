"""Compile the numba kernels now, so that the first run of a command does not wait for it.

    python scripts/compile_kernels.py

Numba compiles a kernel at its first call and caches the machine code beside the module. This script
makes those calls: it trains a few tiny models whose settings reach every kernel between them, saves
them, and predicts with them. `make setup` runs it.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import fasttext_app as ft

TEXTS = ["a chess engine", "an IMAP server", "lossless audio", "a text editor"] * 25
LABELS = ["games", "mail", "sound", "editors"] * 25

SETTINGS: list[dict[str, Any]] = [
    {"config": "sample"},
    {"config": "fasttext", "bucket": 1000},
    {"config": "fasttext", "bucket": 1000, "loss": "hs"},
    {"tokenizer": "unicode"},
    {"tokenizer": "whitespace", "name": "rowwise_adagrad", "token_dropout": 0.1},
    {"word_ngrams": 2, "bucket": 1000, "mode": "sum", "term_weighting": "tfidf"},
    {"name": "sparse_adam"},
    {"mode": "max", "sparse": False},
    {"word_ngrams": 2, "bucket": 2**25},
]


def main() -> None:
    """Train, save, load and predict with each of the settings."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, settings in enumerate(SETTINGS):
            ft.train(TEXTS, LABELS, epochs=1, device="cpu", **settings).save(f"{folder}/{number}")
            model = ft.load(f"{folder}/{number}")
            for smaller in (model, model.quantize()):
                smaller.warm_up().predict(TEXTS)
    print(f"compiled the kernels in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
