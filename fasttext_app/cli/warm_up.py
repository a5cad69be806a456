"""``fasttext-app warm-up``: compile every kernel, so that no later run waits for it.

Numba compiles a kernel at its first call and keeps the machine code in a cache. This command makes
those calls: it trains a few tiny models whose settings reach every kernel between them, saves them,
and predicts with them.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from typer import Option

from fasttext_app.cli.messages import note_compilation, result
from fasttext_app.core import jit
from fasttext_app.errors import FastTextAppError

TEXTS = ["a chess engine", "an IMAP server", "lossless audio", "a text editor"] * 25
LABELS = [str(row % 10) for row in range(len(TEXTS))]

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
    {"shard": "rows", "minn": 2, "maxn": 3},
]

CheckOption = Annotated[
    bool, Option("--check", help="Compile nothing; exit with 1 if a kernel is not compiled yet.")
]


class _NotCompiledError(FastTextAppError):
    """A kernel is not compiled yet."""


def warm_up(check: CheckOption = False) -> None:
    """Compile every kernel now, so that no later run waits for it.

    It takes a minute, once after an installation. Later processes find the machine
    code in the folder that it names. Run it when you build a container image.

    Examples:
        fasttext-app warm-up
        fasttext-app warm-up --check
    """
    functions = 0

    def compiles(where: str) -> None:
        nonlocal functions
        if check:
            raise _NotCompiledError("the kernels are not compiled; run `fasttext-app warm-up`")
        functions += 1
        note_compilation(where)

    jit.on_compile = compiles
    start = time.perf_counter()
    _reach_every_kernel()
    seconds, where = time.perf_counter() - start, jit.cache_place()
    if functions:
        result(f"compiled {functions} functions in {seconds:.0f} s; they are in {where}")
    else:
        result(f"every kernel is compiled; they are in {where}")


def _reach_every_kernel() -> None:
    import tempfile
    from pathlib import Path

    import pyarrow as pa

    from fasttext_app.api import load, train
    from fasttext_app.core.arrow import string_array
    from fasttext_app.inference.writers import MANY_ROWS, write_predictions

    with tempfile.TemporaryDirectory(prefix="fasttext_app-") as folder:
        for number, settings in enumerate(SETTINGS):
            train(TEXTS, LABELS, epochs=1, device="cpu", **settings).save(f"{folder}/{number}")
            model = load(f"{folder}/{number}")
            for smaller in (model, model.quantize()):
                smaller.warm_up().predict(TEXTS)
        rows = pa.record_batch({"text": string_array(TEXTS * (MANY_ROWS // len(TEXTS) + 1))})
        for form in ("csv", "jsonl"):
            predictions = model.predict_batches([rows], known=form == "jsonl")
            write_predictions(predictions, Path(folder, f"out.{form}"), form, 1)
