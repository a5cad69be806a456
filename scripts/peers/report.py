"""Tables of what was measured, and the bars that it is held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peers.contenders import OURS, PAPER, TUTORIAL
from peers.measure import Samples, middle, ratio

ROWS_OF_ALL = 120_000  # of the original training set
# Names of contenders outside of training.
LIST, CLI = f"{OURS}, Python list", f"{OURS}, command line"
WARM = f"{OURS}, after `warm_up()`"
NEW, COMMUNITY = "fasttext-new", "fastText"
TENFOLD, PAPER_TENFOLD = f"{OURS}, 10 times", f"{PAPER}, 10 times"
PRUNINGS = {  # how much of the hash space is kept; the last one is the shipped config
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
# Whose time a recipe's is divided by, where it is not the published recipe's on the same rows; the
# tutorial's runs are not of the same session.
COMPARED_TO = {TENFOLD: PAPER_TENFOLD, PAPER_TENFOLD: PAPER_TENFOLD, TUTORIAL: None}
NOT_MEASURED = "not measured"
METHOD = """\
`python scripts/bench_peers.py --write-docs` measures fasttext_app against its peers, on two cores.
Every run of training is a fresh process, timed from its start to its exit with the model saved;
the contenders take turns, after one run each that does not count. A second process, which is not
timed, finds the accuracy on the test split. fastText runs through its Python package, and gets its
text with the `basic_english` tokens already made, in no time of its own, which favors it; all the
others read the original CSV files. Bulk prediction is timed in a loaded model."""


@dataclass
class Results:
    """All that was measured, by section; what `--results` keeps in a file."""

    rows: int
    rounds: int
    machine: str
    sections: dict[str, Samples] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)  # by section or contender: why it is not in

    def __getitem__(self, section: str) -> Samples:
        """Return a section; empty where it was not measured."""
        return self.sections.get(section, {})


@dataclass(frozen=True)
class Bar:
    """One row of the last table: what is held to which bar."""

    what: str
    measured: str
    bar: str
    verdict: str


def verdict(value: float | None, bar: float, stretch: float, *, least: bool = False) -> str:
    """Say whether a value holds its bar: at most `bar`, or with `least` at least `bar`.

    >>> verdict(0.5, 0.75, 0.55), verdict(0.6, 0.75, 0.55), verdict(2.0, 1.0, 2.5, least=True)
    ('holds, stretch too', 'holds', 'holds')
    """
    if value is None:
        return NOT_MEASURED
    if least:
        value, bar, stretch = -value, -bar, -stretch
    return "holds, stretch too" if value <= stretch else "holds" if value <= bar else "missed"


def number(value: float | None, form: str, unit: str = "") -> str:
    """Format a figure that may be missing.

    >>> number(1234.5, ",.0f", " MB"), number(None, ".2f")
    ('1,234 MB', '-')
    """
    return "-" if value is None else f"{value:{form}}{unit}"


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are text, the others figures."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def training_table(samples: Samples) -> str:
    """Return accuracy, time, memory and size of every recipe."""
    header = ["recipe", "test accuracy", "training process", "/ fastText", "peak memory", "model"]
    rows = []
    for name in samples:
        accuracy = middle(samples, name, "accuracy")
        peer = COMPARED_TO.get(name, PAPER)
        cells = [
            name,
            number(None if accuracy is None else 100 * accuracy, ".2f", " %"),
            number(middle(samples, name, "seconds"), ".2f", " s"),
            number(None if peer is None else ratio(samples, "seconds", name, peer), ".2f"),
            number(middle(samples, name, "peak_mb"), ",.0f", " MB"),
            number(middle(samples, name, "size_mb"), ",.1f", " MB"),
        ]
        rows.append(cells)
    return table(header, rows)


def prediction_table(results: Results) -> str:
    """Return texts a second in bulk, by who and from what."""
    from_what = {
        OURS: "raw text, an Arrow column",
        LIST: "raw text, a Python list",
        CLI: "raw text, a CSV file to a Parquet file, whole process",
        NEW: "normalized text, a Python list",
        COMMUNITY: "normalized text, a Python list (it has one thread)",
    }
    rows = [
        [
            name,
            from_what.get(name, ""),
            number(middle(results["bulk"], name, "texts_per_second"), ",.0f"),
            number(ratio(results["bulk"], "texts_per_second", name, NEW), ".2f"),
        ]
        for name in results["bulk"]
    ]
    return table(["bulk prediction", "from", "texts/s", "/ fasttext-new"], rows, left=2)


def single_table(results: Results) -> str:
    """Return the times of a single text: in a fresh process, and in a loaded model."""
    cold, warm = results["cold"], results["single"]
    rows = [
        [
            name,
            number(middle(cold, name, "seconds"), ".3f", " s"),
            number(middle(cold, name, "peak_mb"), ",.0f", " MB"),
            number(middle(warm, name, "median_ms"), ".3f", " ms"),
            number(middle(warm, name, "p99_ms"), ".3f", " ms"),
        ]
        for name in {**cold, **warm}
    ]
    header = ["one text", "whole process", "its peak memory", "loaded: median", "99th percentile"]
    return table(header, rows)


def against(samples: Samples, figure: str, name: str, other: str, form: str, unit: str) -> str:
    """Return "0.62 (2.1 s / 3.4 s)" for a figure of two contenders of one session."""
    value = ratio(samples, figure, name, other)
    if value is None:
        return NOT_MEASURED
    ours, theirs = (number(middle(samples, who, figure), form, unit) for who in (name, other))
    return f"{value:.2f} ({ours} / {theirs})"


def accuracy_gain(samples: Samples, name: str, other: str) -> float | None:
    """Return by how many points of accuracy one is better than another."""
    ours, theirs = middle(samples, name, "accuracy"), middle(samples, other, "accuracy")
    return None if ours is None or theirs is None else 100 * (ours - theirs)


def training_bars(results: Results) -> list[Bar]:
    """Return the bars of training time and memory."""
    bars = []
    for what, section, ours, theirs, bar, stretch in (
        ("training on AG_NEWS, whole process / fastText's", "train", OURS, PAPER, 0.75, 0.55),
        ("the same on 10 times the rows, time", "growth", TENFOLD, PAPER_TENFOLD, 0.4, 0.25),
    ):
        samples, told = results[section], f"≤ {bar}"
        measured = against(samples, "seconds", ours, theirs, ".2f", " s")
        held = verdict(ratio(samples, "seconds", ours, theirs), bar, stretch)
        gain = accuracy_gain(samples, ours, theirs)
        if gain is not None:
            measured += f", accuracy {gain:+.2f} points"
        if section == "train":
            told += ", accuracy ≥ fastText's + 0.3 points"
            if gain is not None and gain < 0.3:
                held = "missed"
        bars.append(Bar(what, measured, f"{told} (stretch ≤ {stretch})", held))
    for what, section, ours, theirs in (
        ("peak memory of training / fastText's", "train", OURS, PAPER),
        ("the same on 10 times the rows, memory", "growth", TENFOLD, PAPER_TENFOLD),
    ):
        value = ratio(results[section], "peak_mb", ours, theirs)
        measured = against(results[section], "peak_mb", ours, theirs, ",.0f", " MB")
        bars.append(Bar(what, measured, "≤ 1.5 (stretch ≤ 1.0)", verdict(value, 1.5, 1.0)))
    return bars


def size_bars(results: Results) -> list[Bar]:
    """Return the bars of the model's size."""
    train, sizes = results["train"], results["sizes"]
    theirs = middle(train, PAPER, "size_mb")
    bars = []
    for what, samples, name, least, told in (
        ("model on disk / fastText's `.bin`", train, OURS, 20, "≤ 1/20, same accuracy"),
        ("the same, quantized, 100,000 rows", sizes, CUT, 100, "(stretch ≤ 1/100)"),
    ):
        size, accuracy = middle(samples, name, "size_mb"), middle(samples, name, "accuracy")
        if size is None or theirs is None or accuracy is None:
            bars.append(Bar(what, NOT_MEASURED, told, NOT_MEASURED))
            continue
        measured = f"1/{theirs / size:,.0f} ({size:,.2f} MB / {theirs:,.0f} MB)"
        measured += f", accuracy {100 * accuracy:.2f} %"
        held = "holds" if theirs / size >= least else "missed"
        if (middle(train, PAPER, "accuracy") or 0) > accuracy:
            held = "missed"
        bars.append(Bar(what, measured, told, held))
    return bars


def sizes_table(samples: Samples) -> str:
    """Return what pruning and quantizing come to."""
    rows = []
    for name in samples:
        accuracy = middle(samples, name, "accuracy")
        cells = [
            name,
            number(middle(samples, name, "size_mb"), ",.1f", " MB"),
            number(None if accuracy is None else 100 * accuracy, ".2f", " %"),
        ]
        rows.append(cells)
    return table(["what is kept", "model", "test accuracy"], rows)


def prediction_bars(results: Results) -> list[Bar]:
    """Return the bars of prediction, and CUDA's."""
    bulk = results["bulk"]
    speed = ratio(bulk, "texts_per_second", OURS, NEW)
    measured = against(bulk, "texts_per_second", OURS, NEW, ",.0f", " texts/s")
    what = "bulk prediction, raw text to labels / fasttext-new on normalized text, two threads"
    bars = [
        Bar(what, measured, "≥ 1.0 (stretch ≥ 2.5)", verdict(speed, 1.0, 2.5, least=True)),
    ]
    one = "one text through a loaded model"
    for what, section, who, figure, form, unit, bar, stretch in (
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
        value = middle(results[section], who, figure)
        measured = number(value, form, unit)
        if value is None:
            reason = results.notes.get(section)
            measured = f"{NOT_MEASURED}: {reason}" if reason else NOT_MEASURED
        told = f"≤ {bar}{unit} (stretch ≤ {stretch}{unit})"
        bars.append(Bar(what, measured, told, verdict(value, bar, stretch)))
    return bars


def bars_table(results: Results) -> str:
    """Return every bar with what was measured."""
    bars = [*training_bars(results), *size_bars(results), *prediction_bars(results)]
    rows = [[bar.what, bar.measured, bar.bar, bar.verdict] for bar in bars]
    return table(["what", "measured", "bar", "result"], rows, left=4)


def about_rows(rows: int) -> str:
    """Say which rows were trained on."""
    if rows == ROWS_OF_ALL:
        return f"the {rows:,} training rows of AG_NEWS"
    return f"a {rows:,}-row subset of the {ROWS_OF_ALL:,} training rows of AG_NEWS"


def footer(results: Results) -> str:
    """Say how often, on which rows and with what it was measured."""
    slow = len(results["train"].get(TUTORIAL, []))
    tutorial = f" (the tutorial's recipe: {slow})" if slow else ""
    return (
        f"Medians of {results.rounds} runs{tutorial}, on {about_rows(results.rows)}; "
        f"{results.machine}."
    )


def long_form(results: Results) -> str:
    """Return the section of docs/benchmarks.md."""
    in_a_bar = ("cuda",)
    skipped = [f"{name}: {why}." for name, why in results.notes.items() if name not in in_a_bar]
    parts = [METHOD]
    if results["train"]:
        picture = "![Test accuracy against seconds of training](images/accuracy_seconds.svg)"
        parts += ["### Training", training_table(results["train"]), picture]
    if results["sizes"]:
        parts += ["### Pruning and quantizing", sizes_table(results["sizes"])]
    if results["growth"]:
        told = "10 times the rows: the same training rows, repeated ten times over."
        parts += ["### Growth with rows and threads", told, training_table(results["growth"])]
    if results["bulk"]:
        parts += ["### Prediction in bulk", prediction_table(results)]
    if results["cold"]:
        parts += ["### Prediction of one text", single_table(results)]
    parts += ["### The bars", bars_table(results), footer(results)]
    if skipped:
        parts.append(" ".join(skipped))
    return "\n\n".join(parts)


def short_form(results: Results) -> str:
    """Return the section of the README."""
    bulk, new = (middle(results["bulk"], name, "texts_per_second") for name in (OURS, NEW))
    cold = middle(results["cold"], OURS, "seconds")
    one, warm = (middle(results["single"], name, "median_ms") for name in (OURS, WARM))
    return "\n\n".join(
        [
            training_table(results["train"]),
            f"The model predicts {number(bulk, ',.0f')} raw texts/s on two threads (fasttext-new, "
            f"the fastest peer found: {number(new, ',.0f')} normalized texts/s), one text in "
            f"{number(one, '.3f', ' ms')} ({number(warm, '.3f', ' ms')} after "
            f"`model.warm_up()`), and from a cold start, whole process, in "
            f"{number(cold, '.2f', ' s')}.",
            footer(results),
        ]
    )


def points(samples: Samples) -> list[tuple[str, float, float]]:
    """Return (recipe, seconds, accuracy in percent) of every recipe that was measured."""
    found: list[tuple[str, Any, Any]] = [
        (name, middle(samples, name, "seconds"), middle(samples, name, "accuracy"))
        for name in samples
    ]
    return [(name, at, 100 * share) for name, at, share in found if None not in (at, share)]
