"""`scripts/build_sample.py`, and the data set that it built for this project."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import lzma
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers import ROOT

SAMPLE = ROOT / "data" / "sample"


def _load_script() -> ModuleType:
    """Import the script, which is not part of a package."""
    path = ROOT / "scripts" / "build_sample.py"
    spec = importlib.util.spec_from_file_location("build_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


build_sample = _load_script()

PACKAGES = """\
Package: chess-game
Source: chess (1.2-3)
Version: 1.2-3+b1
Tag: game::board,
 use::gameplaying
Description: board game for two players
Description-md5: aaa
Section: games

Package: mailer
Description: reads electronic mail
Description-md5: bbb
Section: contrib/mail

Package: unrelated
Description: a library
Description-md5: ccc
Section: libs
"""

TRANSLATION = """\
Package: chess-game
Description-md5: aaa
Description-en: board game for two players
 Moves pieces over
 a checkered   board:
  * with castling
 .
 This package contains the program.

Package: mailer
Description-md5: bbb
Description-en: reads electronic mail
 Fetches messages from a remote mailbox.
"""


def _words(seed: str, count: int = 20) -> str:
    """Return made-up words that are unique to the seed."""
    letters = str.maketrans("0123456789", "ghijklmnop")
    digests = (hashlib.sha256(f"{seed} {n}".encode()).hexdigest() for n in range(count))
    return " ".join(digest.translate(letters)[:8] for digest in digests)


def _stanza(package: str, section: str, source: str = "", body: str = "") -> str:
    """Return a stanza that includes its long description."""
    lines = [f"Package: {package}", f"Section: {section}"]
    lines += [f"Source: {source}"] if source else []
    lines += [f"Description: about {package}", f" {body or _words(package)}", ""]
    return "\n".join(lines)


def _index(path: Path, stanzas: Iterable[str]) -> Path:
    path.write_text("\n".join(stanzas), encoding="utf-8")
    return path


def _many() -> list[str]:
    """Return the stanzas of 40 sources with two binary packages each."""
    return [
        _stanza(f"{section}-{kind}{number}", section, source=f"src-{section}{number} (1.0)")
        for section in ("games", "mail")
        for number in range(20)
        for kind in ("one", "two")
    ]


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _build(packages: Path, output: Path, *options: str) -> int:
    status = build_sample.main([str(packages), "--output", str(output), *options])
    assert isinstance(status, int)
    return status


def test_stanzas_keep_continuation_lines() -> None:
    first, second, third = build_sample.parse_stanzas(PACKAGES)
    assert first["package"] == "chess-game"
    assert first["tag"] == "game::board,\n use::gameplaying"
    assert first["section"] == "games"
    assert (second["package"], third["package"]) == ("mailer", "unrelated")


def test_long_descriptions_are_merged_by_checksum() -> None:
    translations = build_sample.long_descriptions(build_sample.parse_stanzas(TRANSLATION))
    chess, mailer = build_sample.read_descriptions(
        build_sample.parse_stanzas(PACKAGES), translations, ("games", "mail")
    )
    assert (chess.source, chess.section) == ("chess", "games")
    assert chess.paragraphs == (
        "Moves pieces over a checkered board: * with castling",
        "This package contains the program.",
    )
    assert build_sample.make_text(chess) == (
        "board game for two players Moves pieces over a checkered board: * with castling"
    )
    assert (mailer.source, mailer.section) == ("mailer", "mail")


def test_text_is_cut_between_words() -> None:
    assert build_sample.shorten("one two three", 13) == "one two three"
    assert build_sample.shorten("one two three", 12) == "one two"
    assert build_sample.shorten("one two three", 7) == "one two"


def test_control_characters_and_white_space_become_one_space() -> None:
    assert build_sample.squeeze(" a\x00b\t\n c\u00a0d ") == "a b c d"


def test_duplicates_are_dropped(tmp_path: Path) -> None:
    body = _words("shared", 30)
    copies = [
        _stanza("copy", "games", body=body),
        _stanza("copy-2", "games", body=f"{body.upper()}, 2!"),
        _stanza("copy-more", "games", body=f"{body} and a little more"),
        _stanza("other", "games"),
    ]
    index = _index(tmp_path / "Packages", copies)
    stanzas = build_sample.read_stanzas(index)
    rows = build_sample.make_rows(build_sample.read_descriptions(stanzas, {}, ("games",)))
    assert [row.package for row in rows] == ["copy", "other"]


def test_one_source_gives_few_rows_with_its_namesake_first(tmp_path: Path) -> None:
    names = ["suite-a", "suite-b", "suite-c", "suite", "suite-dev"]
    index = _index(tmp_path / "Packages", [_stanza(n, "games", source="suite") for n in names])
    stanzas = build_sample.read_stanzas(index)
    rows = build_sample.make_rows(build_sample.read_descriptions(stanzas, {}, ("games",)))
    assert [row.package for row in rows] == ["suite", "suite-a", "suite-b"]


def test_near_duplicates_are_found_exactly() -> None:
    texts = [_words(f"pool {n % 7}", 12 + n % 5) + " " + _words(str(n), n % 9) for n in range(60)]
    seen = build_sample.SeenTexts(0.5)
    added: list[frozenset[str]] = []
    for text in texts:
        words = build_sample.words_of(text)
        is_new = all(len(words & earlier) < 0.5 * len(words | earlier) for earlier in added)
        assert seen.add_new(text) is is_new
        if is_new:
            added.append(words)
    assert 7 <= len(added) < len(texts)


def test_no_source_is_in_both_files(tmp_path: Path) -> None:
    index = _index(tmp_path / "Packages", _many())
    assert _build(index, tmp_path / "out") == 0
    train, test = (
        {re.sub("one|two", "", row["package"]) for row in _read(tmp_path / "out" / name)}
        for name in ("train.csv", "test.csv")
    )
    assert train
    assert test
    assert not train & test
    assert len(train | test) == 40


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    plain = _index(tmp_path / "Packages", _many())
    reversed_ = _index(tmp_path / "Reversed", reversed(_many()))
    zipped, packed = tmp_path / "Packages.gz", tmp_path / "Packages.xz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    results = set()
    for number, index in enumerate((plain, plain, reversed_, zipped, packed)):
        output = tmp_path / str(number)
        assert _build(index, output) == 0
        assert sorted(path.name for path in output.iterdir()) == ["test.csv", "train.csv"]
        results.add((output / "train.csv").read_bytes() + (output / "test.csv").read_bytes())
    assert len(results) == 1
    assert results.pop().startswith(b"package,label,text\n")


@pytest.mark.skipif(shutil.which("lz4") is None, reason="needs the lz4 command")
def test_lz4_is_read(tmp_path: Path) -> None:
    plain = _index(tmp_path / "Packages", _many())
    packed = tmp_path / "Packages.lz4"
    subprocess.run(["lz4", "-q", str(plain), str(packed)], check=True)
    assert build_sample.read_index(packed) == plain.read_text(encoding="utf-8")
    packed.write_bytes(packed.read_bytes()[:50])
    with pytest.raises(build_sample.BuildError, match="is damaged"):
        build_sample.read_index(packed)


def test_rows_are_shuffled_and_capped(tmp_path: Path) -> None:
    index = _index(tmp_path / "Packages", _many())
    assert _build(index, tmp_path, "--cap", "30", "--sections", "games, mail") == 0
    labels = [row["label"] for row in _read(tmp_path / "train.csv")]
    assert labels != sorted(labels)
    labels += [row["label"] for row in _read(tmp_path / "test.csv")]
    assert Counter(labels) == {"games": 30, "mail": 30}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(PACKAGES.encode(), mtime=0)[:40], "is damaged"),
        (b"\x89PNG\xff\xfe", "is damaged"),
        (b"just words\n", "line 1 is neither"),
        (b" indented: text\n", "line 1 continues"),
        (b"Package: a\nSection: libs\n", "has no package of the sections"),
        (PACKAGES.encode(), "has no long descriptions"),
        (_stanza("only", "games").encode(), "too few descriptions"),
    ],
)
def test_odd_index_is_one_error_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    index = tmp_path / "Packages"
    index.write_bytes(content)
    assert _build(index, tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("build_sample: ")
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not (tmp_path / "out").exists()


def test_missing_file_and_bad_translation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _build(tmp_path / "absent", tmp_path / "out") == 1
    assert "cannot read" in capsys.readouterr().err
    index = _index(tmp_path / "Packages", [PACKAGES])
    strange = TRANSLATION.replace("aaa", "xxx").replace("bbb", "yyy")
    other = _index(tmp_path / "Translation-en", [strange])
    assert _build(index, tmp_path / "out", "--translation", str(other)) == 1
    assert "describes no package of" in capsys.readouterr().err
    assert _build(index, tmp_path / "out", "--translation", str(index)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_output_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = _index(tmp_path / "Packages", _many())
    assert _build(index, index) == 1
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_files_are_valid() -> None:
    files = {name: SAMPLE / f"{name}.csv" for name in ("train", "test")}
    assert sum(path.stat().st_size for path in files.values()) < 2_000_000
    rows = {name: _read(path) for name, path in files.items()}
    for path in files.values():
        data = path.read_bytes()
        assert data.startswith(b"package,label,text\n")
        assert b"\0" not in data
        assert b"\r" not in data
    for row in rows["train"] + rows["test"]:
        assert list(row) == ["package", "label", "text"]
        assert all(value and value == " ".join(value.split()) for value in row.values())
        assert len(row["text"]) <= build_sample.TEXT_CAP
    packages = [row["package"] for row in rows["train"] + rows["test"]]
    assert len(packages) == len(set(packages))
    texts = [build_sample.words_of(row["text"]) for row in rows["train"] + rows["test"]]
    assert len(texts) == len(set(texts))
    labels = {name: {row["label"] for row in some} for name, some in rows.items()}
    assert labels["test"] <= labels["train"] == set(build_sample.SECTIONS)
    assert 0.15 < len(rows["test"]) / len(packages) < 0.25


def test_the_readme_has_the_row_counts_of_the_files() -> None:
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    train, test = (
        Counter(row["label"] for row in _read(SAMPLE / f"{name}.csv")) for name in ("train", "test")
    )
    for label in sorted(train):
        assert f"| {label} | {train[label]} | {test[label]} |" in readme
    assert f"| **all** | **{train.total()}** | **{test.total()}** |" in readme
