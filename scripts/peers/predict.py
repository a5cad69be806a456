"""Time the predictions of a loaded model, in each package; print one JSON object.

    python -m peers.predict bulk PACKAGE MODEL DATA      texts/s over the training texts
    python -m peers.predict single PACKAGE MODEL DATA    milliseconds for one text
    python -m peers.predict cold PACKAGE MODEL TEXT      predict one text and exit; timed outside

PACKAGE is fasttext_app (an Arrow column in, label names out), fasttext_app_list (`predict`, as the
README shows it: a Python list in, a list of predictions out),
fasttext_app_warm (after `warm_up()`), fasttext or fasttext_new. DATA is the folder that
`peers.rows` wrote: fasttext_app gets raw texts, the others normalized ones.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

CALLS = 3  # timed calls of a bulk run, after an untimed one
SINGLES = 2000  # distinct texts of a single run, after a tenth as many untimed


def bulk_function(package: str, model: str) -> Callable[[Any], list[Any]]:
    """Load a model; return a function from texts to the best label of each, as Python objects."""
    if package.startswith("fasttext_app"):
        import numpy as np

        classifier = import_module("fasttext_app").load(model, threads=2)
        if package == "fasttext_app_list":
            predict: Callable[[Any], list[Any]] = classifier.predict
            return predict
        names = np.array(classifier.labels, dtype=object)

        def ranked(texts: Any) -> list[Any]:
            labels: list[Any] = names[classifier.rank(texts, 1).classes[:, 0]].tolist()
            return labels

        return ranked
    loaded = import_module(package).load_model(model)
    if package == "fasttext_new":
        return lambda texts: loaded.predict_batch(texts, k=1, threads=2)[0]
    return lambda texts: loaded.predict(texts)[0]


def texts_for(package: str, data: str) -> Any:
    """Return the training texts: raw for fasttext_app, normalized for the others."""
    from pathlib import Path

    if package.startswith("fasttext_app"):
        import pyarrow as pa
        from pyarrow.csv import ConvertOptions, read_csv

        strings = ConvertOptions(column_types={"text": pa.string()}, strings_can_be_null=False)
        table = read_csv(f"{data}/texts.csv", convert_options=strings)
        column = table.column("text").combine_chunks()
        return column.to_pylist() if package == "fasttext_app_list" else column
    from peers.rows import read_labeled

    return read_labeled(Path(data) / "train.txt")[0]


def bulk(package: str, model: str, data: str) -> None:
    """Print the median texts/s of several calls on all training texts, on two threads."""
    import json
    import time
    from statistics import median

    predict, texts = bulk_function(package, model), texts_for(package, data)
    assert len(predict(texts)) == len(texts)
    seconds = []
    for _ in range(CALLS):
        started = time.perf_counter()
        predict(texts)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"texts_per_second": len(texts) / median(seconds)}))


def single(package: str, model: str, data: str) -> None:
    """Print the median and the 99th percentile of the milliseconds over distinct texts."""
    import json
    import time

    if package.startswith("fasttext_app"):
        texts = texts_for("fasttext_app_list", data)
        loaded = import_module("fasttext_app").load(model)
        predict = (loaded.warm_up() if package == "fasttext_app_warm" else loaded).predict
    else:
        texts = texts_for(package, data)
        predict = import_module(package).load_model(model).predict
    for text in texts[-SINGLES // 10 :]:
        predict(text)
    milliseconds = []
    for text in texts[:SINGLES]:
        started = time.perf_counter()
        predict(text)
        milliseconds.append(1000 * (time.perf_counter() - started))
    milliseconds.sort()
    count = len(milliseconds)
    percentiles = {
        "median_ms": milliseconds[count // 2],
        "p99_ms": milliseconds[count * 99 // 100],
    }
    print(json.dumps(percentiles))


def cold(package: str, model: str, text: str) -> None:
    """Print the best label of one text."""
    print(import_module(package).load_model(model).predict(text)[0][0])


if __name__ == "__main__":
    {"bulk": bulk, "single": single, "cold": cold}[sys.argv[1]](*sys.argv[2:])
