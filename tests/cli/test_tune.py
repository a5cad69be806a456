"""``fasttext-app tune``: its files, its display, wrong arguments, signals."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttext_app.cli.render import tune as tune_display
from fasttext_app.config.loading import resolve
from fasttext_app.tuning.trial import TrialBegin
from tests.helpers import run_cli

QUICK = ["--threads", "1", "--device", "cpu", "--set", "model.dim=6", "--set", "text.bucket=5000",
         "--set", "text.maxn=0"]  # fmt: skip
SPACE = '[space]\n"optimizer.lr" = {low = 0.001, high = 1.0, log = true}\n"model.dim" = [4, 6, 8]\n'

Run = Callable[..., Result]


@pytest.fixture
def run(workdir: Path) -> Run:
    """Run a command beside ``space.toml``, and check its exit code."""
    (workdir / "space.toml").write_text(SPACE)
    return run_cli


@pytest.fixture
def tuned(run: Run, labeled_file: Path) -> Run:
    """Search over the invented rows, with the output in the folder ``found``."""
    common = ["tune", "--data", labeled_file, *QUICK]
    files = {"--output": "found", "--space": "space.toml"}

    def tune(*arguments, code=0, plot=False, splits=1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fasttext_app.tuning.search.MAX_SPLITS", splits)
            if not plot:
                patch.setattr("fasttext_app.cli.render.plots.draw_search", lambda *given: None)
            defaults = [word for pair in files.items() if pair[0] not in arguments for word in pair]
            return run(*common, *defaults, *arguments, code=code)

    return tune


def read(name: str) -> str:
    return Path("found", name).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "precision@recall:0.5", "loss"])
def test_the_best_settings_train_to_the_same_score(tuned, run, metric):
    result = json.loads(tuned("--trials", 3, "--metric", metric, "--json").stdout)
    trained = json.loads(run("train", "--config", "found/best.toml", "--json").stdout)
    key = "validation_score" if "@" in metric else f"validation_{metric}"
    assert trained["metrics"][key] == result["figure"] == result["best"]["figure"]
    assert trained["best_epoch"] == result["best"]["epoch"]


@pytest.mark.slow
def test_a_search_writes_settings_trials_a_plot_and_the_study(tuned):
    shown = tuned("--trials", 3, plot=True)
    files = {path.name for path in Path("found").iterdir()}
    assert files == {"best.toml", "final.toml", "trials.csv", "search.png", "study.jsonl"}
    document = tomllib.loads(read("best.toml"))
    assert set(document) == {"data", "text", "model", "optimizer", "trainer"}
    assert read("best.toml").startswith("# Found by fasttext-app tune ")
    rows = list(csv.DictReader(read("trials.csv").splitlines()))
    assert [row["number"] for row in rows] == ["0", "1", "2"]
    assert {row["state"] for row in rows} == {"finished"}
    assert set(rows[0]) >= {"optimizer.lr", "model.dim", "bytes", "seconds"}
    for part in ("The best trials, by accuracy on validation rows", "(the base)", "best so far:"):
        assert part in shown.stdout
    assert "next: fasttext-app train --config found/final.toml" in shown.stdout
    lines = shown.stderr.splitlines()
    assert [line.split()[:2] for line in lines] == [["trial", str(n)] for n in range(3)]
    assert lines[0].endswith("(the base)  (best)")


@pytest.mark.slow
def test_the_same_command_continues_the_search(tuned):
    tuned("--trials", 1)
    before = read("study.jsonl")
    shown = tuned("--trials", 3)
    assert [line.split()[1] for line in shown.stderr.splitlines()] == ["1", "2"]
    assert read("study.jsonl").startswith(before)
    assert tuned("--trials", 3).stderr == ""


@pytest.mark.slow
def test_another_search_in_the_same_folder_is_refused(tuned):
    tuned("--trials", 1)
    result = tuned("--trials", 2, "--metric", "macro_f1", code=1)
    assert "trainer.monitor was accuracy and is macro_f1" in result.stderr
    assert result.stderr.startswith("error: found/study.jsonl: ")
    other = ("--trials", 2, "--metric", "macro_f1", "--study", "other.jsonl")
    assert "found/best.toml: already exists; pass --overwrite" in tuned(*other, code=1).stderr
    tuned(*other, "--overwrite")
    tuned(*other)  # continues


@pytest.mark.slow
def test_train_trains_the_best_settings_on_all_rows(tuned, run):
    result = json.loads(tuned("--trials", 3, "--train", "--json").stdout)
    info = json.loads(run("info", "found/model", "--json").stdout)
    assert resolve(info["config"]) == resolve(tomllib.loads(read("final.toml")))
    assert (info["data"]["train_rows"], info["data"]["refit_rows"]) == (600, 600)
    assert info["metrics"]["validation_accuracy"] == pytest.approx(result["figure"], abs=0.05)
    best, final = (tomllib.loads(read(name)) for name in ("best.toml", "final.toml"))
    assert (best["trainer"].pop("refit"), final["trainer"].pop("refit")) == (False, True)
    assert final == best


@pytest.mark.slow
def test_models_above_the_size_limit_are_skipped_and_counted(tuned):
    options = ["--set", "text.word_ngrams=1", "--set", "model.fold=false"]
    shown = tuned("--trials", 8, "--max-size", "26kB", *options)
    rows = list(csv.DictReader(read("trials.csv").splitlines()))
    too_large = [row for row in rows if row["state"] == "too large"]
    assert too_large
    assert min(int(row["bytes"]) for row in too_large) > 26_000
    assert f"{len(too_large)} too large" in shown.stdout
    assert re.search(r"too large: \d\d kB", shown.stderr)
    refused = tuned("--trials", 2, "--max-size", "1kB", "--study", "s", "--overwrite", code=1)
    assert "none of the 2 models is within 1,000 bytes" in refused.stderr


@pytest.mark.slow
def test_a_config_without_validation_rows_gets_some(tuned):
    shown = tuned("--trials", 1, "--set", "data.validation=0.0", "--metric", "macro_f1")
    assert "data.validation is 0; the search holds out validation rows (auto)" in shown.stderr
    assert tomllib.loads(read("best.toml"))["data"]["validation"] == "auto"


@pytest.mark.slow
def test_without_a_space_the_built_in_one_is_searched(run, labeled_file, monkeypatch):
    monkeypatch.setattr("fasttext_app.cli.render.plots.draw_search", lambda *given: None)
    run("tune", "--data", labeled_file, "--output", "found", "--trials", 2, *QUICK)
    (header, *_) = read("trials.csv").splitlines()
    for name in ("text.word_ngrams", "optimizer.lr", "trainer.epochs", "model.dim"):
        assert name in header.split(",")


@pytest.mark.slow
def test_without_matplotlib_only_the_plot_is_missing(tuned, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    shown = tuned("--trials", 1, plot=True)
    assert "search.png was not drawn: a plot needs the package matplotlib; " in shown.stderr
    assert not Path("found/search.png").exists()


def test_without_optuna_the_error_says_what_to_install(tuned, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = tuned("--trials", 1, code=1)
    assert "needs the package optuna; pip install -c constraints.txt '.[tune]'" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "limit the search"),
        (["--time", "soon"], 'must be a time: "90s", "10m" or "2h"'),
        (["--time", "10"], 'must be a time: "90s", "10m" or "2h"'),
        (["--trials", 0], "greater than or equal to 1"),
        (["--trials", 1, "--max-size", "small"], 'must be a size: "500kB", "5MB" or "1GB"'),
        (["--trials", 1, "--max-size", "0MB"], "must be a size"),
    ],
)
def test_a_wrong_budget_is_wrong_usage(tuned, arguments, problem):
    result = tuned(*arguments, code=2)
    assert problem in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--metric", "acuracy"], "'acuracy' is not a metric; did you mean 'accuracy'?"),
        (["--space", "none.toml"], "none.toml: no such file"),
        (["--set", "model.dmi=3"], "model.dmi: no such setting; did you mean 'model.dim'?"),
        (["--output", "space.toml"], "space.toml: is a file; choose another --output"),
        (["--study", "space.toml"], "space.toml: not a study file"),
        (["--data", "none.csv"], "none.csv"),
        (["--metric", "f1:nothing"], "there is no label 'nothing'"),
    ],
)
def test_bad_input_is_one_line(tuned, arguments, problem):
    result = tuned("--trials", 1, *arguments, code=1)
    assert problem in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_search_that_cannot_start_leaves_no_folder(tuned):
    for wrong in (["--data", "none.csv"], ["--study", "space.toml"]):
        tuned("--trials", 1, *wrong, code=1)
        assert not Path("found").exists()
    Path("found").mkdir()
    tuned("--trials", 1, "--data", "none.csv", code=1)
    assert Path("found").is_dir()  # it was there before


@pytest.mark.parametrize(
    ("text", "size"), [("5MB", 5_000_000), ("500k", 500_000), ("1.5 GB", 1_500_000_000), ("9", 9)]
)
def test_sizes_are_decimal(text, size):
    from fasttext_app.cli.tune import _bytes

    assert _bytes(text) == size


# --- signals


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_best_settings_so_far(tuned, monkeypatch, number):
    real = tune_display.TuneProgress.__call__

    def interrupted(self: Any, event: Any) -> None:
        real(self, event)
        if isinstance(event, TrialBegin) and event.number == 2:
            signal.raise_signal(number)

    monkeypatch.setattr(tune_display.TuneProgress, "__call__", interrupted)
    result = tuned("--trials", 100_000, code=128 + number)
    assert "interrupted; the same command continues the search" in result.stderr
    assert "best so far" in result.stdout
    assert Path("found/best.toml").exists()
    assert read("trials.csv").count("finished") == 2


@pytest.mark.slow
def test_a_kill_loses_only_the_running_trial(labeled_file, tuned):
    """The killed search runs in a process of its own, the one that continues it in this one."""
    arguments = ["--data", labeled_file, "--output", "found", "--space", "space.toml", *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-m", "fasttext_app", "tune", *map(str, arguments), "--trials", "100000"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    shown = [process.stderr.readline() for _ in range(2)]  # a line for each finished trial
    process.kill()
    process.communicate(timeout=60)
    assert [line.split()[:2] for line in shown] == [["trial", "0"], ["trial", "1"]]
    trials = Path("found/study.jsonl").read_bytes().count(b"\n") - 2
    lines = tuned("--trials", trials + 1, splits=5).stderr.splitlines()
    assert [int(line.split()[1]) for line in lines] == [trials]


# --- what a terminal shows


@pytest.mark.slow
def test_a_terminal_gets_a_live_bar(labeled_file: Path) -> None:
    from rich.console import Console

    from fasttext_app.config.loading import resolve
    from fasttext_app.data.split import load_examples
    from fasttext_app.tuning.search import tune
    from fasttext_app.tuning.space import SearchSpace
    from fasttext_app.tuning.trial import Budget

    console = Console(force_terminal=True, width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    settings: dict[str, Any] = {"model": {"dim": 4}, "trainer": {"threads": 1, "device": "cpu"}}
    base = resolve(settings, {"data": {"source": str(labeled_file)}})
    budget = Budget(3, 60.0)
    progress = tune_display.TuneProgress(base, budget, console)
    seen: list[tuple[int, float]] = []

    def watch(event: Any) -> None:
        progress(event)
        if progress.progress is not None:
            task = progress.progress.tasks[0]
            seen.append((task.fields["trial"], task.completed))

    space = SearchSpace.parse({"optimizer.lr": [0.1, 0.2]})
    tune(base, load_examples, budget, space=space, callback=watch)
    progress.close()
    assert {trial for trial, _ in seen} == {0, 1, 2}
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    shown = console.export_text()
    assert "trial   2  accuracy" in shown
    assert progress.progress is None
    console.file.close()
