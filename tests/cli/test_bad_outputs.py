"""Places that cannot be written to, and full disks: refused, with every file as it was."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import fasttext_app
from tests.helpers import HEADER, QUICK, contents, run_cli


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("good.csv", "good.csv: is a file; choose another folder"),
        ("good.csv/model", "good.csv/model: "),
        ("folder", "folder: is a folder with other files; choose another folder"),
        (".", ".: is a folder with other files; choose another folder"),
    ],
)
def test_a_model_does_not_replace_other_files(fails, workdir, output, message):
    (workdir / "folder").mkdir()
    (workdir / "folder" / "mine.txt").write_text("mine")
    assert fails("train", "--data", "good.csv", "--output", output).startswith(message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_refused(fails, workdir, model):
    (workdir / "locked").mkdir(mode=0o555)
    message = fails("train", "--data", "good.csv", "--output", "locked/new")
    assert message.endswith("locked is not a writable folder")
    assert "Permission denied" in fails("predict", model, "text", "--output", "locked/out.csv")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "."], ".: is a folder; name a file"),
        (["--output", "none/out.csv"], "none/out.csv: there is no folder none"),
        (["--output", "good.csv/out.csv"], "good.csv/out.csv: there is no folder good.csv"),
        (["--output", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
        (["--format", "parquet"], "--format parquet needs --output FILE"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(fails, model, arguments, message):
    assert fails("predict", model, "text", *arguments) == message


@contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.slow
def test_a_full_disk_keeps_the_earlier_model(workdir, model):
    """Whichever file is the first that does not fit."""
    (workdir / "words.csv").write_text(
        HEADER + "".join(f"word{n} text,{'xy'[n % 2]}\n" for n in range(300))
    )
    before, failed = contents(workdir), 0
    for size in (1, 500, 1500, 5000, 5_000_000):
        with limited_file_size(size):
            train = ("train", "--data", "words.csv", "--output", model, "--overwrite", *QUICK)
            result = run_cli(*train, code=None)
        if result.exit_code == 0:
            break
        failed += 1
        *progress, error = result.stderr.splitlines()
        assert error.startswith("error: model: the model could not be saved: ")
        assert "File too large" in error
        assert not any("error" in line for line in progress)
        assert result.stdout == ""
        assert contents(workdir) == before
        run_cli("predict", model, "text")
    assert failed >= 3
    assert fasttext_app.load(model).config.model.dim == 4


@pytest.mark.slow
def test_a_full_disk_keeps_the_earlier_predictions(workdir, model):
    (workdir / "texts.txt").write_text("some text\n" * 5_000)
    for form in ("text", "jsonl", "csv", "fasttext", "parquet"):
        (workdir / "out").write_text("earlier")
        before = contents(workdir)
        with limited_file_size(1000):
            result = run_cli("predict", model, "--input", "texts.txt", "--output", "out",
                             "--format", form, "--overwrite", code=1)  # fmt: skip
        assert result.stderr.startswith("error: out: cannot be written: ")
        assert "too large" in result.stderr.lower()
        assert contents(workdir) == before


@pytest.mark.slow
def test_no_command_replaces_a_file_or_a_model_unless_overwrite_is_given(fails, workdir, model):
    """One rule for every command that writes; an empty file holds no result."""
    bin_file = workdir / "made.bin"
    run_cli("train", "--config", "fasttext", "--data", "good.csv", "--output", "words", *QUICK)
    run_cli("export", "words", bin_file)
    data = ("--data", "good.csv")
    commands = [
        ("predict", model, "a text", "--output", "OUT.txt"),
        ("explain", model, "the team", "--output", "OUT.html"),
        ("evaluate", model, *data, "--reliability", "OUT.svg"),
        ("plot", model, "--output", "OUT.png"),
        ("export", "words", "OUT.bin"),
        ("export", model, "OUT.onnx"),
        ("import", bin_file, "--output", "OUT"),
        ("quantize", model, "--output", "OUT"),
        ("calibrate", model, *data, "--thresholds", "f1", "--no-temperature", "--output", "OUT"),
    ]
    for command in commands:
        place = workdir / next(str(word) for word in command[::-1] if str(word).startswith("OUT"))
        if place.suffix:
            place.touch()
        run_cli(*command)
        before = contents(workdir)
        what = "already exists" if place.suffix else "already has a model"
        assert f"{place.name}: {what}; pass --overwrite" in fails(*command)
        if place.suffix:
            place.write_text("earlier")
        run_cli(*command, "--overwrite")
        assert contents(workdir).keys() == before.keys()
        if place.suffix:
            assert place.read_bytes() != b"earlier"
        else:
            shutil.rmtree(place)
