"""Build the sample dataset: Debian package descriptions labeled by archive section.

    python scripts/build_sample.py PACKAGES --translation TRANSLATION-EN --output data/sample

PACKAGES is a Debian ``Packages`` index. TRANSLATION-EN is the ``Translation-en`` index that belongs
to it, needed where ``Packages`` has only one-line descriptions, as in the Debian archive. The
output is ``train.csv`` and ``test.csv`` with the columns ``package,label,text``. The split is by
source package, so no source has rows in both files. Equal input gives byte-identical output. Only
the standard library is used; ``.lz4`` files, as apt stores them, are read through the ``lz4``
command or apt's helper.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

SECTIONS = (
    "database",
    "editors",
    "games",
    "graphics",
    "mail",
    "math",
    "science",
    "sound",
    "web",
)
"""The sections to take; each is a label."""

SECTION_CAP = 600
"""The maximum number of rows per section."""

SOURCE_CAP = 3
"""The maximum number of rows per source package and section."""

TEXT_CAP = 600
"""The maximum number of characters per text; a longer text is cut between words."""

TEXT_MIN = 60
"""The minimum number of characters per text; a shorter one says too little."""

TEST_SHARE = 0.2
"""The fraction of source packages that go to the test file."""

NEAR_DUPLICATE = 0.5
"""The Jaccard similarity of their words at which two texts count as duplicates."""

HEADER = ("package", "label", "text")
APT_HELPER = "/usr/lib/apt/apt-helper"

_SKIPPED_NAME = re.compile(r"-(common|data|dbg|dbgsym|dev|doc|docs|examples|l10n)$|^task-")
_BOILERPLATE = re.compile(
    r"(this|the present) (\w+ )?(meta-?)?package "
    r"(only )?(contains|provides|includes|installs|ships|holds|has|is|depends|consists)\b"
    r"|this is (a|an|the) (dummy|empty|meta|transitional|virtual)"
    r"|(please )?see the \S+ package"
    r"|(homepage|author|upstream)\w*:",
    re.IGNORECASE,
)
_POINTER = re.compile(
    r"\b(transition(al)?|dummy|empty|virtual) (\w+ )?package\b|\bmeta-?package\b", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\ufeff\ufffd]")
_NOT_LETTER = re.compile(r"[\W\d_]+")

Stanza = dict[str, str]


class BuildError(Exception):
    """Input that no dataset can be built from; the message is for the user."""


@dataclass(frozen=True)
class Description:
    """One binary package, as the indexes describe it."""

    package: str
    source: str
    section: str
    synopsis: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of the dataset, with the source package that decides its split."""

    package: str
    source: str
    label: str
    text: str


# ---------------------------------------------------------------------------------------------
# Reading the indexes
# ---------------------------------------------------------------------------------------------


def read_index(path: Path) -> str:
    """Return the text of an index file; its first bytes say how it is compressed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BuildError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = _decompress(path, data).decode("utf-8")
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise BuildError(f"{path} is damaged or not a package index: {error}") from error
    if not text.strip():
        raise BuildError(f"{path} is empty")
    return text


def _decompress(path: Path, data: bytes) -> bytes:
    """Decompress gzip, xz, bzip2 or lz4; return other data unchanged."""
    formats: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
        (b"\x1f\x8b", gzip.decompress),
        (b"\xfd7zXZ\x00", lzma.decompress),
        (b"BZh", bz2.decompress),
        (b"\x04\x22\x4d\x18", lambda _: _read_lz4(path)),
    )
    for magic, decompress in formats:
        if data.startswith(magic):
            return decompress(data)
    return data


def _read_lz4(path: Path) -> bytes:
    """Decompress an lz4 file with the lz4 command, or with apt's helper if there is none."""
    target = str(path.resolve())
    if shutil.which("lz4"):
        command = ["lz4", "-dcq", target]
    elif Path(APT_HELPER).exists():
        command = [APT_HELPER, "cat-file", target]
    else:
        raise BuildError(
            f"{path} is lz4-compressed; install the lz4 command, or decompress the file"
        )
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0:
        raise ValueError(f"{command[0]} failed with status {result.returncode}")
    return result.stdout


def parse_stanzas(text: str) -> Iterator[Stanza]:
    """Yield each stanza as a mapping of lower-case field names to values.

    The lines of a multi-line value keep their line ends and their indentation.
    """
    stanza: Stanza = {}
    field = ""
    for line_number, raw_line in enumerate(io.StringIO(text, newline="\n"), start=1):
        line = raw_line.rstrip("\r\n")
        if not line.strip():
            if stanza:
                yield stanza
            stanza, field = {}, ""
        elif line[0] in " \t":
            if not field:
                raise BuildError(
                    f"line {line_number} continues a field, but there is none before it"
                )
            stanza[field] += "\n" + line
        else:
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                raise BuildError(f"line {line_number} is neither a field nor a continuation")
            field = name.strip().lower()
            stanza[field] = value.strip()
    if stanza:
        yield stanza


def read_stanzas(path: Path) -> Iterator[Stanza]:
    """Yield the stanzas of an index file; an error names the file."""
    text = read_index(path)
    try:
        yield from parse_stanzas(text)
    except BuildError as error:
        raise BuildError(f"{path}: {error}") from error


def long_descriptions(stanzas: Iterable[Stanza]) -> dict[str, str]:
    """Map each Description-md5 to the English description of a Translation-en index."""
    descriptions: dict[str, str] = {}
    for stanza in stanzas:
        text = stanza.get("description-en") or stanza.get("description")
        if text and stanza.get("description-md5"):
            descriptions[stanza["description-md5"]] = text
    return descriptions


def source_name(stanza: Stanza) -> str:
    """Return the source package, without the version that may follow in parentheses."""
    source = stanza.get("source", "").partition("(")[0].strip()
    return source or stanza["package"]


def split_paragraphs(lines: Sequence[str]) -> tuple[str, ...]:
    """Join the lines of a long description into paragraphs; lines with ' .' separate them."""
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == ".":
            paragraphs.append([])
        else:
            paragraphs[-1].append(line)
    joined = (squeeze(" ".join(part)) for part in paragraphs)
    return tuple(part for part in joined if part)


def read_descriptions(
    stanzas: Iterable[Stanza], translations: dict[str, str], sections: Iterable[str]
) -> list[Description]:
    """Return the packages of the sections, each name once, in a fixed order."""
    section_names = set(sections)
    descriptions: dict[str, Description] = {}
    for stanza in stanzas:
        name = stanza.get("package", "")
        section = stanza.get("section", "").rpartition("/")[2]
        if not name or name in descriptions or section not in section_names:
            continue
        text = stanza.get("description-en") or stanza.get("description", "")
        text = translations.get(stanza.get("description-md5", ""), text)
        synopsis, *lines = text.split("\n")
        descriptions[name] = Description(
            name, source_name(stanza), section, squeeze(synopsis), split_paragraphs(lines)
        )
    return sorted(descriptions.values(), key=_preference)


def _preference(item: Description) -> tuple[str, int, str]:
    """Sort by source; the package named like its source comes first."""
    return item.source, int(item.package != item.source), item.package


# ---------------------------------------------------------------------------------------------
# Making the texts
# ---------------------------------------------------------------------------------------------


def squeeze(text: str) -> str:
    """Replace control characters and runs of white space with one space."""
    return " ".join(_CONTROL.sub(" ", text).split())


def shorten(text: str, limit: int = TEXT_CAP) -> str:
    """Cut a text between words, to at most ``limit`` characters."""
    if len(text) <= limit:
        return text
    return text[: limit + 1].rpartition(" ")[0].rstrip()


def descriptive_paragraphs(paragraphs: Sequence[str]) -> tuple[str, ...]:
    """Drop paragraphs about packaging; the first one is always kept."""
    rest = (part for part in paragraphs[1:] if not _BOILERPLATE.match(part))
    return (*paragraphs[:1], *rest)


def make_text(item: Description) -> str:
    """Return the text of a package: its short description, then its long one."""
    return shorten(" ".join((item.synopsis, *descriptive_paragraphs(item.paragraphs))))


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text, ignoring case, digits and punctuation."""
    return frozenset(_NOT_LETTER.sub(" ", text.casefold()).split())


class SeenTexts:
    """The texts so far, indexed to find near duplicates.

    Sort the words of every text by the same rule (here long words first, as they are rare). Two
    texts that overlap enough must share one of their first words, so only those are compared. This
    is the prefix filter of set-similarity joins.
    """

    def __init__(self, limit: float = NEAR_DUPLICATE) -> None:
        """Start empty; ``limit`` is the Jaccard similarity that makes two texts duplicates."""
        self.limit = limit
        self._texts: list[frozenset[str]] = []
        self._by_word: dict[str, list[int]] = defaultdict(list)

    def add_new(self, text: str) -> bool:
        """Add a text and return True, unless it has no words or duplicates an earlier one."""
        words = words_of(text)
        if not words:
            return False
        first = self._first_words(words)
        candidates = {index for word in first for index in self._by_word.get(word, ())}
        if any(self._similar(words, self._texts[index]) for index in candidates):
            return False
        for word in first:
            self._by_word[word].append(len(self._texts))
        self._texts.append(words)
        return True

    def _first_words(self, words: frozenset[str]) -> list[str]:
        """Return enough words that a near duplicate must share one of them."""
        needed = math.ceil(self.limit * len(words))
        return sorted(words, key=lambda word: (-len(word), word))[: len(words) - needed + 1]

    def _similar(self, left: frozenset[str], right: frozenset[str]) -> bool:
        """Return whether the Jaccard similarity reaches the limit."""
        shared = len(left & right)
        return shared >= self.limit * (len(left) + len(right) - shared)


def usable(item: Description) -> bool:
    """Return whether a package is more than a companion or a pointer to another package."""
    if not item.synopsis or not item.paragraphs or _SKIPPED_NAME.search(item.package):
        return False
    return not _POINTER.search(f"{item.synopsis} {item.paragraphs[0]}")


def make_rows(descriptions: Iterable[Description]) -> list[Row]:
    """Turn descriptions into rows, without duplicates and with few rows per source."""
    per_source: Counter[tuple[str, str]] = Counter()
    seen = SeenTexts()
    rows: list[Row] = []
    for item in filter(usable, descriptions):
        text = make_text(item)
        key = (item.source, item.section)
        if len(text) >= TEXT_MIN and per_source[key] < SOURCE_CAP and seen.add_new(text):
            per_source[key] += 1
            rows.append(Row(item.package, item.source, item.section, text))
    return rows


# ---------------------------------------------------------------------------------------------
# Selecting and splitting the rows
# ---------------------------------------------------------------------------------------------


def stable_hash(purpose: str, name: str) -> int:
    """Return a 64-bit number that depends only on the two strings."""
    digest = hashlib.sha256(f"{purpose}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def in_test(source: str) -> bool:
    """Return whether a source package belongs in the test file."""
    return stable_hash("split", source) < TEST_SHARE * 2**64


def cap_labels(rows: Iterable[Row], cap: int) -> list[Row]:
    """Keep at most ``cap`` rows per label, in the order of a hash of the package name."""
    per_label: Counter[str] = Counter()
    capped: list[Row] = []
    for row in sorted(rows, key=lambda r: (stable_hash("order", r.package), r.package)):
        if per_label[row.label] < cap:
            per_label[row.label] += 1
            capped.append(row)
    return capped


def split_rows(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Split the rows into train and test by source package."""
    train: list[Row] = []
    test: list[Row] = []
    for row in rows:
        (test if in_test(row.source) else train).append(row)
    return train, test


def build(
    packages: Path, translation: Path | None, sections: Sequence[str], cap: int
) -> tuple[list[Row], list[Row]]:
    """Read the indexes; return the rows of the train and of the test file."""
    translations = long_descriptions(read_stanzas(translation)) if translation else {}
    if translation and not translations:
        raise BuildError(f"{translation} has no English descriptions")
    descriptions = read_descriptions(read_stanzas(packages), translations, sections)
    if not descriptions:
        raise BuildError(f"{packages} has no package of the sections {', '.join(sections)}")
    if not any(item.paragraphs for item in descriptions):
        raise BuildError(
            f"{translation} describes no package of {packages}"
            if translation
            else f"{packages} has no long descriptions; pass its index with --translation"
        )
    train, test = split_rows(cap_labels(make_rows(descriptions), cap))
    if not train or not test:
        raise BuildError(f"{packages} has too few descriptions for a train and a test file")
    untrained = {row.label for row in test} - {row.label for row in train}
    if untrained:
        raise BuildError(f"no training rows in the sections {', '.join(sorted(untrained))}")
    return train, test


# ---------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------


class Labeled(Protocol):
    """A row of any data set."""

    @property
    def label(self) -> str:
        """Return the label."""


L = TypeVar("L", bound=Labeled)


def keep_frequent(
    train: Sequence[L], test: Sequence[L], minimum: int, labels: str
) -> tuple[list[L], list[L]]:
    """Return the rows whose label has ``minimum`` training rows and a test row.

    Args:
        train: the training rows.
        test: the test rows.
        minimum: the minimum number of training rows.
        labels: what the labels are, for the message.

    Raises:
        BuildError: fewer than two labels are left.
    """
    counts = Counter(row.label for row in train)
    frequent = {row.label for row in test if counts[row.label] >= minimum}
    if len(frequent) < 2:
        raise BuildError(f"fewer than two {labels} have {minimum} training rows and a test row")
    return (
        [row for row in train if row.label in frequent],
        [row for row in test if row.label in frequent],
    )


def to_csv(rows: Iterable[object], header: Sequence[str] = HEADER) -> bytes:
    """Return the fields of the rows that the header names as CSV with a header line."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([getattr(row, name) for name in header] for row in rows)
    return buffer.getvalue().encode("utf-8")


def write_atomically(files: Mapping[Path, bytes]) -> None:
    """Write all files under temporary names, then rename them, so that none is ever partial."""
    temporary: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            temporary[path] = Path(name)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            temporary[path].chmod(0o644)
        for path, written in temporary.items():
            written.replace(path)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def write_files(output: Path, train: bytes, test: bytes) -> None:
    """Write train.csv and test.csv into a folder, which is created if needed."""
    files = {output / "train.csv": train, output / "test.csv": test}
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(files)
    except OSError as error:
        raise BuildError(f"cannot write to {output}: {error.strerror or error}") from error


def summary(train: Sequence[Labeled], test: Sequence[Labeled], title: str = "section") -> str:
    """Return the row counts by label, and the accuracy of always guessing the largest one."""
    train_counts = Counter(row.label for row in train)
    test_counts = Counter(row.label for row in test)
    width = max(14, *(len(label) + 2 for label in train_counts))
    lines = [f"{title:<{width}}{'train':>7}{'test':>7}"]
    lines += [
        f"{label:<{width}}{train_counts[label]:>7}{test_counts[label]:>7}"
        for label in sorted(train_counts)
    ]
    lines.append(f"{'all':<{width}}{len(train):>7}{len(test):>7}")
    guess = max(sorted(train_counts), key=lambda label: train_counts[label])
    lines.append(f"majority guess ({guess}) on test: {test_counts[guess] / len(test):.2%}")
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", type=Path, metavar="PACKAGES", help="a Packages index")
    parser.add_argument(
        "--translation", type=Path, metavar="TRANSLATION-EN", help="its long descriptions"
    )
    parser.add_argument("--output", type=Path, default=Path("data/sample"), help="output folder")
    parser.add_argument(
        "--sections",
        default=",".join(SECTIONS),
        help="comma-separated sections (default: %(default)s)",
    )
    parser.add_argument(
        "--cap",
        type=int,
        default=SECTION_CAP,
        help="maximum rows per section (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the dataset and print its row counts; return the exit status."""
    options = parse_arguments(arguments)
    sections = [name.strip() for name in options.sections.split(",") if name.strip()]
    try:
        if not sections or options.cap < 1:
            raise BuildError("--sections needs at least one name, and --cap a number above 0")
        train, test = build(options.packages, options.translation, sections, options.cap)
        write_files(options.output, to_csv(train), to_csv(test))
    except BuildError as error:
        print(f"build_sample: {error}", file=sys.stderr)
        return 1
    print(summary(train, test))
    return 0


if __name__ == "__main__":
    sys.exit(main())
