"""Runs that are killed, stopped and resumed, through the command line and the Python API."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import fasttext_app as ft
from fasttext_app.cli.app import make_app
from fasttext_app.errors import CheckpointError, ConfigError
from fasttext_app.training.checkpoints import Checkpoints, find_checkpoint
from fasttext_app.training.events import EpochEnd, StepEnd
from fasttext_app.training.history import load_history

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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(rows_of(400))
    return tmp_path


TRAIN = ["train", "--data", "rows.csv", "--device", "cpu", "--dim", "4", "--batch-size", "8"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(argument) for argument in arguments])


def weights(folder: str | Path) -> bytes:
    return (Path(folder) / WEIGHTS).read_bytes()


def uninterrupted(*more: str) -> bytes:
    done = invoke(*TRAIN, *more, "--output", "whole")
    assert done.exit_code == 0, done.output
    return weights("whole")


class Break(Exception):  # noqa: N818 - it is no error
    """What ends a run as a kill does: nothing is saved on the way out."""


def interrupt_run(output: str, steps: int, *more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the first checkpoint after so many steps, and break off."""
    save = Checkpoints.save

    def save_and_break(self, snapshot):
        save(self, snapshot)
        if snapshot.progress["steps"] >= steps:
            raise Break

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_break)
        done = invoke(*TRAIN, *more, "--output", output, "--checkpoint-every", "7")
    assert isinstance(done.exception, Break), done.output


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_file_and_no_checkpoints(place, monkeypatch):
    expected = uninterrupted()
    interrupt_run("run", 100, monkeypatch=monkeypatch)
    assert sorted(p.name for p in (place / "run").iterdir()) == ["checkpoints"]
    done = invoke("train", "--resume", "run")
    assert done.exit_code == 0, done.output
    assert "resuming from run/checkpoints/000000105" in done.stderr
    assert weights("run") == expected
    assert not (place / "run" / "checkpoints").exists()
    history = [json.loads((place / f / "history.json").read_text()) for f in ("whole", "run")]
    assert [len(each["epochs"]) for each in history] == [5, 5]


@pytest.mark.slow
def test_an_unfinished_run_can_be_plotted(place, monkeypatch):
    interrupt_run("run", 100, "--set", "trainer.monitor=f1:sport", monkeypatch=monkeypatch)
    done = invoke("plot", "run")
    assert done.exit_code == 0, done.output
    assert "accuracy" in done.stdout
    assert "monitored" in done.stdout
    assert [epoch.epoch for epoch in load_history("run").epochs] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--lr", "0.2"], "optimizer.lr is 0.2 and was 0.1"),
        (["--epochs", "9"], "trainer.epochs is 9 and was 5"),
        (["--set", "text.word_ngrams=2"], "text.word_ngrams is 2 and was 1"),
        (["--data", "other.csv"], "data.source is 'other.csv' and was 'rows.csv'"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(place, monkeypatch, arguments, told):
    (place / "other.csv").write_text(rows_of(400))
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    done = invoke("train", "--resume", "run", *arguments)
    assert done.exit_code == 1
    assert f"the run has other settings: {told}; leave them" in done.stderr
    assert invoke("train", "--resume", "run").exit_code == 0


@pytest.mark.slow
def test_settings_without_effect_on_the_result_may_change(place, monkeypatch):
    expected = uninterrupted()
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    arguments = ["--threads", "1", "--checkpoint-every", "epoch"]
    assert invoke("train", "--resume", "run", *arguments).exit_code == 0
    assert weights("run") == expected


@pytest.mark.slow
def test_resuming_on_changed_data_is_refused_and_keeps_the_checkpoints(place, monkeypatch):
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    (place / "rows.csv").write_text(rows_of(400, seed=1))
    done = invoke("train", "--resume", "run")
    assert done.exit_code == 1
    message = "rows.csv has changed since the run started (360 training rows then, 360 now)"
    assert message in done.stderr
    assert find_checkpoint("run").path.name == "000000021"


@pytest.mark.slow
def test_a_changed_package_version_is_reported(place, monkeypatch):
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    monkeypatch.setattr("numba.__version__", "99.0")
    done = invoke("train", "--resume", "run")
    assert done.exit_code == 0
    assert "the run started with numba" in done.stderr
    assert "now 99.0" in done.stderr


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(place, monkeypatch):
    expected = uninterrupted()
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    damaged = place / "run/checkpoints/000000021/state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    done = invoke("train", "--resume", "run")
    assert done.exit_code == 0
    assert "skipped a damaged checkpoint: run/checkpoints/000000021/state.safe" in done.stderr
    assert "resuming from run/checkpoints/000000014" in done.stderr
    assert weights("run") == expected


@pytest.mark.slow
def test_a_new_run_is_refused_in_the_folder_of_an_unfinished_one(place, monkeypatch):
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    for more in ([], ["--checkpoint-every", "5"]):
        done = invoke(*TRAIN, "--output", "run", *more)
        assert done.exit_code == 1
        assert "resume it with --resume run, or delete run/checkpoints" in done.stderr
    assert find_checkpoint("run").path.name == "000000021"


@pytest.mark.slow
def test_resuming_without_a_checkpoint_is_refused(place):
    uninterrupted()
    done = invoke("train", "--resume", "whole")
    assert (done.exit_code, "the run is finished" in done.stderr) == (1, True)
    done = invoke("train", "--resume", "nowhere")
    assert (done.exit_code, "is this the --output of a run" in done.stderr) == (1, True)
    done = invoke("train", "--resume", "whole", "--output", "elsewhere")
    assert done.exit_code == 2
    done = invoke("train", "--resume", "whole", "--from", "whole")
    assert done.exit_code == 2


@pytest.mark.slow
def test_an_earlier_model_stays_until_the_new_one_is_complete(place, monkeypatch):
    assert invoke(*TRAIN, "--output", "run", "--epochs", "1").exit_code == 0
    before = weights("run")
    interrupt_run("run", 20, monkeypatch=monkeypatch)
    assert weights("run") == before
    assert ft.load("run").predict("goal cup").labels == ("sport",)
    assert invoke("train", "--resume", "run").exit_code == 0
    assert weights("run") == uninterrupted()


@pytest.mark.slow
def test_a_model_that_could_not_be_saved_can_be_saved_by_resuming(place, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fasttext_app.model.directory._write_files", full)
        done = invoke(*TRAIN, "--output", "run", "--checkpoint-every", "epoch")
    assert done.exit_code == 1
    assert "run: the model could not be saved: No space left" in done.stderr
    done = invoke("train", "--resume", "run")
    assert done.exit_code == 0
    assert "epoch 5/5" not in done.stderr  # nothing is left to train
    assert weights("run") == uninterrupted()


@pytest.mark.slow
def test_a_read_only_folder_is_reported(place, monkeypatch):
    opened = os.open

    def denied(path, *arguments, **options):
        if str(path).endswith("lock"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    done = invoke(*TRAIN, "--output", "run", "--checkpoint-every", "epoch")
    assert done.exit_code == 1
    assert "run/checkpoints: cannot be written: Permission denied" in done.stderr


@pytest.mark.slow
def test_data_may_change_after_it_is_read(place, monkeypatch):
    expected = uninterrupted()
    begin = Checkpoints.__enter__

    def overwrite(self):
        (place / "rows.csv").write_text("text,label\nsomething else,x\n")
        return begin(self)

    monkeypatch.setattr(Checkpoints, "__enter__", overwrite)
    assert invoke(*TRAIN, "--output", "run", "--checkpoint-every", "epoch").exit_code == 0
    assert weights("run") == expected


# --------------------------------------------------------------------------- in real processes


def process(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fasttext_app", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip


def wait_for_a_checkpoint(folder: Path) -> None:
    for _ in range(1200):
        if any(folder.glob("checkpoints/[0-9]*")):
            return
        time.sleep(0.05)
    pytest.fail("no checkpoint came")


LONG = ("--epochs", "60")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_is_resumed_to_the_same_bytes(place, number):
    expected = uninterrupted(*LONG)
    run = process(*TRAIN, *LONG, "--output", "run", "--checkpoint-every", "50")
    wait_for_a_checkpoint(place / "run")
    run.send_signal(number)
    stdout, stderr = run.communicate(timeout=60)
    polite = number != signal.SIGKILL
    assert run.returncode == (128 + number if polite else -number), stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    if polite:
        last = "interrupted; resume with: fasttext-app train --resume run"
        assert stderr.splitlines()[-1] == last
    assert not (place / "run" / WEIGHTS).exists()
    done = invoke("train", "--resume", "run")
    assert done.exit_code == 0, done.output
    assert weights("run") == expected


@pytest.mark.slow
def test_sigterm_without_checkpoints_saves_the_best_weights_so_far(place):
    run = process(*TRAIN, "--epochs", "100000", "--output", "run")
    assert run.stderr is not None
    while not run.stderr.readline().startswith("epoch 2/"):
        assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    stdout, stderr = run.communicate(timeout=60)
    assert run.returncode == 143
    assert stderr.splitlines()[-1] == "interrupted; the best weights so far are kept"
    assert stdout.startswith("saved the model of epoch ")
    assert ft.load("run").artifact.history["interrupted"]


@pytest.mark.slow
def test_sigterm_before_training_leaves_nothing_behind(place):
    os.mkfifo(place / "pipe")
    (place / "tmp").mkdir()
    command = [sys.executable, "-m", "fasttext_app", "train", "--data", "pipe", "--output", "new"]
    environment = os.environ | {"TMPDIR": str(place / "tmp")}
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    with (place / "pipe").open("w") as pipe:
        pipe.write("__label__x one\n")
        pipe.flush()
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        _, stderr = run.communicate(timeout=60)
    assert (run.returncode, stderr) == (143, "error: terminated; nothing was saved\n")
    assert list((place / "tmp").iterdir()) == []
    assert not (place / "new").exists()


@pytest.mark.slow
def test_a_running_process_locks_its_folder_of_checkpoints(place):
    long = process(*TRAIN, "--epochs", "100000", "--output", "run", "--checkpoint-every", "5")
    wait_for_a_checkpoint(place / "run")
    for arguments in ([*TRAIN, "--output", "run"], ["train", "--resume", "run"]):
        done = invoke(*arguments)
        assert done.exit_code == 1
        told = "another run writes its checkpoints there", "an unfinished run"
        assert any(part in done.stderr for part in told), done.stderr
    assert long.poll() is None
    long.kill()
    long.communicate()


@pytest.mark.slow
def test_two_runs_in_one_folder_leave_one_complete_model(place):
    runs = [process(*TRAIN, "--seed", seed, "--output", "run") for seed in (1, 2)]
    for run in runs:
        _, stderr = run.communicate(timeout=120)
        assert run.returncode == 0, stderr
    expected = []
    for seed in (1, 2):
        assert invoke(*TRAIN, "--seed", seed, "--output", f"alone{seed}").exit_code == 0
        expected.append(weights(f"alone{seed}"))
    assert weights("run") in expected
    assert sorted(p.name for p in place.iterdir()) == ["alone1", "alone2", "rows.csv", "run"]


# ------------------------------------------------------------------------------------- in Python


@pytest.mark.slow
def test_a_run_is_resumed_in_python(place):
    settings = {"validation": 0.1, "dim": 4, "batch_size": 8, "epochs": 4}

    def break_off(event):
        if isinstance(event, EpochEnd) and event.record.epoch == 2:
            raise Break

    whole = ft.train("rows.csv", **settings)
    with pytest.raises(Break):
        ft.train("rows.csv", **settings, checkpoints="run", callback=break_off)
    with pytest.raises(CheckpointError, match="epochs is 9 and was 4"):
        ft.train(checkpoints="run", resume=True, epochs=9)
    seen = []
    again = ft.train(checkpoints="run", resume=True, callback=seen.append)
    assert again.artifact.tensors["table"].tobytes() == whole.artifact.tensors["table"].tobytes()
    assert {event.epoch for event in seen if isinstance(event, StepEnd)} == {2, 3, 4}
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
    assert find_checkpoint("run").run["data"]["train_rows"] == 360


@pytest.mark.slow
def test_the_manifest_of_the_run_is_saved_with_the_model(place):
    uninterrupted("--seed", "7")
    run = json.loads((place / "whole" / "run.json").read_text())
    assert run["seed"] == 7
    assert run["config"]["optimizer"]["lr"] == 0.1
    assert run["versions"]["python"] == sys.version.split()[0]
    assert {"torch", "numpy", "pyarrow", "numba", "fasttext_app"} < run["versions"].keys()
    assert run["data"]["train_rows"] == 360
    fingerprint = run["data"]["fingerprint"]
    (place / "rows.csv").write_text((place / "rows.csv").read_text().replace("goal", "gaol", 1))
    uninterrupted("--seed", "7")
    again = json.loads((place / "whole" / "run.json").read_text())
    assert again["data"]["fingerprint"] != fingerprint
    assert again["git"] is None


@pytest.mark.slow
def test_the_manifest_has_the_git_revision(place):
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "rows.csv"], check=True)
    subprocess.run([*git, "commit", "-qm", "rows"], check=True)
    command = [*git, "rev-parse", "HEAD"]
    head = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    uninterrupted()
    assert json.loads((place / "whole" / "run.json").read_text())["git"] == head
    (place / "rows.csv").write_text(rows_of(300))
    uninterrupted()
    assert json.loads((place / "whole" / "run.json").read_text())["git"] == f"{head}-dirty"


@pytest.mark.slow
def test_a_diverged_loss_names_the_rows_and_the_last_good_checkpoint(place):
    options = ["--set", "optimizer.name=sgd", "--lr", "1e30", "--checkpoint-every", "1"]
    done = invoke(*TRAIN, *options, "--output", "run")
    assert done.exit_code == 1
    told = done.stderr.replace("\n", " ")
    assert "the loss is not finite at epoch 1, step " in told
    assert "; the last checkpoint before it is run/checkpoints/0000000" in told
    assert "; the step had rows " in told
    assert told.rstrip().endswith("of rows.csv")
