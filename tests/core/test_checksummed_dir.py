"""Directories that are written whole, by one run at a time."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from contextlib import ExitStack

import pytest

from fasttext_app.core import checksummed_dir
from fasttext_app.core.checksummed_dir import _exchange, replaced_dir, sole_run
from fasttext_app.errors import ArtifactError


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    target = tmp_path / "models" / "out"
    with sole_run(target):
        with (
            pytest.raises(ArtifactError, match="another run is writing there; wait for it"),
            sole_run(target),
        ):
            pass
        with sole_run(tmp_path / "models" / "other"):
            pass
    with sole_run(target):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_run_holds_nobody(tmp_path):
    child = os.fork()
    if not child:
        with sole_run(tmp_path / "out"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    with sole_run(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_saving_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with sole_run(tmp_path / "file" / "out"):
        pass


def test_a_failed_write_leaves_no_folder(tmp_path):
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(ValueError, match="wrong"))
        (stack.enter_context(replaced_dir(tmp_path / "a" / "b" / "out")) / "x").write_text("x")
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []


def replace_and_kill(target, last):
    """Replace a directory, and kill this process after a number of steps that Python audits."""
    steps = itertools.count()

    def count(event, arguments):
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    with replaced_dir(target, {"model"}) as partial:
        (partial / "model").write_text("new")
        sys.addaudithook(count)


def test_a_kill_at_any_step_leaves_a_complete_version(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    if not _exchange(first, second):
        pytest.skip("the file system cannot exchange two paths")
    for last in range(1000):
        target = tmp_path / f"{last}" / "out"
        target.mkdir(parents=True)
        (target / "model").write_text("old")
        (target / "note.txt").write_text("of the user")
        child = os.fork()
        if not child:
            replace_and_kill(target, last)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert (target / "model").read_text() in ("old", "new")
        assert (target / "note.txt").read_text() == "of the user"
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert last > 10
    assert (target / "model").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_the_next_version_removes_what_killed_processes_left(tmp_path, monkeypatch):
    """Also where each process has the same number, as the first one of a container has."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    others = tmp_path / ".out.1.txt.0a.partial", tmp_path / ".outer.0a.partial"
    for folder in (*others, tmp_path / ".out.0a.replaced"):
        folder.mkdir()
    for _ in range(2):
        child = os.fork()
        if not child:
            with replaced_dir(tmp_path / "out"):
                signal.raise_signal(signal.SIGKILL)
        os.waitpid(child, 0)
    assert len([*tmp_path.iterdir()]) == 5
    with replaced_dir(tmp_path / "out") as first, replaced_dir(tmp_path / "out") as second:
        (first / "model").write_text("first")
        (second / "model").write_text("second")
    assert (tmp_path / "out" / "model").read_text() == "first"
    assert {*tmp_path.iterdir()} == {*others, tmp_path / "out"}


def test_where_paths_cannot_be_exchanged_a_directory_is_replaced_in_two_steps(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checksummed_dir, "_exchange", lambda first, second: False)
    target = tmp_path / "out"
    for text in ("old", "new"):
        with replaced_dir(target) as partial:
            (partial / "model").write_text(text)
        assert (target / "model").read_text() == text
    assert list(tmp_path.iterdir()) == [target]
