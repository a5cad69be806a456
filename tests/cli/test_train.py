"""``fasttext-app train``: from data and settings to a model directory."""

from __future__ import annotations

import gzip
import tomllib
from pathlib import Path

import pytest

import fasttext_app
from fasttext_app.config.loading import dump_config, load_config_file, resolve
from fasttext_app.config.resources import config_names, config_path
from fasttext_app.config.schema import Config
from tests.helpers import QUICK, contents, read_json


@pytest.mark.slow
def test_a_trained_model_serves_every_other_command(run, tiny_csv, workdir):
    trained = run("train", "--data", tiny_csv, "--output", "model", *QUICK[2:],
                  "--lr", "0.5", "--epochs", "12", "--batch-size", "4")  # fmt: skip
    assert trained.stdout.startswith("saved the model of epoch ")
    assert trained.stdout.endswith(")\n")
    assert " to model (validation accuracy " in trained.stdout
    lines = trained.stderr.splitlines()
    assert lines[0] == "training on 18 texts, 2 held out for validation, device cpu"
    assert [line.split("  ")[0] for line in lines[1:13]] == [
        f"epoch {number}/12" for number in range(1, 13)
    ]
    assert lines[13].startswith("training the final model on all 20 texts")
    assert sorted(path.name for path in workdir.iterdir()) == ["model"]

    evaluated = run("evaluate", "model")  # the test split of the training data
    assert "Confusion matrix" in evaluated.stdout
    assert evaluated.stderr == ""
    predicted = run("predict", "model", "the team won", "the bank cut rates")
    labels = [line.split(" ")[0] for line in predicted.stdout.splitlines()]
    assert labels == ["sport", "money"]
    assert predicted.stderr == ""
    assert "most frequent words: the (" in run("info", "model").stdout
    assert "indices [" in run("inspect", "model", "the team").stdout


@pytest.mark.slow
def test_training_twice_gives_the_same_weights(run, tiny_csv, workdir):
    for name in ("one", "two"):
        run("train", "--data", tiny_csv, "--output", name, *QUICK, "--seed", "7")
    first, second = ((workdir / n / "model.safetensors").read_bytes() for n in ("one", "two"))
    assert first == second


def test_json_has_the_history_metrics_and_data(run, tiny_csv):
    report = read_json(run("train", "--data", tiny_csv, "--output", "model", *QUICK, "--json"))
    assert list(report) == [
        *("output", "best_epoch", "steps", "interrupted", "stopped_early", "epochs", "metrics"),
        *("calibration", "data"),
    ]
    assert report["output"] == "model"
    assert report["steps"] == 3
    assert report["interrupted"] is False
    assert len(report["epochs"]) == 3
    assert set(report["metrics"]) == {
        *("validation_loss", "validation_accuracy", "validation_macro_f1")
    }
    assert (report["data"]["train_rows"], report["data"]["refit_rows"]) == (20, 20)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--data", "x/my data.csv"], "models/my_data"),
        (["--data", "x/reviews.csv.gz"], "models/reviews"),
        (["--data", "y/{split}.csv"], "models/y"),
        (["--config", "my.toml"], "models/my"),
        (["--config", "my.toml", "--data", "x/my data.csv"], "models/my_data"),
        (["--config", "my.toml", "--set", "data.source=x/reviews.csv.gz"], "models/reviews"),
        (["--data", "."], "models/HERE"),
    ],
)
def test_the_default_output_is_named_after_the_config_or_the_data(
    run, tiny_csv, workdir, arguments, folder
):
    rows = (tiny_csv / "train.csv").read_bytes()
    (workdir / "x").mkdir()
    (workdir / "x" / "my data.csv").write_bytes(rows)
    (workdir / "x" / "reviews.csv.gz").write_bytes(gzip.compress(rows))
    for folder_of_splits in (workdir, workdir / "y"):
        folder_of_splits.mkdir(exist_ok=True)
        (folder_of_splits / "train.csv").write_bytes(rows)
    folder = folder.replace("HERE", workdir.name)
    (workdir / "my.toml").write_text('[data]\nsource = "x/my data.csv"\n')
    assert f" to {folder} " in run("train", *arguments, *QUICK).stdout
    assert (workdir / folder / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("output", [[], ["--output", "model"]])
def test_an_earlier_model_is_kept_unless_overwrite_is_given(run, tiny_csv, workdir, output):
    train = ("train", "--data", tiny_csv / "train.csv", *output, *QUICK)
    folder = output[-1] if output else "models/train"
    run(*train)
    before = contents(workdir)
    refused = run(*train, "--seed", "6", code=1)
    assert refused.stderr == (
        f"error: {folder}: already has a model; pass --overwrite to replace it, or choose another "
        "folder\n"
    )
    assert contents(workdir) == before
    run(*train, "--seed", "6", "--overwrite")
    assert read_json(run("info", folder, "--json"))["config"]["trainer"]["seed"] == 6
    assert contents(workdir).keys() == before.keys()


@pytest.mark.slow
def test_training_keeps_a_users_file_in_a_model_directory(run, tiny_csv, workdir):
    run("train", "--data", tiny_csv, "--output", "model", *QUICK)
    (workdir / "model" / "notes.txt").write_text("mine")
    before = (workdir / "model" / "model.safetensors").read_bytes()
    run("train", "--data", tiny_csv, "--output", "model", *QUICK, "--seed", "1", "--overwrite")
    assert (workdir / "model" / "model.safetensors").read_bytes() != before
    assert (workdir / "model" / "notes.txt").read_text() == "mine"


def test_validation_rows_with_unknown_labels_are_left_out(run, workdir):
    (workdir / "train.csv").write_text("text,label\n" + "a,x\nb,y\n" * 4)
    (workdir / "dev.csv").write_text("text,label\na,x\nc,z\nd,w\n")
    result = run("train", "--data", ".", "--output", "model", *QUICK)
    assert (
        "2 validation rows have labels that training never saw; they were left out" in result.stderr
    )
    assert "1 held out for validation" in result.stderr


def test_flags_win_over_set_and_set_over_the_config(run, tiny_csv, workdir):
    (workdir / "my.toml").write_text(
        f'[data]\nsource = "{tiny_csv}"\n[trainer]\nepochs = 9\nbatch_size = 7\nseed = 3\n'
        "[model]\ndim = 5\n[text]\nword_ngrams = 2\nbucket = 100\n"
    )
    result = run(
        *("train", "--config", "my.toml", "--dry-run", "--json"),
        *("--set", "trainer.epochs=8", "--set", "trainer.batch_size=6", "--set", "model.dim=3"),
        *("--epochs", "2", "--lr", "0.25"),
    )
    config = read_json(result)["config"]
    assert config["trainer"]["epochs"] == 2
    assert config["trainer"]["batch_size"] == 6
    assert config["trainer"]["seed"] == 3
    assert config["model"]["dim"] == 3
    assert config["optimizer"]["lr"] == 0.25
    assert config["text"]["word_ngrams"] == 2


def test_every_flag_sets_its_key(run, tiny_csv):
    flags = {
        "--epochs": ("trainer", "epochs", 2),
        "--lr": ("optimizer", "lr", 0.5),
        "--dim": ("model", "dim", 3),
        "--batch-size": ("trainer", "batch_size", 5),
        "--seed": ("trainer", "seed", 11),
        "--device": ("trainer", "device", "cpu"),
        "--threads": ("trainer", "threads", 2),
        "--label-column": ("data", "label_column", "label"),
        "--errors": ("data", "errors", "replace"),
    }
    arguments = [part for flag, (_, _, value) in flags.items() for part in (flag, value)]
    result = run("train", "--data", tiny_csv, "--text-column", "label", "--text-column", "text",
                 *arguments, "--dry-run", "--json")  # fmt: skip
    config = read_json(result)["config"]
    for section, key, value in flags.values():
        assert config[section][key] == value
    assert config["data"]["text_columns"] == ["label", "text"]


def test_dry_run_shows_the_settings_as_toml_and_saves_nothing(run, tiny_csv, workdir):
    shown = run("train", "--data", tiny_csv, "--dry-run", "--dim", "3").stdout
    settings = tomllib.loads(shown.partition("Training data")[0])
    assert resolve(settings).model.dim == 3
    assert "train rows" in shown
    assert "Labels" in shown
    assert not list(workdir.iterdir())


def test_dry_run_json_has_the_config_and_the_data_statistics(run, tiny_csv):
    report = read_json(run("train", "--data", tiny_csv, "--dry-run", "--json"))
    assert list(report) == ["config", "data"]
    assert report["config"]["data"]["source"] == str(tiny_csv)
    statistics = report["data"]
    assert statistics["train_rows"] + statistics["validation_rows"] == 20
    assert set(statistics["labels"]) == {"sport", "money"}
    assert statistics["empty_texts"] == 0


def test_a_dry_run_without_settings_shows_the_defaults(run, tiny_csv):
    config = read_json(run("train", "--data", tiny_csv, "--dry-run", "--json"))["config"]
    config["data"]["source"] = None
    automatic = {
        "optimizer": ("lr", "eps"),
        "trainer": ("epochs", "batch_size", "refit", "calibrate"),
    }
    for section, names in automatic.items():
        for name in names:
            assert config[section][name] != "auto"
            config[section][name] = "auto"
    assert resolve(config) == Config()


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_is_valid_and_found_by_name(workdir, name):
    path = config_path(name)
    assert path is not None
    config = resolve(load_config_file(name))
    assert config == resolve(load_config_file(path))
    assert resolve(tomllib.loads(dump_config(config))) == config
    # The data of langid is built, not shipped, so the config leaves its folder to --data.
    assert config.data.source in ({None} if name == "langid" else {"sample", "ag_news"})
    assert path.read_text(encoding="utf-8").startswith("#")


def test_every_config_file_is_shipped():
    folder = Path(fasttext_app.__file__).parent.parent / "configs"
    names = sorted(path.stem for path in folder.iterdir())
    assert names == config_names()
    assert {"ag_news", "sample"} <= set(names)


@pytest.mark.slow
def test_config_takes_a_shipped_name(run):
    result = run("train", "--config", "sample", "--dry-run", "--json", "--epochs", "1")
    report = read_json(result)
    assert report["config"]["data"]["source"] == "sample"
    assert report["config"]["trainer"]["epochs"] == 1
    assert len(report["data"]["labels"]) > 2


def test_a_config_file_takes_precedence_over_a_shipped_name(run, tiny_csv, workdir):
    (workdir / "sample").write_text(f'[data]\nsource = "{tiny_csv}"\n')
    result = run("train", "--config", "sample", "--dry-run", "--json")
    assert read_json(result)["config"]["data"]["source"] == str(tiny_csv)
