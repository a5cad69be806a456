"""Compare the default settings with fastText and tf-idf on open data sets.

Every contender is fitted on the same training rows, in this process, and answers the same test
rows: our defaults with several seeds; fastText with its defaults, tuned by its autotune, and by a
small grid; and tf-idf (words and bigrams, sublinear) with LinearSVC and with LogisticRegression.
The settings are developed with --held-out, which never reads a test split.

    python scripts/bench_defaults.py [--only NAME ...] [--held-out] [--autotune-seconds 60]
    python scripts/bench_defaults.py --langid DIR --packages DIR --docs docs/accuracy.md

AG_NEWS must be under $FASTTEXT_APP_DATA; the peers are in the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from defaults.contenders import OURS, Contender, contenders, installed, warm_up
from defaults.report import Result, SetResults, report
from defaults.scores import Answers, compare, is_right, score
from defaults.sets import FOLDERS, SETS, OpenSet, Sources
from pages import check_markers, write_between_markers

from fasttext_app.errors import FastTextAppError

MARKER = "defaults"


def available(entries: Sequence[Contender]) -> list[Contender]:
    """Return the contenders that are installed, and say how to install the others."""
    for contender in entries:
        if not installed(contender):
            install = f"pip install -c constraints.txt {contender.distribution}"
            print(f"{contender.name}: skipped, not installed; run `{install}`", file=sys.stderr)
    return [contender for contender in entries if installed(contender)]


def measure(data: OpenSet, entries: Sequence[Contender], seeds: int) -> SetResults:
    """Fit all contenders on one set: ours, which comes first, once for each seed."""
    true = [label for _, label in data.test]
    labels = len({label for _, label in data.train})
    results = SetResults(data.name, data.title, len(data.train), len(data.test), labels)
    answers: dict[str, Answers] = {}  # with the first seed
    for contender in entries:
        result = results.contenders.setdefault(contender.name, Result([]))
        for seed in range(seeds if contender.name == OURS else 1):
            answer, seconds = run(contender, data, seed)
            result.runs.append(score(true, answer, seconds))
            answers.setdefault(contender.name, answer)
            print(data.name, contender.name, result.runs[-1], file=sys.stderr)
        if contender.name != OURS:
            ours, theirs = (is_right(true, answers[name]) for name in (OURS, contender.name))
            result.comparison = compare(ours, theirs)
    return results


def run(contender: Contender, data: OpenSet, seed: int) -> tuple[Answers, float]:
    """Fit a contender; return its answers to the test texts and the seconds that fitting took."""
    started = time.perf_counter()
    classify = contender.fit(data.train, seed)
    seconds = time.perf_counter() - started
    return classify([text for text, _ in data.test]), seconds


def describe(argv: Sequence[str], options: argparse.Namespace, entries: Sequence[Contender]) -> str:
    """Return the command, and what it ran on."""
    peers = {entry.distribution for entry in entries if entry.name != OURS}
    packages = ["torch", "numba", *sorted(peers)]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    rows = "rows held out from the training rows" if options.held_out else "the test rows"
    return (
        f"`{shlex.join(['python', 'scripts/bench_defaults.py', *argv])}`: scores on {rows}; means "
        f"over {options.seeds} seeds for our defaults (± sample standard deviation), one run of "
        f"each peer; {len(os.sched_getaffinity(0))} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, {versions}."
    )


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=SETS, metavar="NAME", help=f"sets: {', '.join(SETS)}")
    add("--held-out", action="store_true", help="test on held-out training rows")
    add("--seeds", type=int, default=3, help="seeds of our defaults (default: 3)")
    add("--peers", action=argparse.BooleanOptionalAction, default=True)
    add("--autotune-seconds", type=int, default=60, metavar="N", help="(default: 60)")
    for name, script in FOLDERS.items():
        add(f"--{name}", type=Path, metavar="DIR", help=f"the folder that {script} wrote")
    add("--docs", type=Path, metavar="PAGE", help="fill the tables of this page")
    add("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(argv)
    options.folders = {name: getattr(options, name) for name in FOLDERS if getattr(options, name)}
    if options.only is None:
        options.only = [name for name in SETS if name not in FOLDERS or name in options.folders]
    for name in options.only:
        if name in FOLDERS and name not in options.folders:
            parser.error(f"--only {name}: name its folder with --{name} DIR")
    if options.seeds < 1:
        parser.error("--seeds: must be at least 1")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the sets one after another, and print or write the tables."""
    argv = sys.argv[1:] if argv is None else argv
    options = parse_arguments(argv)
    if options.docs is not None:
        check_markers(options.docs, MARKER)
    entries = contenders(options.autotune_seconds)
    entries = available(entries if options.peers else entries[:1])
    warm_up(entries)
    sources = Sources(held_out=options.held_out, folders=options.folders)
    try:
        results = [measure(SETS[name](sources), entries, options.seeds) for name in options.only]
    except FastTextAppError as error:
        sys.exit(str(error))
    text = f"{report(results)}\n\n{describe(argv, options, entries)}"
    print(json.dumps([asdict(entry) for entry in results], indent=1) if options.json else text)
    if options.docs is not None:
        write_between_markers(options.docs, MARKER, text)


if __name__ == "__main__":
    main()
