"""`scripts/build_langid.py` and `scripts/build_packages.py`, on made-up pages and packages."""

from __future__ import annotations

import csv
import doctest
import gzip
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers import ROOT

SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))
try:
    langid, packages = import_module("build_langid"), import_module("build_packages")
finally:
    sys.path.remove(str(SCRIPTS))

SYLLABLES = {"xa": ("ba", "lo", "mi", "ta", "ru", "ne"), "xb": ("шу", "ке", "до", "пи", "ва", "жи")}


def _word(language: str, number: int) -> str:
    syllables = SYLLABLES[language]
    return "".join(syllables[number // 6**digit % 6] for digit in range(4))


def _page(language: str, page: int, sentences: int = 6) -> str:
    """Return the roff source of a page of made-up sentences."""
    starts = range(0, sentences * 7, 7)
    texts = [
        " ".join(_word(language, page * 97 + start + n) for n in range(7)).capitalize() + "."
        for start in starts
    ]
    return ".TH X 1\n.SH NAME\n.TP\n.B \\-x\n" + "\n.PP\n".join(texts) + "\n"


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two packages of 30 pages each."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    folder = tmp_path_factory.mktemp("debs")
    for language in SYLLABLES:
        root = folder / language
        man = root / "usr" / "share" / "man" / language / "man1"
        man.mkdir(parents=True)
        for page in range(30):
            source = _page(language, page).encode()
            (man / f"tool{page}.1.gz").write_bytes(gzip.compress(source, mtime=0))
        control = root / "DEBIAN" / "control"
        control.parent.mkdir()
        fields = {"Package": f"manpages-{language}", "Version": "1", "Architecture": "all"}
        fields |= {"Maintainer": "A <a@example.org>", "Description": "pages"}
        control.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
        command = ["dpkg-deb", "--build", str(root), str(folder / f"{language}.deb")]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("script", [langid, packages], ids=["langid", "packages"])
def test_examples_in_docstrings(script):
    assert doctest.testmod(script).failed == 0


def test_no_page_is_in_both_files_and_the_bytes_are_the_same(debs, tmp_path):
    results = set()
    for name in ("one", "two"):
        options = ["--debs", str(debs), "--output", str(tmp_path / name), "--min", "10"]
        assert langid.main(options) == 0
        results.add(
            b"".join((tmp_path / name / f"{s}.csv").read_bytes() for s in ("train", "test"))
        )
    assert len(results) == 1
    train, test = (_read(tmp_path / "one" / f"{name}.csv") for name in ("train", "test"))
    assert list(train[0]) == ["text", "label", "length", "page"]
    assert {row["label"] for row in train} == {row["label"] for row in test} == {"xa", "xb"}
    assert {row["length"] for row in test} == {"sentence", "snippet"}
    families = [{row["page"].rpartition("/")[2] for row in rows} for rows in (train, test)]
    assert not families[0] & families[1]
    texts = [row["text"] for row in train + test]
    assert len(texts) == len(set(texts))
    assert all(len(row["text"].split()) == 3 for row in train if row["length"] == "snippet")


def test_rows_are_capped(debs, tmp_path):
    options = ["--debs", str(debs), "--output", str(tmp_path), "--cap", "20", "--min", "1"]
    assert langid.main(options) == 0
    rows = _read(tmp_path / "train.csv") + _read(tmp_path / "test.csv")
    assert len(rows) == 2 * 2 * 20


def test_markup_examples_and_untranslated_sentences_are_dropped():
    source = (
        ".SH DESCRIPTION\n"
        "Das Programm \\fBls\\fP zeigt alle Dateien\n.I in\neinem Ordner an.\n"
        '.\\" Ein Kommentar zum Quelltext steht hier drin.\n'
        ".nf\nDieses Beispiel ist kein Satz aus Text.\n.fi\n"
        ".PP\nThe program shows the files of a folder.\n"
        ".PP\nSetzen Sie A=1 und B=2 in der Datei.\n"
    )
    assert list(langid.sentences(source, "de")) == [
        "Das Programm ls zeigt alle Dateien in einem Ordner an."
    ]
    assert list(langid.sentences(".Dd May 1\n" + source, "de")) == []


def test_languages_without_spaces_are_cut_by_character():
    assert list(langid.sentences("このコマンドは指定された\nファイルを表示します。", "ja")) == [
        "このコマンドは指定されたファイルを表示します。"
    ]
    assert len(langid.snippet("このコマンドは指定されたファイルを表示します。", "ja")) == 6


def test_a_language_of_another_script_takes_no_ascii_words():
    assert langid.snippet("Команда ls cat показывает все файлы.", "ru") == "показывает все файлы"
    assert not langid.is_sentence("Options are ls cat diff sort uniq.", "ru")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has no .deb files"), (b"not a package", "dpkg-deb -x failed")],
)
def test_a_bad_folder_is_one_error_line(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "bad.deb").write_bytes(content)
    options = ["--debs", str(tmp_path), "--output", str(tmp_path / "out")]
    assert langid.main(options) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("build_langid: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", [langid, packages], ids=["langid", "packages"])
def test_without_apt_there_is_one_error_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script.main(["--output", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "cannot run apt-cache: No such file or directory" in captured.err
    assert captured.err.count("\n") == 1


def _index(path: Path, count: int) -> Path:
    stanzas = []
    for number in range(count):
        word = _word("xa", number * 5)
        stanzas += [
            f"Package: lib{word}-dev\nSource: {word}\nSection: libdevel\n"
            f"Description: headers {word}\n",
            f"Package: {word}\nSection: games\nDescription: plays games of {word}\n",
        ]
    path.write_text(
        "\n".join([*stanzas, "Package: odd\nSection: odd\nDescription: a lonely class\n"])
    )
    return path


def test_packages_are_labeled_by_section_and_kind(tmp_path, capsys):
    index = _index(tmp_path / "Packages", 60)
    options = ["--packages", str(index), "--output", str(tmp_path / "out"), "--min", "10"]
    assert packages.main(options) == 0
    assert "libdevel/development" in capsys.readouterr().out
    train, test = (_read(tmp_path / "out" / f"{name}.csv") for name in ("train", "test"))
    labels = {"libdevel/development", "games/program"}
    assert {row["label"] for row in train} == {row["label"] for row in test} == labels
    sources = [
        {row["package"].removeprefix("lib").removesuffix("-dev") for row in rows}
        for rows in (train, test)
    ]
    assert not sources[0] & sources[1]


def test_too_few_rows_are_one_error_line(tmp_path, capsys):
    index = _index(tmp_path / "Packages", 3)
    assert packages.main(["--packages", str(index), "--output", str(tmp_path / "out")]) == 1
    assert "fewer than two classes have 20 training rows" in capsys.readouterr().err
