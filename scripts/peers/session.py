"""One call of `bench_peers.py`: the parts, each of which measures by turns."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from peers import report
from peers.contenders import (
    APP,
    OURS,
    PACKAGES,
    PAPER,
    Contender,
    child,
    installed,
    ours,
    published,
    training_contenders,
)
from peers.measure import (
    Figures,
    Samples,
    alternate,
    filled,
    remove,
    run_json,
    run_timed,
    run_watched,
    size_mb,
)

COLD_RUNS = 3  # cold starts a round: they are short
CUDA_EPOCHS = 10  # that are timed
ONE_TEXT = "Striker's late goal sends the champions into the cup final"
HAS_CUDA = "import json, torch; print(json.dumps(torch.cuda.is_available()))"


class Session:
    """One call of this script: its inputs, the models that it keeps, and what it measured."""

    def __init__(self, options: argparse.Namespace, folder: Path, results: report.Results) -> None:
        self.options = options
        self.folder = folder
        self.results = results
        self.source = Path(os.environ["FASTTEXT_APP_DATA"]) / "ag_news"

    def work(self, times: int = 1) -> Path:
        """Return the folder with the rows, repeated so many times, in every contender's form."""
        made = self.folder / f"x{times}"
        if not made.exists():
            rows = [] if self.options.rows is None else [self.options.rows]
            print(f"making the rows, {times} times", file=sys.stderr)
            run_timed([*child("rows", self.source, made, times, *rows)], self.folder)
        return made

    def kept(self, contender: Contender) -> Path:
        """Return the model of the contender's warm-up run, which happens once and is not timed."""
        slug = "".join(letter if letter.isalnum() else "_" for letter in contender.name)
        model = self.folder / "models" / slug
        if not model.exists():
            model.parent.mkdir(exist_ok=True)
            print(f"warming up: {contender.name}", file=sys.stderr)
            run_timed(filled(contender.train, model), contender.work)
        return model

    def train_once(self, contender: Contender, seed: int) -> Figures:
        """Train in a timed process, and score the model that it saved in another."""
        model = self.folder / "measured"
        run = run_watched if contender.slow else run_timed
        figures = run(filled(contender.train, model, seed), contender.work)
        figures["accuracy"] = run_json(filled(contender.score, model), contender.work)["accuracy"]
        figures["size_mb"] = size_mb(model)
        remove(model)
        return figures

    def measure_training(self, section: str, contenders: Iterable[Contender], rounds: int) -> None:
        """Measure contenders by turns, into a section of the results."""
        present = {entry.name: entry for entry in contenders if self.present(entry)}
        for contender in present.values():
            if not contender.slow:
                self.kept(contender)
        measured = alternate(
            present, rounds, lambda name, seed: self.train_once(present[name], seed)
        )
        for name, contender in present.items():
            if not contender.slow:  # in a run of its own, which is not timed
                model = self.folder / "measured"
                watched = run_watched(filled(contender.train, model), contender.work)
                measured[name][0]["peak_mb"] = watched["peak_mb"]
                remove(model)
        self.results.sections.setdefault(section, {}).update(measured)

    def present(self, contender: Contender) -> bool:
        """Say whether the contender's package is there; note it where it is not."""
        return self.has(contender.name, contender.package)

    def has(self, name: str, package: str) -> bool:
        """Say whether a package is there; note it where it is not."""
        there = installed(package)
        self.note(name, "" if there else f"left out, {PACKAGES[package]} is not installed")
        return there

    def note(self, name: str, why: str) -> None:
        """Keep why something was not measured, and say it; with no reason, forget an old one."""
        self.results.notes.pop(name, None)
        if why:
            self.results.notes[name] = why
            print(f"{name}: {why}", file=sys.stderr)

    def train(self) -> None:
        """Measure every recipe, smaller models, and an epoch on CUDA."""
        contenders = training_contenders(self.work(), self.options.also)
        self.results.sections.pop("train", None)
        quick = [contender for contender in contenders if not contender.slow]
        self.measure_training("train", quick, self.options.rounds)
        slow = [contender for contender in contenders if contender.slow]
        self.measure_training("train", slow, self.options.slow_rounds)
        self.sizes(contenders[0])
        self.cuda(contenders[0])

    def sizes(self, contender: Contender) -> None:
        """Measure size and accuracy of our model: with and without pruning, and quantized."""
        model, smaller = self.folder / "sizes", self.folder / "smaller"
        sizes: Samples = {}

        def note(name: str, path: Path) -> None:
            accuracy = run_json(filled(contender.score, path), contender.work)["accuracy"]
            sizes.setdefault(name, []).append({"size_mb": size_mb(path), "accuracy": accuracy})

        for seed in range(self.options.rounds):
            for name, flags in report.PRUNINGS.items():
                run_timed([*filled(contender.train, model, seed), *flags], contender.work)
                note(name, model)
            for name, flags in report.QUANTIZINGS.items():
                command = [*APP, "quantize", str(model), "--output", str(smaller), *flags]
                run_timed(command, contender.work)
                note(name, smaller)
        self.results.sections["sizes"] = sizes

    def cuda(self, contender: Contender) -> None:
        """Measure the epochs of training on CUDA, where there is a device."""
        there = run_json([sys.executable, "-c", HAS_CUDA], self.folder)
        self.note("cuda", "" if there else "no CUDA device")
        if not there:
            return
        command = filled(contender.train, self.folder / "cuda")
        flags = ["--device", "cuda", "--epochs", str(CUDA_EPOCHS + 1), "--json"]
        told = run_json([*command, *flags], contender.work)
        epochs = told["epochs"][1:]  # the first one compiles the kernels
        milliseconds = [{"epoch_ms": 1000 * epoch["seconds"]} for epoch in epochs]
        self.results.sections["cuda"] = {OURS: milliseconds}

    def growth(self) -> None:
        """Measure ours and fastText's on 1 and 10 times the rows, and ours on 1 and 2 threads."""
        once, tenfold = self.work(), self.work(10)
        rows = [ours(OURS, once), published(PAPER, once)]
        rows += [ours(report.TENFOLD, tenfold), published(report.PAPER_TENFOLD, tenfold)]
        threads = [
            ours(f"{OURS}, --threads {count}", once, "ag_news", "--threads", str(count))
            for count in (1, 2)
        ]
        self.results.sections.pop("growth", None)
        self.measure_training("growth", [*rows, *threads], self.options.rounds)

    def loaded(self) -> dict[str, tuple[str, Path]]:
        """Return the packages that predict and their models: {name: (package, model)}."""
        work = self.work()
        found = {OURS: ("fasttext_app", self.kept(ours(OURS, work)))}
        paper = published(PAPER, work)
        if self.present(paper):
            found[report.COMMUNITY] = ("fasttext", self.kept(paper))
            if self.has(report.NEW, "fasttext_new"):
                found[report.NEW] = ("fasttext_new", self.kept(paper))
        return found

    def predict(self) -> None:
        """Measure prediction in bulk, in loaded models and through the command line."""
        work, loaded = self.work(), self.loaded()
        loaded[report.LIST] = ("fasttext_app_list", loaded[OURS][1])
        order = [OURS, report.NEW, report.LIST, report.COMMUNITY]
        names = [name for name in order if name in loaded]
        texts, out = work / "texts.csv", self.folder / "out.parquet"
        line = [*APP, "predict", str(loaded[OURS][1]), "--input", str(texts), "--output", str(out)]

        def once(name: str, _: int) -> Figures:
            if name == report.CLI:
                figures = run_timed(line, work)
                return {**figures, "texts_per_second": self.results.rows / figures["seconds"]}
            found: Figures = run_json([*child("predict", "bulk", *loaded[name], work)], work)
            return found

        run_timed(line, work)  # the warm-up
        rounds = self.options.rounds
        self.results.sections["bulk"] = alternate([*names, report.CLI], rounds, once)

    def cold(self) -> None:
        """Measure one text: a whole process, and in a loaded model."""
        work, loaded = self.work(), self.loaded()
        commands = {
            name: [*child("predict", "cold", package, model, ONE_TEXT)]
            for name, (package, model) in loaded.items()
        }
        commands[OURS] = [*APP, "predict", str(loaded[OURS][1]), ONE_TEXT]
        for command in commands.values():
            run_timed(command, work)  # the warm-up
        self.results.sections["cold"] = alternate(
            commands,
            COLD_RUNS * self.options.rounds,
            lambda name, _: run_timed(commands[name], work),
        )
        for name, command in commands.items():
            self.results.sections["cold"][name][0]["peak_mb"] = run_watched(command, work)[
                "peak_mb"
            ]
        loaded[report.WARM] = "fasttext_app_warm", loaded[OURS][1]
        self.results.sections["single"] = alternate(
            loaded,
            self.options.rounds,
            lambda name, _: run_json([*child("predict", "single", *loaded[name], work)], work),
        )
