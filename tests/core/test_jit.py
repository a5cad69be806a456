"""The switch from plain Python to compiled code."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from fasttext_app.core import jit


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(jit, "_enabled", False)
    monkeypatch.setattr(jit, "_plain_bytes", 0)


def test_a_process_starts_in_plain_python():
    assert not jit.enabled()


def test_enough_text_switches_to_compiled_code_for_good():
    assert not jit.enabled(jit.PLAIN_BYTES - 1)
    assert jit.enabled(1)
    assert jit.enabled()


def test_compiled_code_can_be_enabled():
    jit.enable()
    assert jit.enabled()


@pytest.mark.slow
def test_importing_kernels_does_not_enable_compiled_code():
    code = (
        "import json\n"
        "from fasttext_app.core import jit\n"
        "import fasttext_app.inference.kernels, fasttext_app.text.kernels\n"
        "print(json.dumps(jit.enabled()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) is False


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """No cached decision; a module folder, and a home and temporary folder of its own."""
    jit.cache_folder.cache_clear()
    jit.private_folder.cache_clear()
    for name in ("package", "home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    yield tmp_path
    jit.cache_folder.cache_clear()
    jit.private_folder.cache_clear()


def close(folder):
    """Let a folder be writable by anybody, which makes it unsafe, also to root."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)


def test_what_an_installer_compiled_is_read_where_it_cannot_be_written(folders, monkeypatch):
    package = folders / "package"
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    assert jit.cache_folder(package, "") is None
    (package / "__pycache__" / "kernel.nbi").touch()
    jit.cache_folder.cache_clear()
    assert jit.cache_folder(package, "") == ""
    close(package / "__pycache__")
    jit.cache_folder.cache_clear()
    assert jit.cache_folder(package, "") is None


def test_the_cache_is_where_nobody_else_can_write(folders):
    package, home = folders / "package", folders / "home"

    def chosen(configured=""):
        jit.cache_folder.cache_clear()
        return jit.cache_folder(package, configured)

    assert chosen() == ""
    assert chosen(str(folders / "mine")) == str(folders / "mine")
    close(folders / "shared")
    assert chosen(str(folders / "shared")) == ""
    assert chosen(str(folders / "shared" / "inner")) == ""
    (folders / "shared").chmod(0o1777)  # as /tmp
    assert chosen(str(folders / "shared" / "inner")) == str(folders / "shared" / "inner")
    close(package / "__pycache__")
    assert chosen() == str(home / "numba")
    close(home / "numba")
    private = folders / "tmp" / f"fasttext_app-{os.getuid()}"
    assert chosen() == str(private)
    assert private.stat().st_mode & 0o777 == 0o700
    assert str(private) in jit._where() or jit._where() == jit.PER_MACHINE
    private.chmod(0o750)
    jit.private_folder.cache_clear()
    assert chosen() is None


def test_a_private_folder_is_no_link(folders):
    (folders / "tmp" / f"fasttext_app-{os.getuid()}").symlink_to(folders / "home")
    assert jit.private_folder() is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_used(folders):
    other = 12345
    theirs = folders / "package" / "__pycache__"
    theirs.mkdir()
    os.chown(theirs, other, other)
    assert jit.cache_folder(folders / "package", "") == str(folders / "home" / "numba")
    os.chown(folders / "package", other, other)  # then the code is theirs too
    jit.cache_folder.cache_clear()
    assert jit.cache_folder(folders / "package", "") == ""
    (folders / "tmp" / f"fasttext_app-{os.getuid()}").mkdir(mode=0o700)
    os.chown(folders / "tmp" / f"fasttext_app-{os.getuid()}", other, other)
    assert jit.private_folder() is None


class Payload:
    """Code of a stranger, as a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.slow
def test_no_cache_of_a_stranger_is_read_and_a_damaged_one_is_made_again(tmp_path):
    cache, ran = tmp_path / "cache", tmp_path / "ran"
    (tmp_path / "kernels.py").write_text(
        "from fasttext_app.core import jit\n"
        "jit.on_compile = lambda where: print('compiles', where)\n"
        "@jit.compiled\ndef add(a, b):\n    return a + b\n"
        "print(add(1, 2))\n"
    )

    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
        command = [sys.executable, "kernels.py"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("3\n")
        return done.stdout.startswith("compiles")

    assert [run(), run()] == [True, False]
    (index,) = cache.rglob("*.nbi")
    index.write_bytes(b"damaged")
    assert [run(), run()] == [True, False]
    index.write_bytes(pickle.dumps(Payload(ran)))
    cache.chmod(0o777)
    run()
    assert not ran.exists()
    cache.chmod(0o755)
    run()
    assert ran.exists()  # so this was a payload
