"""Tables of the results, and the targets that the project sets itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from peers.contenders import OURS, PAPER, TUTORIAL
from peers.measure import Measurements, Samples, median_of, ratio
from peers.shapes import IMPORT_TORCH, SHAPES, THREADS, TO_ITS_ACCURACY, UNIGRAMS

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
Both programs have the same rows, dimension, n-grams and number of buckets, and the same number of
epochs, except in the last rows; the time covers the whole process. The shapes with labels in their
names are taken from language identification, on short rows drawn from the word pairs of
`data/langid` (`scripts/peers/synthetic.py`)."""
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


Measure: TypeAlias = Callable[[Results], float | None]


@dataclass(frozen=True)
class Target:
    """A figure that the project wants to reach, and how to get it from the results."""

    what: str
    measure: Measure
    bound: float
    form: str = ".2f"
    unit: str = ""
    at_least: bool = False

    def row(self, results: Results) -> list[str]:
        """Return its row of the table of targets.

        >>> target = Target("time", lambda results: 0.5, 0.55)
        >>> target.row(Results(0, 0, ""))
        ['time', '0.50', '≤ 0.55', 'met']
        """
        value, sign = self.measure(results), "≥" if self.at_least else "≤"
        bound = f"{sign} {self.bound:{self.form}}{self.unit}"
        if value is None:
            return [self.what, NOT_MEASURED, bound, "-"]
        met = value >= self.bound if self.at_least else value <= self.bound
        return [self.what, f"{value:{self.form}}{self.unit}", bound, "met" if met else "missed"]


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
    header = [
        "shape",
        "epochs, ours / fastText's",
        "threads",
        "accuracy",
        "fastText's",
        "time",
        "fastText's",
        "ratio",
    ]
    lines = []
    for shape in [*SHAPES, *TO_ITS_ACCURACY]:
        for threads in THREADS:
            name = f"{shape.name}, {threads}"
            other = f"fastText, {name}"
            value = ratio(samples, "seconds", name, other)
            if value is None:
                continue
            accuracies = [median_of(samples, who, "accuracy") for who in (name, other)]
            seconds = [median_of(samples, who, "seconds") for who in (name, other)]
            lines.append([
                shape.name,
                f"{shape.epochs} / {shape.their_epochs or shape.epochs}",
                str(threads),
                *(number(share and 100 * share, ".1f", " %") for share in accuracies),
                *(number(second, ".2f", " s") for second in seconds),
                f"{value:.2f}",
            ])  # fmt: skip
    return table(header, lines)


def without_import(results: Results) -> float | None:
    """Return our time over fastText's for words alone, without torch's import."""
    samples, name = results["shapes"], f"{UNIGRAMS}, {THREADS[0]}"
    whole, alone = median_of(samples, name, "seconds"), median_of(samples, IMPORT_TORCH, "seconds")
    theirs = median_of(samples, f"fastText, {name}", "seconds")
    return None if whole is None or alone is None or theirs is None else (whole - alone) / theirs


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


def of(section: str, name: str, key: str) -> Measure:
    """Return what measures one contender."""
    return lambda results: median_of(results[section], name, key)


def over(section: str, key: str, name: str, other: str) -> Measure:
    """Return what measures the ratio of two contenders."""
    return lambda results: ratio(results[section], key, name, other)


def gain(section: str, name: str) -> Measure:
    """Return what measures by how many points our model is more accurate than fastText's."""

    def measure(results: Results) -> float | None:
        ours = median_of(results[section], name, "accuracy")
        theirs = median_of(results["train"], PAPER, "accuracy")
        return None if ours is None or theirs is None else 100 * (ours - theirs)

    return measure


def smaller(section: str, name: str) -> Measure:
    """Return what measures how many times as large as our model fastText's is."""

    def measure(results: Results) -> float | None:
        ours = median_of(results[section], name, "size_mb")
        theirs = median_of(results["train"], PAPER, "size_mb")
        return theirs / ours if ours and theirs else None

    return measure


def speedup(shape: str) -> Measure:
    """Return what measures how many times as fast the loop is on two threads."""

    def measure(results: Results) -> float | None:
        one, two = (median_of(results["loop"], shape, f"epoch_{count}") for count in (1, 2))
        return one / two if one and two else None

    return measure


SHIPPED = list(PRUNINGS)[-1]
TARGETS = [
    Target("default recipe: time", over("train", "seconds", OURS, PAPER), 0.55),
    Target(
        "default recipe: accuracy minus fastText's", gain("train", OURS), 0, "+.2f", " points", True
    ),
    Target("default recipe: memory", over("train", "peak_mb", OURS, PAPER), 1.2),
    Target("10 times the rows: time", over("growth", "seconds", TENFOLD, PAPER_TENFOLD), 0.25),
    Target("10 times the rows: memory", over("growth", "peak_mb", TENFOLD, PAPER_TENFOLD), 1.2),
    Target("size: fastText's model / ours", smaller("sizes", SHIPPED), 20, ".0f", "", True),
    Target(
        "size: fastText's / 100,000 rows, quantized", smaller("sizes", CUT), 100, ".0f", "", True
    ),
    Target("the same: accuracy minus fastText's", gain("sizes", CUT), 0, "+.2f", " points", True),
    *(
        Target(
            f"{shape.name}: time",
            over(
                "shapes",
                "seconds",
                f"{shape.name}, {THREADS[0]}",
                f"fastText, {shape.name}, {THREADS[0]}",
            ),
            shape.target,
        )
        for shape in [*SHAPES, *TO_ITS_ACCURACY]
    ),
    Target(f"{UNIGRAMS}: time without torch's import", without_import, 0.6),
    *(
        Target(
            f"{shape.name}: speed of the loop, two threads / one",
            speedup(shape.name),
            1.5 if shape.dim < 64 else 1.6,
            at_least=True,
        )
        for shape in SHAPES
        if shape.dim >= 16
    ),
    Target(
        "`predict(list)`: speed / fasttext-new's",
        over("calls", "microseconds", f"{NEW}, a list", "`predict(list)`"),
        3.0,
        at_least=True,
    ),
    *(
        Target(f"{call}: time in a loaded model", of("calls", call, "ratio"), 0.7)
        for call in ("one text, our model", "one text, .bin", "one text, lid.176.ftz")
    ),
    *(
        Target(
            f"{form} to {form}: speed / in memory",
            of("formats", form, "share"),
            bound,
            at_least=True,
        )
        for form, bound in (("parquet", 0.7), ("csv", 0.45), ("jsonl", 0.45))
    ),
    Target("one text, whole process: seconds", of("cold", OURS, "seconds"), 0.3, ".2f", " s"),
    Target("one text, whole process: time", over("cold", "seconds", OURS, COMMUNITY), 1.0),
    Target("one text, whole process: memory", of("cold", OURS, "peak_mb"), 130, ".0f", " MB"),
    Target(
        "1,000 rows, whole process: time",
        over("cold files", "seconds", THOUSAND, THEIR_THOUSAND),
        2.0,
    ),
    Target("an epoch of AG_NEWS on CUDA", of("cuda", OURS, "epoch_ms"), 50, ".0f", " ms"),
]
TARGETS_METHOD = """\
What the project aims for. Times and memory are ours divided by fastText's, unless they have a unit;
shapes and bulk calls have two threads."""


def targets_table(results: Results) -> str:
    """Return every target with its measurement."""
    header = ["what", "measured", "target", "result"]
    return table(header, [target.row(results) for target in TARGETS], left=4)


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
    skipped = [f"{name}: {reason}." for name, reason in results.notes.items()]
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
        parts += ["### Other shapes", SHAPES_METHOD, shapes_table(results["shapes"])]
    if results["loop"]:
        parts += ["### The training loop", LOOP_METHOD, loop_table(results["loop"])]
    parts += prediction_parts(results)
    parts += ["### Targets", TARGETS_METHOD, targets_table(results), footer(results)]
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
