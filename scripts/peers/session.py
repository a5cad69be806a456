"""One run of `bench_peers.py`: its parts, in each of which the contenders take turns."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable
from itertools import islice
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
    SCRIPTS,
    Measurements,
    Samples,
    alternate,
    fill_in,
    remove,
    run_json,
    run_timed,
    run_watched,
    size_mb,
)
from peers.shapes import IMPORT_TORCH, LANGID_ROWS, SHAPES, THREADS, TO_ITS_ACCURACY, Shape

COLD_RUNS = 3  # cold starts per round: they are short
CUDA_EPOCHS = 10  # timed epochs
ONE_TEXT = "Striker's late goal sends the champions into the cup final"
HAS_CUDA = "import json, torch; print(json.dumps(torch.cuda.is_available()))"


class Session:
    """One run of the benchmark: its options, the models it keeps, and its results."""

    def __init__(self, options: argparse.Namespace, folder: Path, results: report.Results) -> None:
        self.options = options
        self.folder = folder
        self.results = results
        self.source = Path(os.environ["FASTTEXT_APP_DATA"]) / "ag_news"

    def data(self) -> Path:
        """Return the folder with the rows, in every contender's format."""
        folder = self.folder / "rows"
        if not folder.exists():
            rows = [] if self.options.rows is None else [self.options.rows]
            print("writing the rows", file=sys.stderr)
            run_timed([*child("rows", self.source, folder, 1, *rows)], self.folder)
        return folder

    def tenfold(self) -> Path:
        """Return the folder with ten times as many rows, made from the words pairs of the rows."""
        folder, data = self.folder / "tenfold", self.data()
        if not folder.exists():
            print("making ten times the rows", file=sys.stderr)
            rows = 10 * self.results.rows
            run_timed([*child("synthetic", "ag_news", data, folder, rows)], self.folder)
        return folder

    def rows_of(self, shape: Shape) -> Path:
        """Return the folder with the rows of a shape."""
        if not shape.labels:
            return self.data()
        folder = self.folder / f"labels{shape.labels}"
        if not folder.exists():
            rows = self.options.rows or LANGID_ROWS
            arguments = SCRIPTS.parent / "data" / "langid", folder, shape.labels, rows
            run_timed([*child("synthetic", "langid", *arguments)], self.folder)
        return folder

    def warmed_up(self, contender: Contender) -> Path:
        """Return the model of the contender's warm-up run, which happens once and is not timed."""
        slug = "".join(letter if letter.isalnum() else "_" for letter in contender.name)
        model = self.folder / "models" / slug
        if not model.exists():
            model.parent.mkdir(exist_ok=True)
            print(f"warming up: {contender.name}", file=sys.stderr)
            run_timed(fill_in(contender.train, model), contender.data)
        return model

    def train_once(self, contender: Contender, seed: int) -> Measurements:
        """Train in a timed process, and score the saved model in another."""
        model = self.folder / "measured"
        run = run_watched if contender.slow else run_timed
        measured = run(fill_in(contender.train, model, seed), contender.data)
        measured["accuracy"] = run_json(fill_in(contender.score, model), contender.data)["accuracy"]
        measured["size_mb"] = size_mb(model)
        remove(model)
        return measured

    def measure_training(self, section: str, contenders: Iterable[Contender], rounds: int) -> None:
        """Measure contenders in turns, into a section of the results."""
        available = {c.name: c for c in contenders if self.available(c.name, c.package)}
        for contender in available.values():
            if not contender.slow:
                self.warmed_up(contender)
        samples = alternate(
            available, rounds, lambda name, seed: self.train_once(available[name], seed)
        )
        for name, contender in available.items():
            if not contender.slow:  # memory is sampled in a run of its own, which is not timed
                model = self.folder / "measured"
                watched = run_watched(fill_in(contender.train, model), contender.data)
                samples[name][0]["peak_mb"] = watched["peak_mb"]
                remove(model)
        self.results.sections.setdefault(section, {}).update(samples)

    def available(self, name: str, package: str) -> bool:
        """Return whether a contender's package is installed; note if it is not."""
        found = installed(package)
        self.note(name, "" if found else f"left out, {PACKAGES[package]} is not installed")
        return found

    def note(self, name: str, reason: str) -> None:
        """Record and print why something was not measured; an empty reason removes the note."""
        self.results.notes.pop(name, None)
        if reason:
            self.results.notes[name] = reason
            print(f"{name}: {reason}", file=sys.stderr)

    def train(self) -> None:
        """Measure every recipe, the sizes of smaller models, and an epoch on CUDA."""
        contenders = training_contenders(self.data(), self.options.also)
        self.results.sections.pop("train", None)
        fast = [contender for contender in contenders if not contender.slow]
        self.measure_training("train", fast, self.options.rounds)
        slow = [contender for contender in contenders if contender.slow]
        self.measure_training("train", slow, self.options.slow_rounds)
        self.sizes(contenders[0])
        self.cuda(contenders[0])

    def sizes(self, contender: Contender) -> None:
        """Measure size and accuracy of our model: with and without pruning, and quantized."""
        model, smaller = self.folder / "sizes", self.folder / "smaller"
        sizes: Samples = {}

        def add(name: str, path: Path) -> None:
            accuracy = run_json(fill_in(contender.score, path), contender.data)["accuracy"]
            sizes.setdefault(name, []).append({"size_mb": size_mb(path), "accuracy": accuracy})

        for seed in range(self.options.rounds):
            for name, flags in report.PRUNINGS.items():
                run_timed([*fill_in(contender.train, model, seed), *flags], contender.data)
                add(name, model)
            for name, flags in report.QUANTIZINGS.items():
                command = [*APP, "quantize", str(model), "--output", str(smaller), "--overwrite"]
                command += flags
                run_timed(command, contender.data)
                add(name, smaller)
        self.results.sections["sizes"] = sizes

    def cuda(self, contender: Contender) -> None:
        """Time training epochs on CUDA, if there is a device."""
        has_cuda = run_json([sys.executable, "-c", HAS_CUDA], self.folder)
        self.note("cuda", "" if has_cuda else "no CUDA device")
        if not has_cuda:
            return
        command = fill_in(contender.train, self.folder / "cuda")
        flags = ["--device", "cuda", "--epochs", str(CUDA_EPOCHS + 1), "--json"]
        printed = run_json([*command, *flags], contender.data)
        epochs = printed["epochs"][1:]  # the first one compiles the kernels
        milliseconds = [{"epoch_ms": 1000 * epoch["seconds"]} for epoch in epochs]
        self.results.sections["cuda"] = {OURS: milliseconds}

    def growth(self) -> None:
        """Measure us and fastText on 1 and 10 times the rows, and us on 1 and 2 threads."""
        once, tenfold = self.data(), self.tenfold()
        rows = [ours(OURS, once), published(PAPER, once)]
        rows += [ours(report.TENFOLD, tenfold), published(report.PAPER_TENFOLD, tenfold)]
        threads = [
            ours(f"{OURS}, --threads {count}", once, "ag_news", "--threads", str(count))
            for count in (1, 2)
        ]
        self.results.sections.pop("growth", None)
        self.measure_training("growth", [*rows, *threads], self.options.rounds)

    def shapes(self) -> None:
        """Measure models of other shapes, ours and fastText's, on 2 and on 1 threads."""
        contenders: list[Contender] = []
        for shape in [*SHAPES, *TO_ITS_ACCURACY]:
            data = self.rows_of(shape)
            for threads in THREADS:
                contenders += shape.ours(data, threads), shape.fasttext(data, threads)
        contenders = [one for one in contenders if self.available(one.name, one.package)]
        for contender in contenders:
            if contender.name.endswith(f", {THREADS[0]}"):
                self.warmed_up(contender)
        by_name = {contender.name: contender for contender in contenders}
        samples = alternate(
            by_name,
            self.options.shape_rounds,
            lambda name, seed: self.train_once(by_name[name], seed),
        )
        import_torch = [sys.executable, "-c", "import torch"]
        samples[IMPORT_TORCH] = [
            run_timed(import_torch, self.folder) for _ in range(self.options.rounds)
        ]
        self.results.sections["shapes"] = samples

    def loop(self) -> None:
        """Measure the training loop alone, on 1 and 2 threads."""
        self.results.sections["loop"] = {}
        for shape in SHAPES:
            data = self.rows_of(shape)
            threads = ",".join(map(str, sorted(THREADS)))
            command = child("loop", shape.source(data), threads, *shape.settings)
            measured = run_json([*command], data)
            shown = ", ".join(f"{key} {value:,.4g}" for key, value in measured.items())
            print(f"{shape.name}: {shown}", file=sys.stderr)
            self.results.sections["loop"][shape.name] = [measured]

    def loaded(self) -> dict[str, tuple[str, Path]]:
        """Return the packages that predict, and their models: {name: (package, model)}."""
        data = self.data()
        loaded = {OURS: ("fasttext_app", self.warmed_up(ours(OURS, data)))}
        paper = published(PAPER, data)
        if self.available(paper.name, paper.package):
            loaded[report.COMMUNITY] = ("fasttext", self.warmed_up(paper))
            if self.available(report.NEW, "fasttext_new"):
                loaded[report.NEW] = ("fasttext_new", self.warmed_up(paper))
        return loaded

    def predict(self) -> None:
        """Measure bulk prediction: by loaded models, and by the command line."""
        data, loaded = self.data(), self.loaded()
        loaded[report.LIST] = ("fasttext_app_list", loaded[OURS][1])
        order = [OURS, report.NEW, report.LIST, report.COMMUNITY]
        names = [name for name in order if name in loaded]
        texts, output = str(data / "texts.csv"), str(self.folder / "out.parquet")
        command = [*APP, "predict", str(loaded[OURS][1]), "--input", texts, "--output", output]
        command.append("--overwrite")

        def measure(name: str, _: int) -> Measurements:
            if name == report.CLI:
                seconds = run_timed(command, data)["seconds"]
                return {"seconds": seconds, "texts_per_second": self.results.rows / seconds}
            measured: Measurements = run_json(
                [*child("predict", "bulk", *loaded[name], data)], data
            )
            return measured

        run_timed(command, data)  # the warm-up
        rounds = self.options.rounds
        self.results.sections["bulk"] = alternate([*names, report.CLI], rounds, measure)

    def calls(self) -> None:
        """Measure the calls that people make, ours and fastText's by turns."""
        self._measured_at_once("calls")

    def formats(self) -> None:
        """Measure prediction from file to file, by format."""
        self._measured_at_once("formats")

    def _measured_at_once(self, section: str) -> None:
        loaded = self.loaded()
        if report.COMMUNITY not in loaded:
            return
        models = loaded[OURS][1], loaded[report.COMMUNITY][1]
        measured = run_json(
            [*child("calls", section, *models, self.data(), self.folder)], self.data()
        )
        self.results.sections[section] = {name: [values] for name, values in measured.items()}

    def cold_files(self) -> None:
        """Measure whole processes that label 1,000 rows, and a first run, which compiles."""
        data, loaded = self.data(), self.loaded()
        rows, model = self.folder / "thousand.csv", str(loaded[OURS][1])
        with (data / "texts.csv").open(encoding="utf-8") as file:
            table = list(islice(csv.reader(file), 1001))
        with rows.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table)
        output = str(self.folder / "thousand.jsonl")
        ours_command = [*APP, "predict", model, "--input", str(rows), "--output", output]
        commands = {report.THOUSAND: [*ours_command, "--overwrite"]}
        if report.COMMUNITY in loaded:
            paper = loaded[report.COMMUNITY][1]
            commands[report.THEIR_THOUSAND] = [
                *child("calls", "thousand", paper, data, self.folder)
            ]
        for command in commands.values():
            run_timed(command, data)  # the warm-up
        samples = alternate(
            commands, self.options.rounds, lambda name, _: run_timed(commands[name], data)
        )
        many = ["predict", model, "--input", str(data / "texts.csv"), "--output", output]
        for name, command in (
            (report.FIRST_RUN, [*APP, *many, "--overwrite"]),
            (report.WARM_UP, [*APP, "warm-up"]),
        ):
            cache = self.folder / f"cache {name}"
            cache.mkdir()
            empty = ["env", f"NUMBA_CACHE_DIR={cache}", *command]
            samples[name] = [run_timed(empty, data)]
        self.results.sections["cold files"] = samples

    def cold(self) -> None:
        """Measure the prediction of one text: by a whole process, and by a loaded model."""
        data, loaded = self.data(), self.loaded()
        commands = {
            name: [*child("predict", "cold", package, model, ONE_TEXT)]
            for name, (package, model) in loaded.items()
        }
        commands[OURS] = [*APP, "predict", str(loaded[OURS][1]), ONE_TEXT]
        self.cold_files()
        for command in commands.values():
            run_timed(command, data)  # the warm-up
        self.results.sections["cold"] = alternate(
            commands,
            COLD_RUNS * self.options.rounds,
            lambda name, _: run_timed(commands[name], data),
        )
        for name, command in commands.items():
            self.results.sections["cold"][name][0]["peak_mb"] = run_watched(command, data)[
                "peak_mb"
            ]
        loaded[report.WARM] = "fasttext_app_warm", loaded[OURS][1]
        self.results.sections["single"] = alternate(
            loaded,
            self.options.rounds,
            lambda name, _: run_json([*child("predict", "single", *loaded[name], data)], data),
        )
