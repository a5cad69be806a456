"""Files that appear under their names only when they are complete."""

from __future__ import annotations

import os
import signal

import pytest

from fasttext_app.core.atomic_file import atomic_file, atomic_files
from fasttext_app.errors import DataError


def write(path, text):
    with atomic_file(path, DataError) as partial:
        partial.write_text(text)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with atomic_file(path, DataError) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert names(tmp_path) == [".out.csv.0.partial", "out.csv"]
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out.csv"]


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path):
    write(tmp_path / "a", "old")
    with (
        pytest.raises(ZeroDivisionError),
        atomic_file(tmp_path / "a", DataError) as partial,
    ):
        partial.write_text(str(1 / 0))
    with (
        pytest.raises(DataError, match=r"a: cannot be written: No such file"),
        atomic_files([tmp_path / "a", tmp_path / "b"], DataError) as (first, _),
    ):
        first.unlink()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_the_next_write_takes_over_what_a_killed_process_left(tmp_path):
    path = tmp_path / "out.csv"
    for _ in range(2):
        child = os.fork()
        if not child:
            with atomic_file(path, DataError) as partial:
                partial.write_text("a longer text")
                signal.raise_signal(signal.SIGKILL)
        os.waitpid(child, 0)
        assert names(tmp_path) == [".out.csv.0.partial"]
    write(path, "short")
    assert path.read_text() == "short"
    assert names(tmp_path) == ["out.csv"]


def test_blocks_that_write_at_once_have_files_of_their_own(tmp_path):
    path = tmp_path / "out.csv"
    with atomic_file(path, DataError) as first, atomic_file(path, DataError) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["out.csv"]


def test_links_and_files_of_others_are_not_written(tmp_path):
    """A name that is easy to guess may have been taken in a folder that others write to."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".a.0.partial").symlink_to(victim)
    (tmp_path / ".a.1.partial").hardlink_to(victim)
    (tmp_path / ".a.2.partial").mkdir()
    write(tmp_path / "a", "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "a").read_text() == "new"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".a.0.partial").write_text("left, or in use")
    write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == [".a.0.partial", "a"]
