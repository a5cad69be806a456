"""Feed damaged model directories, checkpoints and study files to the program.

Their checksums are made right again, as an attacker would. Every one must be refused in one line,
or used, in little time and memory; any other exception, and any signal, breaks the rule.

    python scripts/fuzz_model_files.py [--count 100000] [--seconds 600] [--seed 0]

Exit code 1: a file broke the rule; its seed is printed, and ``--seed N --count 1`` repeats it. The
run ends after ten of them.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_common import MAX_FILE_SIZE, mutate, mutate_json, parse_options, run

TEXTS = ["a chess engine", "an IMAP server", "lossless audio", "a text editor"] * 8
LABELS = ["games", "mail", "sound", "editors"] * 8
Case = Callable[[random.Random], str]


def damage(path: Path, content: bytes, generator: random.Random) -> None:
    """Write a damaged version of a file."""
    if path.suffix == ".json" and generator.random() < 0.8:
        changed = mutate_json(json.loads(content), generator)
        path.write_text(json.dumps(changed), encoding="utf-8")
    elif path.suffix == ".jsonl" and generator.random() < 0.8:
        lines = content.splitlines()
        number = generator.randrange(len(lines))
        changed = mutate_json(json.loads(lines[number]), generator)
        lines[number] = json.dumps(changed).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")
    elif path.suffix == ".safetensors" and generator.random() < 0.5:
        size = 8 + int.from_bytes(content[:8], "little")
        header = mutate_json(json.loads(content[8:size]), generator)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[size:])
    elif path.suffix == ".safetensors" and generator.random() < 0.5:
        values = bytearray(content)
        start = generator.randrange((len(values) - 4) // 4) * 4
        bad = generator.choice((np.nan, np.inf, -1.0, 0.0, 3e38, 1e-45))
        values[start : start + 4] = np.float32(bad).tobytes()
        path.write_bytes(values)
    else:
        path.write_bytes(mutate(content, generator))


def seal(folder: Path) -> None:
    """Make the checksums in a manifest right again."""
    from fasttext_app.core.checksummed_dir import MANIFEST
    from fasttext_app.core.digest import file_digest

    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in manifest["files"]:
        file = folder / name
        manifest["files"][name] = {"bytes": file.stat().st_size, "sha256": file_digest(file)}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def train_models(folder: Path) -> list[Path]:
    """Train a small model of each kind; return their directories."""
    import fasttext_app as ft
    from fasttext_app.model.directory import save_artifact
    from fasttext_app.model.product_quantizer import Coded, Quantizer

    kinds: dict[str, dict[str, Any]] = {
        "default": {},
        "ova": {"loss": "ova", "label_separator": "|"},
        "hs": {"loss": "hs", "fold": False, "minn": 0, "maxn": 0},
        "words": {"word_ngrams": 1, "minn": 0, "maxn": 0, "mode": "sum", "fold": False},
    }
    for name, settings in kinds.items():
        model = ft.train(TEXTS, LABELS, bucket=1000, epochs=1, dim=8, seed=1, **settings)
        model.save(folder / name)
    ft.load(folder / "default").quantize().save(folder / "quantized")
    artifact = ft.load(folder / "hs").artifact
    tensors = {name: tensor for name, tensor in artifact.tensors.items() if name != "table"}
    codes = np.zeros((len(artifact.table), 4), np.uint8)
    coded = Coded(codes, Quantizer(8, np.ones((4, 256, 2), np.float32)))
    save_artifact(replace(artifact, tensors=tensors | coded.tensors()), folder / "codes")
    return [folder / name for name in (*kinds, "quantized", "codes")]


def model_case(folder: Path) -> Case:
    """Return a case that damages a model directory, predicts with it, and draws its curves."""
    from fasttext_app.cli.render.console import Console
    from fasttext_app.cli.render.curves import show_curves
    from fasttext_app.core import jit
    from fasttext_app.errors import FastTextAppError
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.model.directory import load_artifact
    from fasttext_app.training.history import history_of, panels

    console = Console(file=io.StringIO())
    models = train_models(folder)
    contents = {
        path: {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
        for path in models
    }
    damaged = {
        path: [name for name in files if len(files[name]) <= MAX_FILE_SIZE and name != "README.md"]
        for path, files in contents.items()
    }

    def case(generator: random.Random) -> str:
        path = generator.choice(models)
        name = generator.choice(damaged[path])
        try:
            damage(path / name, contents[path][name], generator)
            if name != "manifest.json" and name in contents[path]:
                seal(path)
            model = TextClassifier(load_artifact(path), threads=1)
            repr(model)
            with suppress(ValueError):  # curves that cannot be drawn
                if history := history_of(name, model.artifact.history):
                    show_curves(panels([history]), console)
            for compiled in (False, True):
                jit._enabled, jit._plain_bytes = compiled, 0
                for prediction in [*model.predict(TEXTS[:4]), model.predict("chess, and audio")]:
                    probabilities = [float(value) for value in prediction.probabilities]
                    if not np.isfinite(probabilities or [np.nan]).all():
                        raise AssertionError(f"{name}: predicts {probabilities}")
        except FastTextAppError:
            return "models refused"
        finally:
            for changed in (name, "manifest.json"):
                (path / changed).write_bytes(contents[path][changed])
        return "models used"

    return case


def checkpoint_case(folder: Path) -> Case:
    """Return a case that damages a checkpoint and resumes from it."""
    import torch

    from fasttext_app.config.interval import Interval
    from fasttext_app.config.loading import flat_layer, resolve
    from fasttext_app.core.ragged import Ragged
    from fasttext_app.errors import FastTextAppError
    from fasttext_app.model.classifier import FastTextClassifier
    from fasttext_app.training.checkpoints import Checkpoints, find_checkpoint
    from fasttext_app.training.dataset import EncodedDataset
    from fasttext_app.training.run_manifest import config_of_run
    from fasttext_app.training.trainer import Trainer

    torch.set_num_threads(1)
    settings = {
        "name": "adagrad",
        "eps": 1e-8,
        "lr": 0.1,
        "epochs": 3,
        "batch_size": 2,
        "dim": 4,
        "loss": "softmax",
    }
    config = resolve(flat_layer(settings))
    bags = Ragged.from_lists([[0, 1], [2], [3, 1]], np.int32)
    data = EncodedDataset(
        bags, np.array([0, 1, 0]), np.ones(4, np.float32), include_last_offset=True
    )
    run_document = {
        **{"versions": {}, "platform": "", "seed": 1, "git": None},
        "data": {"source": "", "train_rows": 3, "validation_rows": 0, "fingerprint": ""},
        "config": config.model_dump(mode="json"),
    }

    def trainer() -> Trainer:
        return Trainer(FastTextClassifier.from_config(config.model, 4, 2), config)

    with Checkpoints(folder, run_document, Interval(steps=1), 99) as checkpoints:
        trainer().fit(data, None, checkpoints)
        path = checkpoints.folder / "000000003"
    for other in path.parent.iterdir():
        if other.is_dir() and other != path:
            shutil.rmtree(other)
    contents = {file.name: file.read_bytes() for file in path.iterdir()}

    def case(generator: random.Random) -> str:
        name = generator.choice(sorted(contents))
        try:
            damage(path / name, contents[name], generator)
            if name != "manifest.json":
                seal(path)
            reference = find_checkpoint(folder)
            config_of_run(reference.run)
            trainer().fit(data, None, None, reference.snapshot())
        except FastTextAppError:
            return "checkpoints refused"
        finally:
            for changed in (name, "manifest.json"):
                (path / changed).write_bytes(contents[changed])
        return "checkpoints used"

    return case


def study_case(folder: Path) -> Case:
    """Return a case that damages a study file and opens it."""
    from fasttext_app.errors import FastTextAppError
    from fasttext_app.tuning.study import StudyFile, quiet_optuna
    from fasttext_app.tuning.trial import Trial

    path = folder / "study.jsonl"
    identity = {"data": "a.csv"}
    with quiet_optuna() as optuna, StudyFile.opened(path, identity, "maximize") as file:
        for number in range(3):
            trial = Trial(number, {"model.dim": 8}, "finished", 0.5, [0.5], 0.7, 1, 1, 0.1, 100)
            dimension = optuna.distributions.IntDistribution(1, 16)
            file.add(
                optuna.trial.create_trial(
                    params={"model.dim": 8},
                    distributions={"model.dim": dimension},
                    value=0.5,
                    user_attrs={"trial": trial.as_dict()},
                )
            )
    content = path.read_bytes()

    def case(generator: random.Random) -> str:
        try:
            damage(path, content, generator)
            with quiet_optuna(), StudyFile.opened(path, identity, "maximize") as file:
                for trial in file.trials:
                    Trial.from_dict(trial.user_attrs["trial"])
        except FastTextAppError:
            return "studies refused"
        return "studies used"

    return case


def main() -> None:
    """Fuzz for some files or seconds."""
    options = parse_options(__doc__)
    with tempfile.TemporaryDirectory() as scratch, np.errstate(all="ignore"):
        folder = Path(scratch)
        cases: list[Any] = [make(folder) for make in (model_case, checkpoint_case, study_case)]

        def case(generator: random.Random) -> str:
            outcome: str = generator.choices(cases, (3, 1, 1))[0](generator)
            return outcome

        for number in range(20):  # which loads and compiles what the children share
            case(random.Random(number))
        code = run("model files", case, options.count, options.seconds, options.seed)
    sys.exit(code)


if __name__ == "__main__":
    main()
