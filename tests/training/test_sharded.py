"""Training on several processes: the same bytes as on one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import fasttext_app as ft
from fasttext_app import pipeline
from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import DataConfig
from fasttext_app.core.group import Group
from fasttext_app.data import csv as delimited
from fasttext_app.data import parquet
from fasttext_app.data.spec import open_source
from fasttext_app.data.split import load_examples
from fasttext_app.errors import ConfigError
from fasttext_app.model.shard import SHARES, Share
from fasttext_app.training import divided, tokenized
from fasttext_app.training.checkpoints import write_tensors
from fasttext_app.training.sharded_checkpoints import read_part
from tests.helpers import ROOT, WORDS_ONLY, make_config, run_cli
from tests.training.sharded_driver import digest_of, train_alone

SIZES = [{"size": 2}, {"size": 4}]
QUICK = {**WORDS_ONLY, "epochs": 1, "dim": 6, "validation": 0.1, "threads": 1}
CASES: dict[str, dict[str, Any]] = {
    "softmax, adagrad": {},
    "the default settings": {
        **dict.fromkeys(("lr", "eps", "batch_size", "refit", "calibrate"), "auto"),
        **{"name": "rowwise_adagrad", "term_weighting": "tfidf", "mode": "sum"},
        **{"word_ngrams": 2, "minn": 3, "maxn": 4, "epochs": 2, "dim": 16},
    },
    "ova, sgd": {"loss": "ova", "name": "sgd", "lr": 1.0, "label_smoothing": 0.1},
    "ns, sparse_adam": {"loss": "ns", "name": "sparse_adam", "lr": 0.01, "word_ngrams": 2},
    "hs, rowwise_adagrad": {"loss": "hs", "name": "rowwise_adagrad", "minn": 2, "maxn": 3},
    "adaptive": {"loss": "adaptive", "cutoffs": [4], "div_value": 2.0},
    "max": {"mode": "max", "sparse": False, "word_ngrams": 2},
    "max, rowwise_adagrad": {"mode": "max", "sparse": False, "name": "rowwise_adagrad"},
    "several files": {"word_ngrams": 2, "bucket": 500, "prune": False, "min_count": 2},
    "data on disk": {"in_memory_mb": 0, "token_dropout": 0.2, "epochs": 2},
    "row groups": {"in_memory_mb": 0, "skip_bad": True},
    "pieces of a file": {"in_memory_mb": 0, "epochs": 2},
    "several labels": {
        **{"label_column": "labels", "label_separator": "|", "weight_column": "weight"},
        **{"loss": "ova", "lr": 0.5},
    },
    "focal loss, dropout, weights": {
        **{"focal_gamma": 1.0, "bag_dropout": 0.2, "token_dropout": 0.1},
        **{"class_weights": "balanced", "term_weighting": "tfidf", "mode": "sum"},
        "skip_bad": True,  # so that every process reads the whole file
    },
}


TORCH_CASES: dict[str, dict[str, Any]] = {
    "adagrad": {"bag_dropout": 0.1, "include_last_offset": False, "dim": 37},
    "rowwise_adagrad": {
        **{"name": "rowwise_adagrad", "minn": 2, "maxn": 3, "padding_idx": 2},
        **{"term_weighting": "tfidf", "mode": "sum"},
    },
    "sparse_adam": {
        **{"name": "sparse_adam", "lr": 0.01, "loss": "ns", "epochs": 2, "in_memory_mb": 0},
        **{"token_dropout": 0.2, "term_weighting": "tfidf", "mode": "sum"},
    },
    "dense gradients": {
        **{"name": "sgd", "sparse": False, "momentum": 0.5, "weight_decay": 1e-3},
        **{"scale_grad_by_freq": True, "loss": "hs"},
    },
    "max, rowwise_adagrad": {"mode": "max", "sparse": False, "name": "rowwise_adagrad"},
}
"""What ``torch.optim`` trains."""

KILLED = ("the default settings", "ns, sparse_adam", "data on disk", "pieces of a file")
"""Cases that are also killed and resumed."""


def run_cases(cases: Mapping[str, Any]) -> Any:
    """Run the cases of ``tests/training/sharded_driver.py``; return its answer."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.sharded_driver"],
        input=json.dumps({"cases": cases}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=500,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first rows of the sample, as one file and as several."""
    with Path(ROOT / "data/sample/train.csv").open(encoding="utf-8", newline="") as file:
        rows = [[label, text] for _, label, text in islice(csv.reader(file), 1, 421)]
    folder = tmp_path_factory.mktemp("rows")

    def write(name: str, part: list[list[str]]) -> None:
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            labels = [[f"{label}|{text[0]}", f"{len(text) % 3 + 0.5}"] for label, text in part]
            columns = [[*row, *more] for row, more in zip(part, labels, strict=True)]
            csv.writer(file).writerows([["label", "text", "labels", "weight"], *columns])

    write("one.csv", rows)
    for number, (start, stop) in enumerate([(0, 200), (200, 203), (203, 203), (203, 330)]):
        write(f"part-{number}.csv", rows[start:stop])
    (folder / "part-4.csv").touch()
    write("part-5.csv", rows[330:400])
    write("held-out.csv", rows[400:])
    labels, texts = zip(*rows, strict=True)
    table = pa.table({"label": labels, "text": [None, *texts[1:]]})  # a row to skip
    pq.write_table(table, folder / "one.parquet", row_group_size=25)
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut a few rows as the driver does."""
    for module in (tokenized, divided):
        monkeypatch.setattr(module, "PART_ROWS", 30)
        monkeypatch.setattr(module, "SHARD_IDS", 3000)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 60)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 12)


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("shard", ["columns", "rows"])
def test_processes_train_to_the_bytes_of_one(shard: str, files: Path, tmp_path: Path) -> None:
    (part,) = open_source(DataConfig(source=str(files / "one.csv"))).parts("train")
    assert len(part.pieces([part.survey(number, 4) for number in range(4)])) == 4
    cases = {
        name: {
            **{**QUICK, "shard": shard, "shard_timeout": 20.0, "source": str(files / "one.csv")},
            **settings,
        }
        for name, settings in CASES.items()
        if shard == "columns" or settings.get("mode") != "max"
    }
    for name in ("several files", "data on disk"):
        cases[name]["source"] = str(files / "part-*.csv")
    cases["row groups"]["source"] = str(files / "one.parquet")
    cases["several files"]["validation"] = str(files / "held-out.csv")
    runs = {name: {"settings": case, "runs": SIZES} for name, case in cases.items()}
    answers = run_cases(runs | killed_runs(cases, tmp_path))
    for name, settings in cases.items():
        expected = train_alone(resolve(flat_layer(settings)))
        assert answers[name] == [expected] * len(SIZES), name
        if shard == "columns":
            alone = {key: value for key, value in settings.items() if not key.startswith("shard")}
            assert train_alone(resolve(flat_layer(alone))) == expected, name
        if f"killed: {name}" in answers:
            killed, *_, resumed = answers[f"killed: {name}"]
            assert killed.startswith("LostProcessError: process 0 of 2: another process of the run")
            assert killed.endswith("start the run again, with --resume if it has checkpoints")
            assert resumed == expected, name


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_processes_train_with_torch_to_the_bytes_of_one(files: Path, tmp_path: Path) -> None:
    source = {"source": str(files / "one.csv"), "implementation": "torch", "shard_timeout": 20.0}
    cases: dict[str, dict[str, Any]] = {}
    for name, settings in TORCH_CASES.items():
        cases[f"columns, {name}"] = {**QUICK, **source, **settings, "shard": "columns"}
        if name in ("adagrad", "rowwise_adagrad"):
            by_rows = {key: value for key, value in settings.items() if key != "padding_idx"}
            cases[f"rows, {name}"] = {**QUICK, **source, **by_rows, "shard": "rows"}
    runs: dict[str, dict[str, Any]] = {
        name: {"settings": case, "runs": SIZES[:1]} for name, case in cases.items()
    }
    runs["columns, adagrad"]["runs"] = runs["rows, adagrad"]["runs"] = SIZES[1:]
    killed, output = "columns, sparse_adam", str(tmp_path)
    runs[killed] = {
        "settings": {**cases[killed], "checkpoint_every": "2"},
        "runs": [
            {"size": 2, "kill": [0, 1], "after": 5, "output": output},
            {"size": 3, "output": output},
        ],
    }
    answers = run_cases(runs)
    for name, settings in cases.items():
        if settings["shard"] == "columns":
            settings = {key: value for key, value in settings.items() if "shard" not in key}
        assert answers[name][-1] == train_alone(resolve(flat_layer(settings))), name


def killed_runs(cases: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return cases with runs that are killed and resumed by other numbers of processes."""
    kills: list[dict[str, Any]] = [
        {"size": 2, "kill": [1], "after": 5},  # one of them
        {"size": 4, "kill": [0, 1, 2, 3], "after": 3},  # all of them
        {"size": 1, "kill": [0], "after": 2},
        {"size": 3},
    ]
    return {
        f"killed: {name}": {
            "settings": {**cases[name], "checkpoint_every": "2"},
            "runs": [{**run, "output": str(folder / name)} for run in kills],
        }
        for name in KILLED
    }


def write_flawed_rows(folder: Path) -> None:
    """Write files of rows with something of everything that training warns of."""
    sport, weather = "进球今天的是因为看到今天比赛冠军", "下雨可以大的一个大的温度温度"
    rows = {
        "sport": [f"the team won game {number} in the final" for number in range(60)],
        "weather": [f"rain and wind on day {number} in the north" for number in range(40)],
        "Weather ": ["snow", "ice", "nan", "NA", "the team won game 7 in the final"],
        "sun|warm": [sport, weather, "", *[sport, weather] * 9],
        "sun|wet": [weather[::-1]],
        "warm|wet": [sport[::-1]],
    }
    pairs = [(label, text) for label, texts in rows.items() for text in texts]
    np.random.default_rng(0).shuffle(pairs)
    for number, bounds in enumerate([(0, 9), (9, 70), (70, 80), (80, len(pairs)), (3, 6)]):
        with (folder / f"rows-{number}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["label", "text"], *pairs[slice(*bounds)]])
            writer.writerows([[f"bad row {number}, {row}"] for row in range(4 - number)])
    held_out = [("sport", f"the team won game {number} in the final") for number in range(8)]
    held_out += [("sport", f"x{number}") for number in range(16)] + [("chess", "mate")] * 3
    held_out += [("weather", "rain and wind")]
    with (folder / "held-out.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["label", "text"], *held_out, ["a bad row"]])
    (folder / "words.vec").write_text("3 6\n" + "".join(
        f"{word} 1 2 3 4 5 6\n" for word in ("team", "rain", "unseen")
    ))  # fmt: skip


@pytest.mark.slow
def test_processes_warn_of_what_one_warns_of(tmp_path: Path) -> None:
    write_flawed_rows(tmp_path)
    shared: dict[str, Any] = {
        **{**QUICK, "lr": 0.01, "min_count": 2, "skip_bad": True},
        **{"source": str(tmp_path / "rows-*.csv"), "pretrained": str(tmp_path / "words.vec")},
    }
    several = {"label_separator": "|", "validation": 0.1}
    cases = {
        "held out": {**shared, "validation": str(tmp_path / "held-out.csv")},
        "several labels": {**shared, **several},
        "one file": {**shared, "source": str(tmp_path / "rows-3.csv")},
    }
    runs = [{"size": size, "warnings": True} for size in (2, 4)]
    answers = run_cases({
        name: {"settings": {**case, "shard": "columns"}, "runs": runs}
        for name, case in cases.items()
    })  # fmt: skip
    kinds = set()
    for name, case in cases.items():
        config = resolve(flat_layer(case))
        warnings = pipeline.train(config, load_examples(config)).warnings
        kinds |= {type(getattr(warning, "finding", warning)).__name__ for warning in warnings}
        assert answers[name] == ["\n".join(map(str, warnings))] * 2, name
    assert kinds == {
        *("SkippedRows", "FewSteps", "RareLabels", "NoSpaces", "ContradictingLabels"),
        *("SimilarLabels", "JoinedLabels", "OneLabelAtATime", "MissingTexts", "UnknownTexts"),
        *("MajorityAccuracy", "SharedTexts", "UnknownValidationLabels", "PretrainedCoverage"),
    }


@pytest.mark.slow
def test_each_process_parses_a_share_of_a_file() -> None:
    path = ROOT / "data/sample/train.csv"
    settings = {**QUICK, "shard": "columns", "shard_timeout": 20.0, "source": str(path)}
    runs = [{"size": size, "only_prepare": True} for size in (2, 3)]
    answers = run_cases({"": {"settings": settings, "runs": runs}})[""]
    for run, answer in zip(runs, answers, strict=True):
        parsed = [int(line.split()[1]) / path.stat().st_size for line in answer.splitlines()]
        # Each process also reads the beginning of the file, which tells the columns.
        assert parsed == pytest.approx([1 / run["size"]] * run["size"], abs=0.1)


def torchrun_train(processes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command ``train`` on several processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += map(str, (processes, "-m", "fasttext_app", "train", *arguments))
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
    )


@pytest.mark.slow
def test_torchrun_trains_on_the_command_line(files: Path, tmp_path: Path) -> None:
    settings = ("--data", files / "one.csv", "--epochs", "1", "--threads", "1", "--output")
    run_cli("train", *settings, tmp_path / "one")

    process = torchrun_train(2, *settings, tmp_path / "two", "--set", "trainer.shard=columns")
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("saved the model") == 1
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()

    process = torchrun_train(2, *settings, tmp_path / "three")
    assert process.returncode == 1
    problem = 'error: WORLD_SIZE is 2, but trainer.shard is "none"'
    assert process.stderr.count(problem) == 1
    assert not (tmp_path / "three").exists()


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and a second one for NCCL")
@pytest.mark.parametrize("shard", SHARES)
def test_gpus_train_the_model_of_cpus(shard: str, files: Path, tmp_path: Path) -> None:
    settings = {"trainer.shard": shard, "optimizer.implementation": "torch"}
    settings |= {"optimizer.name": "sgd", "trainer.calibrate": "false", "trainer.refit": "false"}
    options = [part for pair in settings.items() for part in ("--set", "=".join(pair))]
    tensors = []
    for device in ("cpu", "cuda"):
        output = ("--output", tmp_path / device, "--device", device)
        data = ("--data", files / "one.csv", "--epochs", "2")
        process = torchrun_train(min(torch.cuda.device_count(), 2), *data, *output, *options)
        assert process.returncode == 0, process.stderr
        tensors.append(ft.load(tmp_path / device).artifact.tensors)
    on_cpu, on_gpu = tensors
    for name in ("table", "weight", "bias"):
        np.testing.assert_allclose(on_gpu[name], on_cpu[name], atol=1e-4)


PROGRAM = """
import os, runpy, sys
import fasttext_app as ft
from fasttext_app.errors import DataError
from tests.training.sharded_driver import digest_of

spec, output, missing = sys.argv[1:]
runpy.run_path("docs/examples/training/processes.py")["main"](spec, output)  # saves a model
events, checkpoints = [], f"{output}-checkpoints"
model = ft.train(
    ["to be", "or not"] * 9, ["a", "b"] * 9, callback=events.append, checkpoints=checkpoints,
    shard="columns", epochs=1, validation=0.0,
)  # the second model of the same processes
is_main = os.environ["RANK"] == "0"
assert bool(events) == is_main and not (is_main and os.listdir(checkpoints))
try:
    ft.train(missing, shard="columns")
except DataError as error:
    print(digest_of(model.artifact.tensors), error)
"""


@pytest.mark.slow
def test_torchrun_trains_in_python(files: Path, tmp_path: Path) -> None:
    program, output = tmp_path / "program.py", tmp_path / "model"
    program.write_text(PROGRAM, encoding="utf-8")
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = (program, files / "one.csv", output, tmp_path / "missing.csv")
    process = subprocess.run(
        [sys.executable, "-m", *torchrun, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    model = ft.train(["to be", "or not"] * 9, ["a", "b"] * 9, epochs=1, validation=0.0)
    shown = f"{digest_of(model.artifact.tensors)} {tmp_path}/missing.csv: no such file"
    assert [line.startswith(shown) for line in process.stdout.splitlines()] == [True, True]
    alone = ft.train(str(files / "one.csv"))
    assert digest_of(ft.load(output).artifact.tensors) == digest_of(alone.artifact.tensors)


def test_a_process_group_of_the_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "MASTER_ADDR": "-",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    with pytest.raises(ConfigError, match="has a process group"):
        ft.train(["to be", "or not"] * 9, ["a", "b"] * 9, shard="columns")


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        ({"name": "sgd", "lr": 1.0}, 1e-7),
        ({"term_weighting": "tfidf", "mode": "sum", "minn": 2, "maxn": 3, "name": "sgd"}, 1e-7),
        ({"loss": "hs", "name": "rowwise_adagrad"}, 1e-5),
        ({"loss": "ns", "name": "sparse_adam", "lr": 0.01}, 1e-3),
    ],
)
def test_rows_differ_from_a_plain_run_by_rounding_only(
    settings: dict[str, Any], bound: float, files: Path
) -> None:
    """Adagrad and Adam divide a gradient by its size, and so magnify the rounding of small ones."""
    quick = {**QUICK, "source": str(files / "one.csv"), "validation": 0.0, "fold": False}

    def trained(shard: str) -> Any:
        config = resolve(flat_layer({**quick, **settings, "shard": shard}))
        return pipeline.train(config, load_examples(config)).model.artifact.tensors

    plain, by_rows = trained("none"), trained("rows")
    for name in ("table", "weight", "bias"):
        difference = np.abs(by_rows[name] - plain[name])
        assert difference.max() < bound
        assert difference.mean() < 1e-7


@pytest.mark.parametrize("kind", SHARES)
@pytest.mark.parametrize("rowwise", [False, True])
def test_checkpoints_are_read_by_any_number_of_processes(
    kind: str, rowwise: bool, tmp_path: Path
) -> None:
    whole = {"table": torch.arange(13.0 * 6).view(13, 6)}
    if rowwise and kind == "rows":
        whole["state"] = torch.arange(13.0).view(13, 1)
    for size in (1, 2, 4):
        shares = [SHARES[kind](Group(rank, size), 13, 6) for rank in range(size)]
        (tmp_path / str(size)).mkdir()
        for share in shares:
            write_tensors(
                parts_of(whole, share), tmp_path / str(size) / f"{share.name}.safetensors"
            )
    for size in (1, 2, 3, 4, 6):
        for rank, written in product(range(size), (1, 2, 4)):
            share = SHARES[kind](Group(rank, size), 13, 6)
            read = read_part(tmp_path / str(written), share)
            expected = parts_of(whole, share)
            assert read.keys() == expected.keys()
            assert all(torch.equal(read[name], expected[name]) for name in read)


def parts_of(tensors: Mapping[str, torch.Tensor], share: Share) -> dict[str, torch.Tensor]:
    rows, columns = (slice(part.start, part.stop, part.step) for part in share.part)
    return {name: tensor[rows, columns] for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"clip_grad_norm": 1.0, "name": "sgd", "sparse": False}, "trainer.clip_grad_norm"),
        ({"name": "rowwise_adagrad", "sparse": False}, "optimizer.name"),
        ({"max_norm": 1.0}, "model.max_norm"),
        ({"ensemble": 2}, "trainer.ensemble"),
        ({"device": "cuda:0"}, "trainer.device"),
        ({"device": "cuda", "implementation": "fused"}, "optimizer.implementation"),
        ({"shard": "rows", "mode": "max", "sparse": False}, "model.mode"),
        ({"shard": "rows", "padding_idx": 0}, "model.padding_idx"),
    ],
)
def test_settings_that_cannot_be_sharded_are_refused(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=f"{problem}.*trainer.shard"):
        make_config(**{"shard": "columns", **settings})
