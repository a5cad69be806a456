"""Runs that are killed, stopped and resumed, through the command line and the Python API."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fasttext_app as ft
from fasttext_app.cli.render.progress import TrainProgress
from fasttext_app.errors import CheckpointError, ConfigError
from fasttext_app.model import directory
from fasttext_app.training.checkpoints import Checkpoints, find_checkpoint
from fasttext_app.training.events import EpochEnd, StepEnd
from fasttext_app.training.history import load_history
from tests.helpers import contents, run_cli

pytestmark = pytest.mark.slow  # most train, or share two runs that take half a second

WEIGHTS = "model.safetensors"
WORDS = ["goal", "match", "team", "cup", "bank", "profit", "market", "shares"]


def rows_of(number: int, seed: int = 0) -> str:
    """Return CSV rows: words of the first half go with sport, of the second with money."""
    generator, lines = random.Random(seed), []
    for row in range(number):
        half = WORDS[:4] if row % 2 else WORDS[4:]
        words = " ".join([*generator.choices(half, k=4), f"w{generator.randrange(50)}"])
        lines.append(f"{words},{'sport' if row % 2 else 'money'}\n")
    return "text,label\n" + "".join(lines)


TRAIN = ["train", "--data", "rows.csv", "--device", "cpu", "--dim", "4", "--batch-size", "8"]
TRAIN += ["--epochs", "3"]  # of 23 steps each


def weights(folder: str | Path) -> bytes:
    return (Path(folder) / WEIGHTS).read_bytes()


class Break(Exception):  # noqa: N818 - it is no error
    """Ends a run as a kill does: nothing is saved on the way out."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``rows.csv`` in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no power fails here
    (tmp_path / "rows.csv").write_text(rows_of(200))
    return tmp_path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model of a run, ``whole``, and of one broken off at step 21, ``run``."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("rows.csv").write_text(rows_of(200))
        run_cli(*TRAIN, "--output", "whole")
        interrupt_run("run", 20)
    return folder


@pytest.fixture
def expected(runs: Path) -> bytes:
    """The weights of a run that was not interrupted."""
    return weights(runs / "whole")


@pytest.fixture
def interrupted(place: Path, runs: Path) -> Path:
    """A run in the working directory that was broken off after its checkpoint at step 21."""
    return Path(shutil.copytree(runs / "run", place / "run"))


def interrupt_run(output: str, steps: int, *more: str) -> None:
    """Train until the first checkpoint after so many steps, and break off."""
    save = Checkpoints.save

    def save_and_break(self, snapshot):
        save(self, snapshot)
        if snapshot.progress["steps"] >= steps:
            raise Break

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_break)
        done = run_cli(*TRAIN, *more, "--output", output, "--checkpoint-every", "7", code=None)
    assert isinstance(done.exception, Break), done.output


def test_a_resumed_run_ends_with_the_same_file_and_no_checkpoints(place, runs, expected):
    interrupt_run("run", 50)
    assert sorted(p.name for p in (place / "run").iterdir()) == ["checkpoints"]
    done = run_cli("train", "--resume", "run")
    assert "resuming from run/checkpoints/000000056" in done.stderr
    assert weights("run") == expected
    assert not (place / "run" / "checkpoints").exists()
    history = [json.loads((f / "history.json").read_text()) for f in (runs / "whole", Path("run"))]
    assert [len(each["epochs"]) for each in history] == [3, 3]


def test_a_run_that_a_launcher_starts_again_resumes_with_the_model_it_started_from(
    place, runs, monkeypatch
):
    start = ("--from", str(runs / "whole"))
    run_cli(*TRAIN, *start, "--output", "further")
    interrupt_run("run", 50, *start)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    done = run_cli(*TRAIN, *start, "--output", "run", "--checkpoint-every", "7")
    assert "resuming from run/checkpoints/000000056" in done.stderr
    assert weights("run") == weights("further")


def test_an_unfinished_run_can_be_plotted(place):
    interrupt_run("run", 50, "--set", "trainer.monitor=f1:sport")
    done = run_cli("plot", "run")
    assert "accuracy" in done.stdout
    assert "monitored" in done.stdout
    assert [epoch.epoch for epoch in load_history("run").epochs] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--lr", "0.2"], "optimizer.lr is 0.2 and was 0.15"),
        (["--epochs", "9"], "trainer.epochs is 9 and was 3"),
        (["--set", "text.word_ngrams=1"], "text.word_ngrams is 1 and was 2"),
        (["--data", "other.csv"], "data.source is 'other.csv' and was 'rows.csv'"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(place, interrupted, arguments, told):
    (place / "other.csv").write_text(rows_of(200))
    before = contents(interrupted)
    done = run_cli("train", "--resume", "run", *arguments, code=1)
    assert f"the run has other settings: {told}; leave them" in done.stderr
    assert contents(interrupted) == before  # so the run can still be resumed


def test_settings_without_effect_on_the_result_may_change(interrupted, expected):
    run_cli("train", "--resume", "run", "--threads", "1", "--checkpoint-every", "epoch")
    assert weights("run") == expected


def test_resuming_on_changed_data_is_refused_and_keeps_the_checkpoints(place, interrupted):
    (place / "rows.csv").write_text(rows_of(200, seed=1))
    done = run_cli("train", "--resume", "run", code=1)
    message = "rows.csv has changed since the run started (180 training rows then, 180 now)"
    assert message in done.stderr
    assert find_checkpoint("run").path.name == "000000021"


def test_a_changed_package_version_is_reported(interrupted, monkeypatch):
    monkeypatch.setattr("numba.__version__", "99.0")
    done = run_cli("train", "--resume", "run")
    assert "the run started with numba" in done.stderr
    assert "now 99.0" in done.stderr


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(interrupted, expected):
    damaged = interrupted / "checkpoints/000000021/state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    done = run_cli("train", "--resume", "run")
    assert "skipped a damaged checkpoint: run/checkpoints/000000021/state.safe" in done.stderr
    assert "resuming from run/checkpoints/000000014" in done.stderr
    assert weights("run") == expected


def test_a_new_run_is_refused_in_the_folder_of_an_unfinished_one(interrupted):
    for more in ([], ["--checkpoint-every", "5"]):
        done = run_cli(*TRAIN, "--output", "run", *more, code=1)
        assert "resume it with --resume run, or delete run/checkpoints" in done.stderr
    assert find_checkpoint("run").path.name == "000000021"


def test_resuming_without_a_checkpoint_is_refused(place, runs):
    shutil.copytree(runs / "whole", place / "whole")
    done = run_cli("train", "--resume", "whole", code=1)
    assert "the run is finished" in done.stderr
    done = run_cli("train", "--resume", "nowhere", code=1)
    assert "is this the --output of a run" in done.stderr
    run_cli("train", "--resume", "whole", "--output", "elsewhere", code=2)
    run_cli("train", "--resume", "whole", "--from", "whole", code=2)


def test_an_earlier_model_stays_until_the_new_one_is_complete(place, expected):
    run_cli(*TRAIN[:-2], "--output", "run", "--epochs", "2")
    before = weights("run")
    interrupt_run("run", 20, "--overwrite")
    assert weights("run") == before
    assert ft.load("run").predict("goal cup").labels == ("sport",)
    run_cli("train", "--resume", "run")
    assert weights("run") == expected != before


def test_a_model_that_could_not_be_saved_can_be_saved_by_resuming(place, expected, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fasttext_app.model.directory._write_files", full)
        done = run_cli(*TRAIN, "--output", "run", "--checkpoint-every", "epoch", code=1)
    assert "run: the model could not be saved: No space left" in done.stderr
    done = run_cli("train", "--resume", "run")
    assert "epoch 3/3" not in done.stderr  # nothing is left to train
    assert weights("run") == expected


def test_a_read_only_folder_is_reported(place, monkeypatch):
    opened = os.open

    def denied(path, *arguments, **options):
        if str(path).endswith("lock"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    done = run_cli(*TRAIN, "--output", "run", "--checkpoint-every", "epoch", code=1)
    assert "run/checkpoints: cannot be written: Permission denied" in done.stderr


def test_data_may_change_after_it_is_read(place, expected, monkeypatch):
    begin = Checkpoints.__enter__

    def overwrite(self):
        (place / "rows.csv").write_text("text,label\nsomething else,x\n")
        return begin(self)

    monkeypatch.setattr(Checkpoints, "__enter__", overwrite)
    run_cli(*TRAIN, "--output", "run", "--checkpoint-every", "epoch")
    assert weights("run") == expected


def test_a_second_run_into_a_folder_is_refused_and_the_first_one_is_complete(
    place, expected, monkeypatch
):
    """The second run begins while the first one saves its model."""
    written = directory._write_files

    def write_and_try(artifact, folder):
        written(artifact, folder)
        with monkeypatch.context() as patch:
            patch.setattr(directory, "_write_files", written)
            done = run_cli(*TRAIN, "--seed", "1", "--output", "run", code=1)
        assert "run: another run is writing there; wait for it" in done.stderr

    monkeypatch.setattr(directory, "_write_files", write_and_try)
    run_cli(*TRAIN, "--output", "run")
    assert weights("run") == expected
    assert ft.load("run").predict("goal cup").labels == ("sport",)
    assert sorted(p.name for p in place.iterdir()) == ["rows.csv", "run"]


# -------------------------------------------------------------------------------------- signals


def send(number: signal.Signals) -> None:
    """Send a signal to this process; its default action would end the tests."""
    assert signal.getsignal(number) != signal.SIG_DFL
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("second", [None, signal.SIGTERM])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_is_resumed_to_the_same_bytes(
    place, expected, monkeypatch, first, second
):
    """The first signal ends the run after its step, a second one immediately."""
    save = Checkpoints.save

    def save_and_interrupt(self, snapshot):
        save(self, snapshot)
        if snapshot.progress["steps"] == 35:
            send(first)
            if second is not None:
                send(second)
                pytest.fail("the run went on")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_interrupt)
        arguments = (*TRAIN, "--output", "run", "--checkpoint-every", "7")
        done = run_cli(*arguments, code=128 + first)
    assert done.stdout == ""
    assert isinstance(done.exception, SystemExit)
    last = "interrupted; resume with: fasttext-app train --resume run"
    assert done.stderr.splitlines()[-1] == last
    assert not (place / "run" / WEIGHTS).exists()
    done = run_cli("train", "--resume", "run")
    assert "resuming from run/checkpoints/0000000" in done.stderr
    assert weights("run") == expected


def test_sigterm_without_checkpoints_saves_the_best_weights_so_far(place, monkeypatch):
    show = TrainProgress.__call__

    def show_and_interrupt(self, event):
        show(self, event)
        if isinstance(event, EpochEnd) and event.record.epoch == 2:
            send(signal.SIGTERM)

    monkeypatch.setattr(TrainProgress, "__call__", show_and_interrupt)
    done = run_cli(*TRAIN[:-2], "--epochs", "100000", "--output", "run", code=143)
    assert done.stderr.splitlines()[-1] == "interrupted; the best weights so far are kept"
    assert done.stdout.startswith("saved the model of epoch ")
    assert ft.load("run").artifact.history["interrupted"]


SAVE_SLOWLY = """
import os, sys, time
from fasttext_app.cli.app import main
rename = os.rename
def slow(source, target):
    if os.path.basename(target) == "000000035":
        print("saving", flush=True)
        time.sleep(60)
    rename(source, target)
os.rename = slow
main()
"""


def test_a_run_locks_its_checkpoints_and_after_a_kill_it_is_resumed_to_the_same_bytes(
    place, expected
):
    command = [sys.executable, "-c", SAVE_SLOWLY, *TRAIN, "--output", "run"]
    command += ["--checkpoint-every", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == b"saving\n"
            done = run_cli(*TRAIN, "--output", "run", code=1)
            assert "an unfinished run" in done.stderr
            done = run_cli("train", "--resume", "run", code=1)
            assert "another run is writing there" in done.stderr
            assert run.poll() is None
        finally:
            run.kill()
    assert [p.suffix for p in (place / "run/checkpoints").glob(".*")] == [".partial"]
    assert not (place / "run" / WEIGHTS).exists()
    done = run_cli("train", "--resume", "run")
    assert "resuming from run/checkpoints/000000028" in done.stderr
    assert weights("run") == expected


def test_sigterm_before_training_leaves_nothing_behind(place):
    os.mkfifo(place / "pipe")
    (place / "tmp").mkdir()
    command = [sys.executable, "-m", "fasttext_app", "train", "--data", "pipe", "--output", "new"]
    environment = os.environ | {"TMPDIR": str(place / "tmp")}
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    with (place / "pipe").open("w"):  # waits until the run reads from it
        run.send_signal(signal.SIGTERM)
        _, stderr = run.communicate(timeout=60)
    assert (run.returncode, stderr) == (143, "error: terminated; nothing was saved\n")
    assert list((place / "tmp").iterdir()) == []
    assert not (place / "new").exists()


# ------------------------------------------------------------------------------------- in Python


@pytest.mark.parametrize("extra", [{"refit": False}, {"refit": True, "ensemble": 2}])
def test_a_run_is_resumed_in_python(place, extra):
    settings = {"validation": 0.1, "dim": 4, "batch_size": 8, "epochs": 3, **extra}

    def break_off(event):
        if isinstance(event, EpochEnd) and event.record.epoch == 2:
            raise Break

    whole = ft.train("rows.csv", **settings)
    with pytest.raises(Break):
        ft.train("rows.csv", **settings, checkpoints="run", callback=break_off)
    with pytest.raises(CheckpointError, match="epochs is 9 and was 3"):
        ft.train(checkpoints="run", resume=True, epochs=9)
    seen = []
    again = ft.train(checkpoints="run", resume=True, callback=seen.append)
    assert again.artifact.tensors["table"].tobytes() == whole.artifact.tensors["table"].tobytes()
    steps = [event.epoch for event in seen if isinstance(event, StepEnd)]
    assert (set(steps) == {2, 3}) is not bool(extra["refit"])  # a refit starts from epoch 1
    assert not (place / "run" / "checkpoints").exists()
    with pytest.raises(ConfigError, match="resume: name the folder"):
        ft.train("rows.csv", resume=True)
    with pytest.raises(ConfigError, match="checkpoint_every is set, but there is no folder"):
        ft.train("rows.csv", checkpoint_every="5")


def test_ctrl_c_in_python_leaves_the_checkpoints(place):
    def press(event):
        if isinstance(event, EpochEnd):
            raise KeyboardInterrupt

    settings = {"dim": 4, "batch_size": 8, "checkpoint_every": "20"}
    with pytest.raises(KeyboardInterrupt):
        ft.train("rows.csv", **settings, checkpoints="run", callback=press)
    assert find_checkpoint("run").run["data"]["train_rows"] == 180


def test_the_manifest_of_the_run_is_saved_with_the_model(place, runs):
    run = json.loads((runs / "whole" / "run.json").read_text())
    assert run["seed"] == ft.load(runs / "whole").config.trainer.seed
    assert run["config"]["optimizer"]["lr"] == ft.load(runs / "whole").config.optimizer.lr
    assert run["versions"]["python"] == sys.version.split()[0]
    assert {"torch", "numpy", "pyarrow", "numba", "fasttext_app"} < run["versions"].keys()
    assert run["data"]["train_rows"] == 180
    assert run["git"] is None
    (place / "rows.csv").write_text(rows_of(200).replace("goal", "gaol", 1))
    run_cli(*TRAIN[:-2], "--epochs", "1", "--seed", "7", "--output", "other")
    other = json.loads((place / "other" / "run.json").read_text())
    assert other["seed"] == 7
    assert other["data"]["fingerprint"] != run["data"]["fingerprint"]


def test_the_manifest_has_the_git_revision(place):
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "rows.csv"], check=True)
    subprocess.run([*git, "commit", "-qm", "rows"], check=True)
    command = [*git, "rev-parse", "HEAD"]
    head = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    for rows, revision in ((200, head), (100, f"{head}-dirty")):
        (place / "rows.csv").write_text(rows_of(rows))
        run_cli(*TRAIN[:-2], "--epochs", "1", "--output", "model", "--overwrite")
        assert json.loads((place / "model" / "run.json").read_text())["git"] == revision


def test_a_diverged_loss_names_the_rows_and_the_last_good_checkpoint(place):
    options = ["--set", "optimizer.name=sgd", "--lr", "1e30", "--checkpoint-every", "1"]
    done = run_cli(*TRAIN, *options, "--output", "run", code=1)
    told = done.stderr.replace("\n", " ")
    assert "the loss is not finite at epoch 1, step " in told
    assert "; the last checkpoint before it is run/checkpoints/0000000" in told
    assert "; the step had rows " in told
    assert told.rstrip().endswith("of rows.csv")
