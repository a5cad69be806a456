"""Directories that are written whole, by one run at a time."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from fasttext_app.core.checksummed_dir import replaced_dir, sole_run
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
