"""Build the sample data set: Debian package descriptions labeled by archive section.

The input is any Debian ``Packages`` index, and the ``Translation-en`` index beside it when the
``Packages`` file holds only the one-line descriptions (as it does in the Debian archive).  The
output is ``train.csv`` and ``test.csv`` with the columns ``package,label,text``.  The split is
made by source package, so that no source has rows on both sides, and equal input gives
byte-identical output.  Only the standard library is used; ``.lz4`` files, as apt stores them,
are read through the ``lz4`` command or apt's own helper.
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
"""The sections taken, each one a label."""

SECTION_CAP = 600
"""Most rows of one section."""

SOURCE_CAP = 3
"""Most rows of one source package in one section."""

TEXT_CAP = 600
"""Most characters of one text, cut between words."""

TEXT_MIN = 60
"""Fewest characters of one text; a shorter one says too little."""

TEST_SHARE = 0.2
"""Share of the source packages that goes to the test file."""

NEAR_DUPLICATE = 0.5
"""Two texts whose words overlap by this much (Jaccard) count as one."""

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
    """An input that no data set can be built from; the message is for the user."""


@dataclass(frozen=True)
class Description:
    """One binary package as the indexes describe it."""

    package: str
    source: str
    section: str
    synopsis: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of the data set, with the source package that decides its side."""

    package: str
    source: str
    label: str
    text: str


# ---------------------------------------------------------------------------------------------
# Reading the indexes
# ---------------------------------------------------------------------------------------------


def read_index(path: Path) -> str:
    """Return the text of an index file, decompressed by what its first bytes say it is."""
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
    """Undo gzip, xz, bzip2 or lz4; plain data is returned as it is."""
    known: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
        (b"\x1f\x8b", gzip.decompress),
        (b"\xfd7zXZ\x00", lzma.decompress),
        (b"BZh", bz2.decompress),
        (b"\x04\x22\x4d\x18", lambda _: _read_lz4(path)),
    )
    for magic, decompress in known:
        if data.startswith(magic):
            return decompress(data)
    return data


def _read_lz4(path: Path) -> bytes:
    """Decompress an lz4 file with the lz4 command, or apt's helper where there is none."""
    target = str(path.resolve())
    if shutil.which("lz4"):
        command = ["lz4", "-dcq", target]
    elif Path(APT_HELPER).exists():
        command = [APT_HELPER, "cat-file", target]
    else:
        raise BuildError(f"{path} is lz4-compressed: install the lz4 command, or decompress it")
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0:
        raise ValueError(f"{command[0]} failed with status {result.returncode}")
    return result.stdout


def parse_stanzas(text: str) -> Iterator[Stanza]:
    """Yield each stanza as a mapping of lower-case field names to values.

    The lines of a multi-line value are joined with line ends, their indentation kept.
    """
    stanza: Stanza = {}
    field = ""
    for number, ended in enumerate(io.StringIO(text, newline="\n"), start=1):
        line = ended.rstrip("\r\n")
        if not line.strip():
            if stanza:
                yield stanza
            stanza, field = {}, ""
        elif line[0] in " \t":
            if not field:
                raise BuildError(f"line {number} continues a field, but none was begun")
            stanza[field] += "\n" + line
        else:
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                raise BuildError(f"line {number} is neither a field nor a continuation")
            field = name.strip().lower()
            stanza[field] = value.strip()
    if stanza:
        yield stanza


def read_stanzas(path: Path) -> Iterator[Stanza]:
    """Yield the stanzas of an index file, naming the file in any error."""
    text = read_index(path)
    try:
        yield from parse_stanzas(text)
    except BuildError as error:
        raise BuildError(f"{path}: {error}") from error


def long_descriptions(stanzas: Iterable[Stanza]) -> dict[str, str]:
    """Map each Description-md5 to the English description of a Translation-en index."""
    found: dict[str, str] = {}
    for stanza in stanzas:
        text = stanza.get("description-en") or stanza.get("description")
        if text and stanza.get("description-md5"):
            found[stanza["description-md5"]] = text
    return found


def source_name(stanza: Stanza) -> str:
    """Return the source package, without the version the field may give in parentheses."""
    source = stanza.get("source", "").partition("(")[0].strip()
    return source or stanza["package"]


def split_paragraphs(lines: Sequence[str]) -> tuple[str, ...]:
    """Join the lines of a long description into paragraphs, parted by the ' .' markers."""
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
    """Describe the packages of the wanted sections, each name once, in a fixed order."""
    wanted = set(sections)
    found: dict[str, Description] = {}
    for stanza in stanzas:
        name = stanza.get("package", "")
        section = stanza.get("section", "").rpartition("/")[2]
        if not name or name in found or section not in wanted:
            continue
        text = stanza.get("description-en") or stanza.get("description", "")
        text = translations.get(stanza.get("description-md5", ""), text)
        synopsis, *lines = text.split("\n")
        found[name] = Description(
            name, source_name(stanza), section, squeeze(synopsis), split_paragraphs(lines)
        )
    return sorted(found.values(), key=_preference)


def _preference(item: Description) -> tuple[str, int, str]:
    """Sort by source, the package that bears the source's name first."""
    return item.source, int(item.package != item.source), item.package


# ---------------------------------------------------------------------------------------------
# Making the texts
# ---------------------------------------------------------------------------------------------


def squeeze(text: str) -> str:
    """Drop control characters and make each run of white space one space."""
    return " ".join(_CONTROL.sub(" ", text).split())


def shorten(text: str, limit: int = TEXT_CAP) -> str:
    """Cut a text between words so that it has at most ``limit`` characters."""
    if len(text) <= limit:
        return text
    return text[: limit + 1].rpartition(" ")[0].rstrip()


def own_paragraphs(paragraphs: Sequence[str]) -> tuple[str, ...]:
    """Leave out the paragraphs on packaging; the first one is the description proper."""
    rest = (part for part in paragraphs[1:] if not _BOILERPLATE.match(part))
    return (*paragraphs[:1], *rest)


def make_text(item: Description) -> str:
    """Return the text of a package: its short description, then its long one."""
    return shorten(" ".join((item.synopsis, *own_paragraphs(item.paragraphs))))


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text, without case, digits or punctuation."""
    return frozenset(_NOT_LETTER.sub(" ", text.casefold()).split())


class SeenTexts:
    """The texts taken so far, to tell whether another one is nearly the same.

    Two sets of words that overlap enough must share one of the first words of each, in whatever
    order all sets are sorted (here long, hence rare, words first).  Only texts that do are
    compared.
    """

    def __init__(self, limit: float = NEAR_DUPLICATE) -> None:
        """Begin with no text; ``limit`` is the Jaccard similarity that counts as the same."""
        self.limit = limit
        self._texts: list[frozenset[str]] = []
        self._by_word: dict[str, list[int]] = defaultdict(list)

    def add_new(self, text: str) -> bool:
        """Add a text unless it nearly equals one that is there; tell whether it was added.

        A text without any word is not added either.
        """
        words = words_of(text)
        if not words:
            return False
        first = self._first_words(words)
        candidates = {number for word in first for number in self._by_word.get(word, ())}
        if any(self._same(words, self._texts[number]) for number in candidates):
            return False
        for word in first:
            self._by_word[word].append(len(self._texts))
        self._texts.append(words)
        return True

    def _first_words(self, words: frozenset[str]) -> list[str]:
        """Return enough words that a near duplicate must share one of them."""
        needed = math.ceil(self.limit * len(words))
        return sorted(words, key=lambda word: (-len(word), word))[: len(words) - needed + 1]

    def _same(self, left: frozenset[str], right: frozenset[str]) -> bool:
        """Tell whether the Jaccard similarity reaches the limit."""
        shared = len(left & right)
        return shared >= self.limit * (len(left) + len(right) - shared)


def usable(item: Description) -> bool:
    """Tell whether a package is more than a companion or a pointer to another package."""
    if not item.synopsis or not item.paragraphs or _SKIPPED_NAME.search(item.package):
        return False
    return not _POINTER.search(f"{item.synopsis} {item.paragraphs[0]}")


def make_rows(descriptions: Iterable[Description]) -> list[Row]:
    """Turn descriptions into rows, without duplicates and with few rows of one source."""
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
# Choosing and splitting the rows
# ---------------------------------------------------------------------------------------------


def stable_hash(purpose: str, name: str) -> int:
    """Return a 64-bit number that depends on nothing but the two strings."""
    digest = hashlib.sha256(f"{purpose}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def in_test(source: str) -> bool:
    """Tell whether a source package belongs to the test file."""
    return stable_hash("split", source) < TEST_SHARE * 2**64


def cap_sections(rows: Iterable[Row], cap: int) -> list[Row]:
    """Keep at most ``cap`` rows of each section, picked by hash; the result is shuffled so."""
    taken: Counter[str] = Counter()
    kept: list[Row] = []
    for row in sorted(rows, key=lambda r: (stable_hash("order", r.package), r.package)):
        if taken[row.label] < cap:
            taken[row.label] += 1
            kept.append(row)
    return kept


def split_rows(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Part the rows into train and test by source package."""
    train: list[Row] = []
    test: list[Row] = []
    for row in rows:
        (test if in_test(row.source) else train).append(row)
    return train, test


def build(
    packages: Path, translation: Path | None, sections: Sequence[str], cap: int
) -> tuple[list[Row], list[Row]]:
    """Read the indexes and return the rows of the train and the test file."""
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
            else f"{packages} has no long descriptions: give its Translation-en index"
        )
    train, test = split_rows(cap_sections(make_rows(descriptions), cap))
    if not train or not test:
        raise BuildError(f"{packages} has too few descriptions for a train and a test file")
    strays = {row.label for row in test} - {row.label for row in train}
    if strays:
        raise BuildError(f"no row for training in: {', '.join(sorted(strays))}")
    return train, test


# ---------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------


def to_csv(rows: Iterable[Row]) -> bytes:
    """Return the rows as CSV with a header line."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((row.package, row.label, row.text) for row in rows)
    return buffer.getvalue().encode("utf-8")


def write_atomically(files: Mapping[Path, bytes]) -> None:
    """Write all files under temporary names, then rename them: none is ever half there."""
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


def write_files(output: Path, train: Iterable[Row], test: Iterable[Row]) -> None:
    """Write train.csv and test.csv into a folder, which is made where there is none."""
    files = {output / "train.csv": to_csv(train), output / "test.csv": to_csv(test)}
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(files)
    except OSError as error:
        raise BuildError(f"cannot write to {output}: {error.strerror or error}") from error


def summary(train: Sequence[Row], test: Sequence[Row]) -> str:
    """Return the row counts by section, and what guessing the commonest section scores."""
    in_train = Counter(row.label for row in train)
    in_tests = Counter(row.label for row in test)
    lines = [f"{'section':<14}{'train':>7}{'test':>7}"]
    lines += [f"{label:<14}{in_train[label]:>7}{in_tests[label]:>7}" for label in sorted(in_train)]
    lines.append(f"{'all':<14}{len(train):>7}{len(test):>7}")
    guess = max(sorted(in_train), key=lambda label: in_train[label])
    lines.append(f"majority guess ({guess}) on test: {in_tests[guess] / len(test):.2%}")
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", type=Path, metavar="PACKAGES", help="a Packages index")
    parser.add_argument(
        "--translation", type=Path, metavar="TRANSLATION-EN", help="its long descriptions"
    )
    parser.add_argument("--output", type=Path, default=Path("data/sample"), help="output folder")
    parser.add_argument(
        "--sections", default=",".join(SECTIONS), help="sections, parted by commas (%(default)s)"
    )
    parser.add_argument(
        "--cap", type=int, default=SECTION_CAP, help="most rows of a section (%(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the data set and print its row counts; return the exit status."""
    options = parse_arguments(arguments)
    sections = [name.strip() for name in options.sections.split(",") if name.strip()]
    try:
        if not sections or options.cap < 1:
            raise BuildError("--sections needs a name, and --cap a number above 0")
        train, test = build(options.packages, options.translation, sections, options.cap)
        write_files(options.output, train, test)
    except BuildError as error:
        print(f"build_sample: {error}", file=sys.stderr)
        return 1
    print(summary(train, test))
    return 0


if __name__ == "__main__":
    sys.exit(main())
