"""The program in a process of its own: signals, pipes, full disks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import fasttext_app
from tests.helpers import HEADER, contents

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-m", "fasttext_app"]
# With PYTHONUNBUFFERED, Python silently drops what a closing pipe does not take of a write.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
FULL_DISK = "error: standard output: No space left on device\n"


def program(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        check=False,
        **{"capture_output": True, "text": True, "timeout": 120, "env": ENVIRONMENT} | options,
    )


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which ``{}`` stands for the program."""
    return subprocess.run(
        ["bash", "-c", line.format(" ".join(PROGRAM))],
        capture_output=True, text=True, check=False, timeout=120, env=ENVIRONMENT,
    )  # fmt: skip


def test_the_module_runs_as_a_program():
    done = program("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fasttext-app ")


def test_an_error_has_no_traceback(workdir, model):
    for arguments, message in (
        (("train", "--data", "none.csv"), "error: none.csv: no such file, folder or dataset\n"),
        (("predict", "model", b"caf\xe9".decode(errors="surrogateescape")),
         "error: text 1 of the command line is not UTF-8; pass it as UTF-8\n"),
        (("data", b"caf\xe9.csv".decode(errors="surrogateescape")), None),
    ):  # fmt: skip
        done = program(*arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in {None, done.stderr}


def test_stdout_that_cannot_encode_the_text_is_an_error(model):
    done = program("predict", model, "café", env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: standard output cannot encode '\\xe9' in ascii; "
        "set PYTHONIOENCODING=utf-8, or write to a file with --output\n"
    )


def test_stdout_that_is_full_or_closed_is_an_error(model):
    for redirection, message in (
        (">/dev/full", FULL_DISK),
        (">&-", "error: standard output is closed; name a file with --output\n"),
    ):
        done = shell(f"{{}} predict {model} text {redirection}")
        assert (done.returncode, done.stderr) == (1, message)
    done = shell(f"{{}} info {model} --json > /dev/full")
    assert (done.returncode, done.stderr) == (1, FULL_DISK)


def test_version_on_a_full_disk_is_an_error():
    # With PYTHONUNBUFFERED another layer of Python's files fails.
    for unbuffered in ("", "PYTHONUNBUFFERED=1 "):
        done = shell(f"{unbuffered}{{}} --version > /dev/full")
        assert (done.returncode, done.stderr) == (1, FULL_DISK)


def test_a_reader_that_exits_ends_the_program_quietly(workdir, model):
    (workdir / "texts.txt").write_text("some text of a line\n" * 20_000)
    for command in (
        f"predict {model} --input texts.txt",
        f"predict {model} --format jsonl < texts.txt",
        f"info {model}",
    ):
        done = shell(f"{{}} {command} | head -1; echo ${{{{PIPESTATUS[0]}}}}")
        assert done.stderr == ""
        first, status = done.stdout.splitlines()
        assert first
        assert status in ({"141"} if command.startswith("predict") else {"0", "1", "141"})


def _accept_interrupts() -> None:
    """Undo that a shell makes what it starts with ``&`` ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the program in the background until the end of the block."""
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=_accept_interrupts,  # noqa: PLW1509 - no thread of ours runs
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_interrupting_training_keeps_the_best_model_so_far(workdir):
    rows = "".join(f"{n % 97} {n % 89} words of a text,{'xyz'[n % 3]}\n" for n in range(3000))
    (workdir / "rows.csv").write_text(HEADER + rows)
    command = ("train", "--data", "rows.csv", "--output", "new", "--device", "cpu",
               "--epochs", "100000", "--set", "model.dim=8")  # fmt: skip
    with started(*command) as process:
        assert process.stderr is not None
        lines = []
        while not any(line.startswith("epoch 2/") for line in lines):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted; the best weights so far are kept"
    assert "Traceback" not in stderr
    assert stdout.startswith("saved the model of epoch ")
    assert sorted(path.name for path in workdir.iterdir()) == ["new", "rows.csv"]
    model = fasttext_app.load("new")
    assert model.artifact.history["interrupted"] is True
    assert model.artifact.history["best_epoch"] >= 1
    assert model.predict("words of a text").labels


@pytest.mark.parametrize("earlier", [False, True])
def test_interrupting_before_training_saves_nothing(workdir, tiny_model_dir, earlier):
    """The data is a pipe, so the program has started and cannot have trained yet."""
    if earlier:
        shutil.copytree(tiny_model_dir, workdir / "new")
    os.mkfifo(workdir / "pipe")
    with (
        started("train", "--data", "pipe", "--output", "new", "--overwrite") as process,
        (workdir / "pipe").open("w") as pipe,  # waits until the program opens it
    ):
        pipe.write("__label__x one\n")
        pipe.flush()
        time.sleep(0.5)  # until it waits for more
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    (workdir / "pipe").unlink()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "error: interrupted; nothing was saved\n"
    assert contents(workdir / "new") == (contents(tiny_model_dir) if earlier else {})
    assert sorted(p.name for p in workdir.iterdir()) == (["new"] if earlier else [])
