"""Build a data set for language identification: sentences of Debian's translated manual pages.

    python scripts/build_langid.py --output DIR [--debs DIR] [--cap ROWS]

Downloads the packages ``manpages`` and ``manpages-XX`` with apt-get, or reads them from the folder
``--debs``. The output is ``train.csv`` and ``test.csv`` with the columns text, label, length and
page: ``length`` is ``sentence`` or ``snippet`` (three words), and ``page`` names the page to
credit. The split is by the name of the page without its language, so no page has rows in both
files, in any language. The same packages give byte-identical output.
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from build_sample import (
    BuildError,
    SeenTexts,
    in_test,
    keep_frequent,
    squeeze,
    stable_hash,
    summary,
    to_csv,
    write_files,
)

CAP = 1200
"""The maximum number of rows per language and length."""

MIN_TRAIN = 100
"""The minimum number of training rows per language; a language with fewer is left out."""

SENTENCE_WORDS = range(5, 41)
"""The number of words of a sentence."""

UNSPACED_CHARACTERS = range(15, 121)
"""The number of characters of a Chinese or Japanese sentence, which has no spaces."""

SNIPPET_WORDS = 3
UNSPACED_SNIPPET = 6
"""The number of characters of a Chinese or Japanese snippet, about three words."""

LETTER_SHARE = 0.8
"""The minimum fraction of letters among the characters that are not spaces."""

NEAR_DUPLICATE = 0.7
"""The Jaccard similarity of their words at which two sentences count as duplicates."""

SEED = "0"
SKIPPED_LANGUAGES = frozenset({"zh_TW"})
"""Converted from another translation by a program, character by character."""

UNSPACED = frozenset({"ja", "zh"})
OTHER_SCRIPT = frozenset({"el", "ja", "mk", "ru", "sr", "uk", "zh"})
"""The languages that are not written in the Latin script."""

HEADER = ("text", "label", "length", "page")

_SKIPPED_BLOCKS = {"nf": "fi", "EX": "EE", "TS": "TE", "de": ".", "ig": ".", "EQ": "EN", "PS": "PE"}
_SPACED_FONTS = frozenset({"B", "I", "SM", "SB"})
_JOINED_FONTS = frozenset({"BR", "RB", "BI", "IB", "IR", "RI"})
_IGNORED = frozenset({"ad", "hy", "na", "nh", "ft", "PD", "IX", "ne", "ll", "in", "ta"})
_CHARACTERS = {
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "\u2018", "cq": "\u2019",
    "em": "—", "en": "\u2013",
    "hy": "-", "bu": "•", "co": "©", "ha": "^", "ti": "~", "rs": "\\", "Fo": "«", "Fc": "»",
    "ss": "ß", "ae": "æ", "AE": "Æ", "/o": "ø", "/O": "Ø", "oa": "å", "oA": "Å",
}  # fmt: skip
_ACCENTS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", ":": "\u0308", ",": "\u0327",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:[f*n](?:\[[^\]]*\]|\(..|.)"  # fonts, strings, registers
    r"|s[-+]?\d"
    r"|\[(?P<long>[^\]]*)\]"
    r"|\((?P<short>..)"
    r'|"(?P<comment>.*)'
    r"|(?P<plain>.))"
)
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_a-z])|(?<=[。\uff01\uff1f])")
_FINISHED = re.compile(r"[.!?。\uff01\uff1f]$")
_TECHNICAL = re.compile(r"[@_=<>{}\[\]\\|#$%*+^~©•]|/|://|--")
_SPACE_BETWEEN_IDEOGRAPHS = re.compile(
    r"(?<=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]) (?=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef])"
)
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+")
_ENGLISH = re.compile(r"\b(the|and|which|with|this|that|from|when)\b", re.IGNORECASE)
"""Words that show that a sentence of a translated page was left in English."""


class Row(NamedTuple):
    """One row of the data set."""

    text: str
    label: str
    length: str
    page: str

    @property
    def family(self) -> str:
        """Return the name of the page without language and section, which decides its split."""
        return self.page.rpartition("/")[2].rpartition(".")[0].casefold()


# ---------------------------------------------------------------------------------------------
# Getting the pages
# ---------------------------------------------------------------------------------------------


def run(command: Sequence[str], folder: Path) -> str:
    """Run a program in a folder and return its output."""
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(
            f"cannot run {command[0]}: {error.strerror}; use a Debian system"
        ) from error
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise BuildError(f"{' '.join(command[:2])} failed: {lines[-1]}")
    return result.stdout


def download_packages(folder: Path) -> None:
    """Download ``manpages`` and every ``manpages-XX`` into a folder."""
    listing = run(["apt-cache", "search", "^manpages-"], folder)
    names = sorted(line.split()[0] for line in listing.splitlines() if line.strip())
    if not names:
        raise BuildError("apt knows no manpages packages; run apt-get update")
    run(["apt-get", "download", "manpages", *names], folder)


def unpack(debs: Path, folder: Path) -> None:
    """Unpack all packages of a folder into one tree."""
    packages = sorted(debs.glob("*.deb"))
    if not packages:
        raise BuildError(f"{debs} has no .deb files")
    for package in packages:
        run(["dpkg-deb", "-x", str(package.resolve()), str(folder)], folder)


def language_of(path: Path) -> str:
    """Return the language of a page from its path below ``man``; pages without one are English.

    >>> language_of(Path("man1/ls.1.gz")), language_of(Path("pt_BR/man1/ls.1.gz"))
    ('en', 'pt')
    """
    code = path.parts[0] if len(path.parts) > 2 else "en"
    return code if code in SKIPPED_LANGUAGES else re.split(r"[_.@]", code)[0]


def read_pages(man: Path) -> Iterator[tuple[str, str, str]]:
    """Yield language, name and roff source of each page below ``man``, in a fixed order.

    Links to other pages, and pages that are not UTF-8, are left out.
    """
    for path in sorted(man.rglob("man*/*.gz")):
        language = language_of(path.relative_to(man))
        if path.is_symlink() or not path.is_file() or language in SKIPPED_LANGUAGES:
            continue
        try:
            source = gzip.decompress(path.read_bytes()).decode("utf-8")
        except UnicodeDecodeError:
            continue
        except (OSError, EOFError) as error:
            raise BuildError(f"{path.name} is damaged: {error}") from error
        yield language, path.name.removesuffix(".gz"), source


# ---------------------------------------------------------------------------------------------
# From roff to sentences
# ---------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    r"""Replace the escapes of roff by the characters that they stand for.

    >>> plain(r"\fB\-a\fP does \(lqit\(rq, caf\['e]")
    '-a does “it”, café'
    """
    return unicodedata.normalize("NFC", _ESCAPE.sub(_character, text))


def _character(match: re.Match[str]) -> str:
    name = match["long"] or match["short"]
    if name is None:
        one = match["plain"] or ""
        return {"-": "-", "e": "\\", "~": " ", " ": " ", "0": " ", "'": "'", "`": "`"}.get(one, "")
    if re.fullmatch(r"u[0-9A-F]{4,6}", name):
        return chr(min(int(name[1:], 16), 0x10FFFF))
    if len(name) == 2 and name[0] in _ACCENTS and name[1].isalpha():
        return name[1] + _ACCENTS[name[0]]
    return _CHARACTERS.get(name, "")


def paragraphs(source: str) -> Iterator[str]:
    r"""Yield the paragraphs of running text of a page, without headings, tags and examples.

    >>> list(paragraphs('.SH NAME\n.TP\n.B \\-a\nShow\n.BR all (1)\nfiles.\n.PP\nMore.'))
    ['Show all(1) files.', 'More.']
    """
    lines: list[str] = []
    block_end = ""
    is_tag = False
    for line in source.splitlines():
        macro, _, rest = (
            line[1:].strip().partition(" ") if line[:1] in (".", "'") else ("", "", line)
        )
        if block_end:
            block_end = "" if macro == block_end else block_end
        elif macro.startswith('\\"') or macro in _IGNORED:
            continue
        elif macro in ("", *_SPACED_FONTS, *_JOINED_FONTS):
            words = [part.replace('""', '"') or word for part, word in _ARGUMENT.findall(rest)]
            joined = ("" if macro in _JOINED_FONTS else " ").join(words)
            text = rest if not macro else joined
            if not is_tag and text.strip():
                lines.append(plain(text))
            elif text.strip():
                is_tag = False
        else:
            if lines:
                yield squeeze(" ".join(lines))
            lines, is_tag = [], macro in ("TP", "TQ")
            block_end = _SKIPPED_BLOCKS.get(macro, "")
    if lines:
        yield squeeze(" ".join(lines))


def sentences(source: str, language: str) -> Iterator[str]:
    """Yield the sentences of a page that are plainly text in its language."""
    if re.search(r"^\.(Dd|so) ", source, re.MULTILINE):  # mdoc, or a reference to another page
        return
    for paragraph in paragraphs(source):
        text = _SPACE_BETWEEN_IDEOGRAPHS.sub("", paragraph) if language in UNSPACED else paragraph
        for part in _SENTENCE_END.split(text):
            sentence = part.strip()
            if is_sentence(sentence, language):
                yield sentence


def is_sentence(text: str, language: str) -> bool:
    """Return whether a text is a whole sentence in a language, neither markup nor English."""
    if not _FINISHED.search(text) or not text[0].isalpha() or _TECHNICAL.search(text):
        return False
    size = len(text) if language in UNSPACED else len(text.split())
    if size not in (UNSPACED_CHARACTERS if language in UNSPACED else SENTENCE_WORDS):
        return False
    letters = [character for character in text if character.isalpha()]
    visible = sum(not character.isspace() for character in text)
    if len(letters) < LETTER_SHARE * visible:
        return False
    if language in OTHER_SCRIPT and sum(letter.isascii() for letter in letters) > len(letters) / 4:
        return False
    return language == "en" or not _ENGLISH.search(text)


def snippet(sentence: str, language: str) -> str:
    """Return three neighboring words of a sentence, or an empty string if none are plain words.

    Chinese and Japanese have no spaces between words: six neighboring characters are taken.
    """
    if language in UNSPACED:
        runs = [text for text in _IDEOGRAPHS.findall(sentence) if len(text) >= UNSPACED_SNIPPET]
        choices = [text[:UNSPACED_SNIPPET] for text in runs]
    else:
        words = sentence.rstrip(".!?").split()
        starts = range(len(words) - SNIPPET_WORDS + 1)
        groups = [words[start : start + SNIPPET_WORDS] for start in starts]
        choices = [" ".join(g) for g in groups if all(_is_plain_word(word, language) for word in g)]
    return choices[stable_hash(f"snippet {SEED}", sentence) % len(choices)] if choices else ""


def _is_plain_word(word: str, language: str) -> bool:
    """Return whether a word is letters only, no acronym, and in the script of the language."""
    in_script = language not in OTHER_SCRIPT or not word.isascii()
    return word.isalpha() and (word[1:].islower() or len(word) == 1) and in_script


# ---------------------------------------------------------------------------------------------
# Selecting the rows
# ---------------------------------------------------------------------------------------------


def make_rows(pages: Iterable[tuple[str, str, str]], cap: int) -> list[Row]:
    """Return at most ``cap`` sentences and ``cap`` snippets of each language.

    Sentences are taken in the order of a hash, and only if no earlier one of the language is
    similar. Every second one is cut to a snippet, so a sentence is in one row only.
    """
    candidates: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for language, name, source in pages:
        for sentence in sentences(source, language):
            candidates[language].setdefault(sentence, f"{language}/{name}")
    shared = Counter(text for page_of in candidates.values() for text in page_of)
    rows: list[Row] = []
    for language, page_of in sorted(candidates.items()):
        seen, counts = SeenTexts(NEAR_DUPLICATE), Counter[str]()
        snippets: set[str] = set()
        for sentence in sorted(
            page_of, key=lambda text: (stable_hash(f"order {SEED}", text), text)
        ):
            if min(counts["sentence"], counts["snippet"]) >= cap:
                break
            if shared[sentence] > 1 or not seen.add_new(sentence):
                continue
            page = page_of[sentence]
            short = snippet(sentence, language)
            if counts["snippet"] < counts["sentence"] and short and short not in snippets:
                snippets.add(short)
                counts["snippet"] += 1
                rows.append(Row(short, language, "snippet", page))
            elif counts["sentence"] < cap:
                counts["sentence"] += 1
                rows.append(Row(sentence, language, "sentence", page))
    return sorted(rows, key=lambda row: (stable_hash(f"shuffle {SEED}", "/".join(row)), row))


def build(debs: Path | None, cap: int, minimum: int) -> tuple[list[Row], list[Row]]:
    """Get and unpack the packages; return the rows of the train and of the test file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree, downloads = folder / "tree", folder / "debs"
        tree.mkdir()
        downloads.mkdir()
        if debs is None:
            download_packages(downloads)
        unpack(debs or downloads, tree)
        rows = make_rows(read_pages(tree / "usr" / "share" / "man"), cap)
    train = [row for row in rows if not in_test(row.family)]
    test = [row for row in rows if in_test(row.family)]
    return keep_frequent(train, test, minimum, "languages")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--debs", type=Path, help="folder with the .deb files (default: download them)"
    )
    parser.add_argument(
        "--cap",
        type=int,
        default=CAP,
        help="maximum rows per language and length (default: %(default)s)",
    )
    parser.add_argument(
        "--min",
        type=int,
        default=MIN_TRAIN,
        help="minimum training rows per language (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the data set and print its row counts; return the exit status."""
    options = parse_arguments(arguments)
    try:
        if options.cap < 1 or options.min < 1:
            raise BuildError("--cap and --min need a number above 0")
        train, test = build(options.debs, options.cap, options.min)
        write_files(options.output, to_csv(train, HEADER), to_csv(test, HEADER))
    except BuildError as error:
        print(f"build_langid: {error}", file=sys.stderr)
        return 1
    print(summary(train, test, "language"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
