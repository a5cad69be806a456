"""Build a data set with many classes: Debian package synopses by section and kind of package.

    python scripts/build_packages.py --output DIR [--packages PACKAGES] [--cap ROWS] [--min ROWS]

PACKAGES is a Debian ``Packages`` index; by default it is what ``apt-cache dumpavail`` prints. The
output is ``train.csv`` and ``test.csv`` with the columns ``package,label,text``. A label is a
section and a kind, such as ``libs/development``; the kind comes from the name of the package, which
is not in the text. The split is by source package, so no source has rows in both files. The same
index gives byte-identical output.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from build_sample import (
    BuildError,
    Row,
    Stanza,
    cap_labels,
    keep_frequent,
    parse_stanzas,
    read_stanzas,
    source_name,
    split_rows,
    squeeze,
    summary,
    to_csv,
    words_of,
    write_files,
)

CAP = 300
"""The maximum number of rows per class."""

MIN_TRAIN = 20
"""The minimum number of training rows per class; a smaller class is left out."""

TEXT_MIN = 12
"""The minimum number of characters per text."""

KINDS = (
    ("debug", re.compile(r"-dbg(sym)?$")),
    ("documentation", re.compile(r"-docs?$|-doc-|-examples$|-manual$")),
    ("development", re.compile(r"-dev$|-headers$|-dev-")),
    ("data", re.compile(r"-data$|-common$|-l10n|-locales?$|^fonts-|-themes?$")),
    ("python", re.compile(r"^(python3?|pypy3?)-")),
    ("perl", re.compile(r"-perl$")),
    ("ruby", re.compile(r"^ruby-")),
    ("javascript", re.compile(r"^(node|libjs)-")),
    ("java", re.compile(r"-java$")),
    ("haskell", re.compile(r"^libghc-")),
    ("r", re.compile(r"^r-(cran|bioc|other)-")),
    ("php", re.compile(r"^php")),
    ("plugin", re.compile(r"-(plugins?|modules?|extensions?)(-|$)|-plugin")),
    ("tools", re.compile(r"-(utils|tools|bin)$")),
    ("library", re.compile(r"^lib")),
)
"""Each kind with the names that it takes; the first that matches counts."""


def kind_of(package: str) -> str:
    """Return the kind of a package, by its name.

    >>> [kind_of(name) for name in ("libxml2-dev", "python3-numpy", "libxml2", "mutt")]
    ['development', 'python', 'library', 'program']
    """
    return next((kind for kind, pattern in KINDS if pattern.search(package)), "program")


def read_available() -> Iterable[Stanza]:
    """Yield the packages that apt knows."""
    command = ["apt-cache", "dumpavail"]
    try:
        result = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        message = f"cannot run apt-cache: {error.strerror}; pass an index with --packages"
        raise BuildError(message) from error
    text = result.stdout.decode("utf-8", errors="replace")
    if result.returncode != 0 or not text.strip():
        raise BuildError("apt-cache knows no packages; run apt-get update, or pass --packages")
    return parse_stanzas(text)


def make_rows(stanzas: Iterable[Stanza]) -> list[Row]:
    """Return a row for each package, each name and each text once, in a fixed order."""
    by_name: dict[str, Row] = {}
    for stanza in stanzas:
        name, section = stanza.get("package", ""), stanza.get("section", "").rpartition("/")[2]
        description = stanza.get("description-en") or stanza.get("description", "")
        text = squeeze(description.partition("\n")[0])
        if name and section and len(text) >= TEXT_MIN:
            label = f"{section}/{kind_of(name)}"
            by_name.setdefault(name, Row(name, source_name(stanza), label, text))
    rows: dict[frozenset[str], Row] = {}
    for row in sorted(by_name.values(), key=lambda row: (row.source, row.package)):
        rows.setdefault(words_of(row.text), row)
    return list(rows.values())


def build(packages: Path | None, cap: int, minimum: int) -> tuple[list[Row], list[Row]]:
    """Read the index; return the rows of the train and of the test file."""
    stanzas = read_stanzas(packages) if packages else read_available()
    train, test = split_rows(cap_labels(make_rows(stanzas), cap))
    return keep_frequent(train, test, minimum, "classes")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    parser.add_argument("--packages", type=Path, help="a Packages index (default: ask apt-cache)")
    parser.add_argument(
        "--cap", type=int, default=CAP, help="maximum rows per class (default: %(default)s)"
    )
    parser.add_argument(
        "--min",
        type=int,
        default=MIN_TRAIN,
        help="minimum training rows per class (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the data set and print its row counts; return the exit status."""
    options = parse_arguments(arguments)
    try:
        if options.cap < 1 or options.min < 1:
            raise BuildError("--cap and --min need a number above 0")
        train, test = build(options.packages, options.cap, options.min)
        write_files(options.output, to_csv(train), to_csv(test))
    except BuildError as error:
        print(f"build_packages: {error}", file=sys.stderr)
        return 1
    print(summary(train, test, "class"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
