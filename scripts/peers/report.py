"""Tables of the results, and the targets that the project sets itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peers.contenders import OURS, PAPER, TUTORIAL
from peers.measure import Measurements, Samples, median_of, ratio
from peers.shapes import IMPORT_TORCH, SHAPES, THREADS, UNIGRAMS

ORIGINAL_ROWS = 120_000
# Contenders outside of training.
LIST, CLI = f"{OURS}, Python list", f"{OURS}, command line"
WARM = f"{OURS}, after `warm_up()`"
NEW, COMMUNITY = "fasttext-new", "fastText"
TENFOLD, PAPER_TENFOLD = f"{OURS}, 10 times", f"{PAPER}, 10 times"
PRUNINGS = {  # which hash buckets have a row; the last one is the shipped config
    "a row for every bucket": (
        *("--set", "text.prune=false"),
        *("--set", "text.min_ngram_count=1"),
    ),
    "rows that training touched": ("--set", "text.min_ngram_count=1"),
    "n-grams seen three times (the shipped config)": (),
}
QUANTIZINGS = {
    "the same, `quantize`": (),
    "the same, `quantize --cutoff 100000`": ("--cutoff", "100000"),
}
QUANTIZED, CUT = QUANTIZINGS
# The recipe that a time is divided by, if it is not the published one on the same rows. The
# tutorial runs in rounds of its own, so its time is not compared.
COMPARED_TO = {TENFOLD: PAPER_TENFOLD, PAPER_TENFOLD: PAPER_TENFOLD, TUTORIAL: None}
NOT_MEASURED = "not measured"
VECTOR = 8  # columns that a thread has at least
METHOD = """\
`python scripts/bench_peers.py --write-docs` measures fasttext_app and its peers on two cores. Every
training run is a fresh process, timed from its start to its exit with the model saved. The
contenders take turns, after one warm-up run each. A second process, which is not timed, measures
the accuracy on the test split. fastText runs through its Python package. It gets its text already
tokenized by `basic_english`, which is not timed and so favors it; all others read the original CSV
files. Bulk prediction is timed in a loaded model."""

SHAPES_METHOD = """\
Both programs have the same rows, epochs, dimension, n-grams and number of buckets; the time
covers the whole process. The shapes with labels in their names are taken from language
identification, on short rows drawn from the word pairs of `data/langid`
(`scripts/peers/synthetic.py`)."""
LOOP_METHOD = """\
An epoch alone, without start, reading and saving; the fastest of several. Each id moves its row
twice (for the forward pass and for the update), its index and its optimizer state. *Share of
bandwidth* compares these bytes with the bytes that a loop like STREAM's triad moves in the same
time, over as much memory as the table takes. It can exceed 100 %, because words that a batch
has several times are summed once. *Triad's* is the speedup of that loop on two threads: what the
memory of the machine gives. *Serial* is the time outside cutting batches and taking
steps; *at most* is the bound that follows from it by Amdahl's law, with eight columns for each
thread of a step and batches cut on the other threads."""


@dataclass
class Results:
    """All measurements, by section; `--results` stores them in a file."""

    rows: int
    rounds: int
    machine: str
    sections: dict[str, Samples] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """By section or contender: why it was not measured."""

    def __getitem__(self, section: str) -> Samples:
        """Return a section; it is empty if it was not measured."""
        return self.sections.get(section, {})


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    what: str
    measured: str
    target: str
    verdict: str


def verdict(
    value: float | None, target: float, stretch: float, *, higher_is_better: bool = False
) -> str:
    """Return whether a value meets its target, and its stretch target.

    >>> verdict(0.5, 0.75, 0.55), verdict(0.6, 0.75, 0.55)
    ('met, stretch too', 'met')
    >>> verdict(0.9, 1.0, 2.5, higher_is_better=True)
    'missed'
    """
    if value is None:
        return NOT_MEASURED
    if higher_is_better:
        value, target, stretch = -value, -target, -stretch
    return "met, stretch too" if value <= stretch else "met" if value <= target else "missed"


def number(value: float | None, form: str, unit: str = "") -> str:
    """Format a number that may be missing.

    >>> number(1234.5, ",.0f", " MB"), number(None, ".2f")
    ('1,234 MB', '-')
    """
    return "-" if value is None else f"{value:{form}}{unit}"


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are text, the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def training_table(samples: Samples) -> str:
    """Return the accuracy, time, memory and size of every recipe."""
    header = ["recipe", "test accuracy", "training process", "/ fastText", "peak memory", "model"]
    rows = []
    for name in samples:
        accuracy = median_of(samples, name, "accuracy")
        peer = COMPARED_TO.get(name, PAPER)
        cells = [
            name,
            number(None if accuracy is None else 100 * accuracy, ".2f", " %"),
            number(median_of(samples, name, "seconds"), ".2f", " s"),
            number(None if peer is None else ratio(samples, "seconds", name, peer), ".2f"),
            number(median_of(samples, name, "peak_mb"), ",.0f", " MB"),
            number(median_of(samples, name, "size_mb"), ",.1f", " MB"),
        ]
        rows.append(cells)
    return table(header, rows)


def prediction_table(results: Results) -> str:
    """Return the texts per second of bulk prediction, by contender and input."""
    inputs = {
        OURS: "raw text, an Arrow column",
        LIST: "raw text, a Python list; `predict`",
        CLI: "raw text, a CSV file to a Parquet file, whole process",
        NEW: "normalized text, a Python list",
        COMMUNITY: "normalized text, a Python list (it has one thread)",
    }
    rows = [
        [
            name,
            inputs.get(name, ""),
            number(median_of(results["bulk"], name, "texts_per_second"), ",.0f"),
            number(ratio(results["bulk"], "texts_per_second", name, NEW), ".2f"),
        ]
        for name in results["bulk"]
    ]
    return table(["bulk prediction", "from", "texts/s", "/ fasttext-new"], rows, left=2)


def single_table(results: Results) -> str:
    """Return the times for a single text: in a fresh process, and in a loaded model."""
    cold, warm = results["cold"], results["single"]
    rows = [
        [
            name,
            number(median_of(cold, name, "seconds"), ".3f", " s"),
            number(median_of(cold, name, "peak_mb"), ",.0f", " MB"),
            number(median_of(warm, name, "median_ms"), ".3f", " ms"),
            number(median_of(warm, name, "p99_ms"), ".3f", " ms"),
        ]
        for name in {**cold, **warm}
    ]
    header = ["one text", "whole process", "its peak memory", "loaded: median", "99th percentile"]
    return table(header, rows)


def shapes_table(samples: Samples) -> str:
    """Return the time of each shape, ours and fastText's, with its target."""
    header = ["shape", "epochs", "threads", "accuracy", "fastText's", "time", "fastText's", "ratio"]
    lines = []
    for shape in SHAPES:
        for threads in THREADS:
            name = f"{shape.name}, {threads}"
            other = f"fastText, {name}"
            value = ratio(samples, "seconds", name, other)
            if value is None:
                continue
            shown = f"{value:.2f}"
            if threads == THREADS[0]:
                shown += f" (target {shape.target})"
            accuracies = [median_of(samples, who, "accuracy") for who in (name, other)]
            seconds = [median_of(samples, who, "seconds") for who in (name, other)]
            lines.append([
                shape.name,
                str(shape.epochs),
                str(threads),
                *(number(share and 100 * share, ".1f", " %") for share in accuracies),
                *(number(second, ".2f", " s") for second in seconds),
                shown,
            ])  # fmt: skip
    return table(header, lines)


def without_import(samples: Samples) -> str:
    """Return a sentence about the unigrams without torch's import, which overlaps with reading."""
    name = f"{UNIGRAMS}, {THREADS[0]}"
    whole, alone = median_of(samples, name, "seconds"), median_of(samples, IMPORT_TORCH, "seconds")
    theirs = median_of(samples, f"fastText, {name}", "seconds")
    if whole is None or alone is None or theirs is None:
        return ""
    return (
        f"`import torch` alone takes {alone:.2f} s. Without it, the shape of dim 10 takes "
        f"{(whole - alone) / theirs:.2f} times as long as fastText (target 0.6)."
    )


def loop_table(samples: Samples) -> str:
    """Return the time of an epoch, its limits, and what more cores could give."""
    header = ["shape", "epoch, 1 thread", "2 threads", "speedup", "triad's"]
    header += ["share of bandwidth, 1 / 2", "serial", "at most on 16 cores", "64"]
    lines = []
    for shape in SHAPES:
        if shape.name not in samples:
            continue
        run = samples[shape.name][0]
        shares = [
            run["bytes"] / run[f"epoch_{count}"] / run[f"bandwidth_{count}"] for count in (1, 2)
        ]
        lines.append([
            shape.name,
            f"{run['epoch_1']:.2f} s",
            f"{run['epoch_2']:.2f} s",
            f"{run['epoch_1'] / run['epoch_2']:.2f}",
            f"{run['bandwidth_2'] / run['bandwidth_1']:.2f}",
            " / ".join(f"{100 * share:.0f} %" for share in shares),
            f"{1000 * run['serial']:.0f} ms",
            *(f"{bound(run, shape.dim, cores):.1f} times" for cores in (16, 64)),
        ])  # fmt: skip
    return table(header, lines)


def bound(run: Measurements, dim: int, cores: int) -> float:
    """Return how many times as fast as on one core a loop can be at most, by Amdahl's law.

    The serial part stays. Steps divide among as many threads as have a vector of columns each; the
    other threads cut batches meanwhile.

    >>> run = {"serial": 1.0, "cutting": 8.0, "steps": 16.0}
    >>> bound(run, 128, 16), bound(run, 16, 16)
    (10.0, 2.7777777777777777)
    """
    serial, cutting, steps = (max(run[name], 0) for name in ("serial", "cutting", "steps"))
    steppers = max(min(cores, dim // VECTOR), 1)
    spare = cores - steppers
    parallel = steps / steppers
    if spare:
        parallel = max(parallel, cutting / spare)
    else:
        parallel += cutting / cores
    return (serial + cutting + steps) / (serial + parallel)


CALLS_METHOD = """\
One process loads all models and calls them in turn; the figures come from the fastest of 15
turns. A ratio below 1 means that we are faster. One text is compared with fastText's `predict` on
the same kind of model, and a list with fasttext-new on two threads where it is installed, else with
fastText's `predict`."""
FORMATS_METHOD = """\
A loaded model labels five copies of the training texts from a file into a file of the same format,
on two threads. The last column compares the speed with a table in memory."""
THOUSAND, THEIR_THOUSAND = f"{OURS}, a CSV file of 1,000 rows", f"{COMMUNITY}, 1,000 lines"
FIRST_RUN = f"{OURS}, all training texts, nothing compiled yet"
WARM_UP = "`fasttext-app warm-up`, nothing compiled yet"


def calls_table(samples: Samples) -> str:
    """Return the microseconds a text of each call, and the ratio to fastText."""
    rows = [
        [
            name,
            number(median_of(samples, name, "microseconds"), ".2f", " µs"),
            number(median_of(samples, name, "ratio"), ".2f"),
        ]
        for name in samples
    ]
    return table(["call", "a text", "/ fastText"], rows)


def formats_table(samples: Samples) -> str:
    """Return the texts per second of each format, and their share of those in memory."""
    rows = [
        [
            name,
            number(median_of(samples, name, "texts_per_second"), ",.0f"),
            number(median_of(samples, name, "share"), ".2f"),
        ]
        for name in samples
    ]
    return table(["format", "texts/s", "/ in memory"], rows)


def cold_files_table(samples: Samples) -> str:
    """Return the seconds of whole processes."""
    rows = [[name, number(median_of(samples, name, "seconds"), ".2f", " s")] for name in samples]
    return table(["process", "start to exit"], rows)


def against(samples: Samples, key: str, name: str, other: str, form: str, unit: str) -> str:
    """Return "0.62 (2.1 s / 3.4 s)" for one measurement of two contenders."""
    value = ratio(samples, key, name, other)
    if value is None:
        return NOT_MEASURED
    ours, theirs = (number(median_of(samples, who, key), form, unit) for who in (name, other))
    return f"{value:.2f} ({ours} / {theirs})"


def accuracy_gain(samples: Samples, name: str, other: str) -> float | None:
    """Return how many percentage points of accuracy one is better than another."""
    ours, theirs = median_of(samples, name, "accuracy"), median_of(samples, other, "accuracy")
    return None if ours is None or theirs is None else 100 * (ours - theirs)


def training_targets(results: Results) -> list[Target]:
    """Return the targets for training time and memory."""
    targets = []
    for what, section, ours, theirs, target, stretch in (
        ("training on AG_NEWS, whole process / fastText's", "train", OURS, PAPER, 0.75, 0.55),
        ("the same on 10 times the rows, time", "growth", TENFOLD, PAPER_TENFOLD, 0.4, 0.25),
    ):
        samples, condition = results[section], f"≤ {target}"
        measured = against(samples, "seconds", ours, theirs, ".2f", " s")
        result = verdict(ratio(samples, "seconds", ours, theirs), target, stretch)
        gain = accuracy_gain(samples, ours, theirs)
        if gain is not None:
            measured += f", accuracy {gain:+.2f} points"
        if section == "train":
            condition += ", accuracy ≥ fastText's + 0.3 points"
            if gain is not None and gain < 0.3:
                result = "missed"
        targets.append(Target(what, measured, f"{condition} (stretch ≤ {stretch})", result))
    for what, section, ours, theirs in (
        ("peak memory of training / fastText's", "train", OURS, PAPER),
        ("the same on 10 times the rows, memory", "growth", TENFOLD, PAPER_TENFOLD),
    ):
        value = ratio(results[section], "peak_mb", ours, theirs)
        measured = against(results[section], "peak_mb", ours, theirs, ",.0f", " MB")
        targets.append(Target(what, measured, "≤ 1.5 (stretch ≤ 1.0)", verdict(value, 1.5, 1.0)))
    return targets


def size_targets(results: Results) -> list[Target]:
    """Return the targets for the size of the model."""
    train, sizes = results["train"], results["sizes"]
    theirs = median_of(train, PAPER, "size_mb")
    targets = []
    for what, samples, name, factor, condition in (
        ("model on disk / fastText's `.bin`", train, OURS, 20, "≤ 1/20, same accuracy"),
        ("the same, quantized, 100,000 rows", sizes, CUT, 100, "(stretch ≤ 1/100)"),
    ):
        size, accuracy = median_of(samples, name, "size_mb"), median_of(samples, name, "accuracy")
        if size is None or theirs is None or accuracy is None:
            targets.append(Target(what, NOT_MEASURED, condition, NOT_MEASURED))
            continue
        measured = f"1/{theirs / size:,.0f} ({size:,.2f} MB / {theirs:,.0f} MB)"
        measured += f", accuracy {100 * accuracy:.2f} %"
        result = "met" if theirs / size >= factor else "missed"
        if (median_of(train, PAPER, "accuracy") or 0) > accuracy:
            result = "missed"
        targets.append(Target(what, measured, condition, result))
    return targets


def sizes_table(samples: Samples) -> str:
    """Return size and accuracy after pruning and quantizing."""
    rows = []
    for name in samples:
        accuracy = median_of(samples, name, "accuracy")
        cells = [
            name,
            number(median_of(samples, name, "size_mb"), ",.1f", " MB"),
            number(None if accuracy is None else 100 * accuracy, ".2f", " %"),
        ]
        rows.append(cells)
    return table(["rows of the table", "model", "test accuracy"], rows)


def prediction_targets(results: Results) -> list[Target]:
    """Return the targets for prediction, and for an epoch on CUDA."""
    bulk = results["bulk"]
    speed = ratio(bulk, "texts_per_second", OURS, NEW)
    measured = against(bulk, "texts_per_second", OURS, NEW, ",.0f", " texts/s")
    what = "bulk prediction, raw text to labels / fasttext-new on normalized text, two threads"
    result = verdict(speed, 1.0, 2.5, higher_is_better=True)
    targets = [Target(what, measured, "≥ 1.0 (stretch ≥ 2.5)", result)]
    one = "one text through a loaded model"
    for what, section, name, key, form, unit, target, stretch in (
        (
            '`predict MODEL "one text"`, whole process',
            "cold",
            OURS,
            "seconds",
            ".2f",
            " s",
            0.6,
            0.35,
        ),
        (one, "single", OURS, "median_ms", ".3f", " ms", 0.3, 0.1),
        (f"{one}, after `warm_up()`", "single", WARM, "median_ms", ".3f", " ms", 0.3, 0.1),
        ("an epoch of AG_NEWS on CUDA", "cuda", OURS, "epoch_ms", ".1f", " ms", 50, 10),
    ):
        value = median_of(results[section], name, key)
        measured = number(value, form, unit)
        if value is None:
            reason = results.notes.get(section)
            measured = f"{NOT_MEASURED}: {reason}" if reason else NOT_MEASURED
        condition = f"≤ {target}{unit} (stretch ≤ {stretch}{unit})"
        targets.append(Target(what, measured, condition, verdict(value, target, stretch)))
    return targets


def targets_table(results: Results) -> str:
    """Return every target with its measurement."""
    targets = [*training_targets(results), *size_targets(results), *prediction_targets(results)]
    rows = [[row.what, row.measured, row.target, row.verdict] for row in targets]
    return table(["what", "measured", "target", "result"], rows, left=4)


def about_rows(rows: int) -> str:
    """Describe the training rows."""
    if rows == ORIGINAL_ROWS:
        return f"the {rows:,} training rows of AG_NEWS"
    return f"{rows:,} of the {ORIGINAL_ROWS:,} training rows of AG_NEWS"


def footer(results: Results) -> str:
    """Return the number of runs, the rows and the machine, in one line."""
    slow = len(results["train"].get(TUTORIAL, []))
    tutorial = f" (the tutorial's recipe: {slow})" if slow else ""
    return (
        f"Medians of {results.rounds} runs{tutorial}, on {about_rows(results.rows)}; "
        f"{results.machine}."
    )


def prediction_parts(results: Results) -> list[str]:
    """Return the parts of docs/benchmarks.md about prediction."""
    parts: list[str] = []
    if results["bulk"]:
        parts += ["### Prediction in bulk", prediction_table(results)]
    if results["calls"]:
        parts += ["### Calls of a loaded model", CALLS_METHOD, calls_table(results["calls"])]
    if results["formats"]:
        parts += ["### From file to file", FORMATS_METHOD, formats_table(results["formats"])]
    if results["cold"]:
        parts += ["### Prediction of one text", single_table(results)]
    if results["cold files"]:
        parts += ["### Whole processes", cold_files_table(results["cold files"])]
    return parts


def long_form(results: Results) -> str:
    """Return the section of docs/benchmarks.md."""
    in_targets = ("cuda",)
    notes = results.notes.items()
    skipped = [f"{name}: {reason}." for name, reason in notes if name not in in_targets]
    parts = [METHOD]
    if results["train"]:
        picture = "![Test accuracy against seconds of training](images/accuracy_seconds.svg)"
        parts += ["### Training", training_table(results["train"]), picture]
    if results["sizes"]:
        parts += ["### Pruning and quantizing", sizes_table(results["sizes"])]
    if results["growth"]:
        explained = "`10 times` is ten times as many rows, drawn from the word pairs of each class."
        parts += ["### Growth with rows and threads", explained, training_table(results["growth"])]
    if results["shapes"]:
        tables = [shapes_table(results["shapes"]), without_import(results["shapes"])]
        parts += ["### Other shapes", SHAPES_METHOD, *filter(None, tables)]
    if results["loop"]:
        parts += ["### The training loop", LOOP_METHOD, loop_table(results["loop"])]
    parts += prediction_parts(results)
    parts += ["### Targets", targets_table(results), footer(results)]
    if skipped:
        parts.append(" ".join(skipped))
    return "\n\n".join(parts)


def short_form(results: Results) -> str:
    """Return the section of the README."""
    bulk, new = (median_of(results["bulk"], name, "texts_per_second") for name in (OURS, NEW))
    cold = median_of(results["cold"], OURS, "seconds")
    one, warm = (median_of(results["single"], name, "median_ms") for name in (OURS, WARM))
    return "\n\n".join(
        [
            training_table(results["train"]),
            f"On two threads, the model predicts {number(bulk, ',.0f')} raw texts per second; "
            f"fasttext-new, the fastest peer, predicts {number(new, ',.0f')} normalized texts. "
            f"One text takes {number(one, '.3f', ' ms')} in a loaded model "
            f"({number(warm, '.3f', ' ms')} after `model.warm_up()`), and "
            f"{number(cold, '.2f', ' s')} as a process of its own.",
            footer(results),
        ]
    )


def points(samples: Samples) -> list[tuple[str, float, float]]:
    """Return (recipe, seconds, accuracy in percent) of every measured recipe."""
    medians: list[tuple[str, Any, Any]] = [
        (name, median_of(samples, name, "seconds"), median_of(samples, name, "accuracy"))
        for name in samples
    ]
    return [(name, x, 100 * y) for name, x, y in medians if None not in (x, y)]
