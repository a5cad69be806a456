"""Measure fasttext_app and its peers: training, growth, other shapes, prediction, cold start.

Every run is a fresh process on two cores, timed from start to exit. Contenders take turns; results
are medians, and ratios compare medians of the same session. Input that a peer needs prepared, such
as normalized text, is prepared untimed, and a second, untimed process measures the accuracy. Needs
the AG_NEWS files under $FASTTEXT_APP_DATA and the packages of the extra `bench`.

    python scripts/bench_peers.py [--only train,growth,...] [--rounds 5] [--write-docs]

With --results FILE the measurements are stored, and parts that are not measured now are read from
there, so that the parts can be measured one at a time: train, growth, shapes, loop, predict, cold.
`--only ""` measures nothing and shows what is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pages import check_markers, write_between_markers
from peers import plot, report
from peers.contenders import PACKAGES
from peers.measure import SCRIPTS
from peers.session import Session

ROOT = SCRIPTS.parent
PAGES = {ROOT / "docs" / "benchmarks.md": report.long_form, ROOT / "README.md": report.short_form}
PLOT = ROOT / "docs" / "images" / "accuracy_seconds.svg"
PARTS = ("train", "growth", "shapes", "loop", "predict", "calls", "formats", "cold")
CORES = 2
VERSIONS = ("torch", "numba", "pyarrow", *PACKAGES.values())


def machine() -> str:
    """Describe the machine: cores, Python, and the versions of the packages."""
    versions = []
    for package in VERSIONS:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    python = platform.python_version()
    return f"{cores} cores ({platform.machine()}), Python {python}, {', '.join(versions)}"


def parse_parts(value: str) -> list[str]:
    """Parse the value of --only.

    Raises:
        argparse.ArgumentTypeError: it names an unknown part.
    """
    names = [part.strip() for part in value.split(",") if part.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(PARTS)}")
    return [part for part in PARTS if part in names]


def stored_results(path: Path | None, fresh: report.Results, parts: list[str]) -> report.Results:
    """Return the results in a file, or the fresh ones without a file.

    Results of different rows, rounds or machines do not go into one page: the program exits.
    """
    if path is None or not path.exists():
        return fresh
    stored = report.Results(**json.loads(path.read_text(encoding="utf-8")))
    for name in ("rows", "rounds", "machine") if parts else ("rows",):
        before, now = getattr(stored, name), getattr(fresh, name)
        if before != now:
            sys.exit(f"{path}: was measured with other {name} ({before}) than now ({now})")
    return stored


def save_results(path: Path, results: report.Results) -> None:
    """Store the results in a file."""
    path.write_text(json.dumps(asdict(results), indent=1), encoding="utf-8")


def check_options(options: argparse.Namespace) -> None:
    """Exit on options that would fail at the end, before the long part."""
    folder = os.environ.get("FASTTEXT_APP_DATA")
    if folder is None or not (Path(folder) / "ag_news" / "train.csv").is_file():
        sys.exit("set FASTTEXT_APP_DATA to the folder that holds ag_news/train.csv and test.csv")
    if options.write_docs and options.rows is not None:
        sys.exit("--write-docs cannot be combined with --rows: the pages show results of all rows")
    for page in PAGES if options.write_docs else []:
        check_markers(page, "peers")


def write_docs(results: report.Results) -> None:
    """Draw the plot, and write the tables into their pages."""
    if points := report.points(results["train"]):
        plot.draw(points, PLOT)
    for page, text in PAGES.items():
        write_between_markers(page, "peers", text(results))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--only", type=parse_parts, default=list(PARTS), metavar="PART,...")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument(
        "--shape-rounds", type=int, default=2, help="runs of each shape (default: 2)"
    )
    parser.add_argument("--slow-rounds", type=int, default=1, help="runs of the tutorial's recipe")
    parser.add_argument("--rows", type=int, help="train on this many rows only: a smoke test")
    parser.add_argument(
        "--also", action="append", default=[], metavar="CONFIG", help="train this config too"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="store the measurements here")
    parser.add_argument("--write-docs", action="store_true", help="fill docs/ and the README")
    return parser.parse_args()


def main() -> None:
    """Measure the chosen parts, and print or write the tables."""
    options = parse_arguments()
    check_options(options)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:CORES])
    train_file = Path(os.environ["FASTTEXT_APP_DATA"]) / "ag_news" / "train.csv"
    with train_file.open("rb") as file:
        rows = sum(1 for _ in file)
    rows = min(rows, options.rows or rows)
    fresh = report.Results(rows, options.rounds, machine())
    results = stored_results(options.results, fresh, options.only)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(options, Path(folder), results)
        for part in options.only:
            getattr(session, part)()
            if options.results is not None:
                save_results(options.results, results)
    print(report.long_form(results))
    if options.rows is not None:
        print(f"\nThis was a smoke test on {rows:,} rows: the numbers mean nothing.")
    if options.write_docs:
        write_docs(results)


if __name__ == "__main__":
    main()
