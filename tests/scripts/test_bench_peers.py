"""The benchmark of the peers: what it parses, computes and writes, without running the peers."""

from __future__ import annotations

import argparse
import doctest
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers import SCRIPTS

sys.path.insert(0, str(SCRIPTS))
try:
    bench = import_module("bench_peers")
    measure, plot, report, rows = (
        import_module(f"peers.{name}") for name in ("measure", "plot", "report", "rows")
    )
    shapes, synthetic = import_module("peers.shapes"), import_module("peers.synthetic")
    names, pages = import_module("peers.contenders"), import_module("pages")
finally:
    sys.path.remove(str(SCRIPTS))


def make_run(seconds: float, accuracy: float, peak_mb: float = 500, size_mb: float = 400) -> list:
    return [{"seconds": seconds, "accuracy": accuracy, "peak_mb": peak_mb, "size_mb": size_mb}] * 3


@pytest.fixture
def results():
    return report.Results(
        87_232,
        3,
        "2 cores",
        {
            "train": {
                names.OURS: make_run(2.0, 0.924, 450, 16),
                names.PAPER: make_run(4.0, 0.919),
                names.TUTORIAL: make_run(80.0, 0.905)[:1],
            },
            "growth": {
                report.TENFOLD: make_run(8.0, 0.92, 900),
                report.PAPER_TENFOLD: make_run(40.0, 0.92),
            },
            "sizes": {
                **{name: [{"size_mb": 16.0, "accuracy": 0.924}] for name in report.PRUNINGS},
                report.QUANTIZED: [{"size_mb": 6.0, "accuracy": 0.9235}],
                report.CUT: [{"size_mb": 3.0, "accuracy": 0.9235}],
            },
            "bulk": {
                names.OURS: [{"texts_per_second": 900_000.0}],
                report.NEW: [{"texts_per_second": 300_000.0}],
            },
            "cold": {names.OURS: [{"seconds": 0.5, "peak_mb": 90.0}]},
            "single": {
                names.OURS: [{"median_ms": 0.4, "p99_ms": 0.6}],
                report.WARM: [{"median_ms": 0.08, "p99_ms": 0.2}],
            },
        },
        {"cuda": "no CUDA device"},
    )


@pytest.mark.parametrize(
    "module", [measure, plot, report, rows, synthetic], ids=lambda module: module.__name__
)
def test_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_medians_and_ratios():
    samples = {"a": [{"s": 3.0}, {"s": 1.0}, {"s": 2.0}], "b": [{"s": 4.0}, {}], "c": []}
    assert measure.median_of(samples, "a", "s") == 2.0
    assert measure.median_of(samples, "b", "s") == 4.0
    assert measure.median_of(samples, "c", "s") is None
    assert measure.median_of(samples, "absent", "s") is None
    assert measure.ratio(samples, "s", "a", "b") == 0.5
    assert measure.ratio(samples, "s", "a", "c") is None


def test_contenders_take_turns():
    order = []

    def run_once(name, round_index):
        order.append(f"{name}{round_index}")
        return {"seconds": float(len(order))}

    samples = measure.alternate(iter(["a", "b"]), 2, run_once)
    assert order == ["a0", "b0", "a1", "b1"]
    assert samples == {
        "a": [{"seconds": 1.0}, {"seconds": 3.0}],
        "b": [{"seconds": 2.0}, {"seconds": 4.0}],
    }


def test_commands_get_the_path_of_the_model():
    contender = names.published("peer", Path("/data"))
    command = measure.fill_in(contender.train, Path("/m.bin"))
    assert command[1:5] == ["-m", "peers.peer_fasttext", "train", "/data/train.txt"]
    assert command[5:] == ["/m.bin", "0.25", "10000000", "5"]
    flagged = names.ours("own", Path("/w"), "x", "--threads", "1")
    words = " ".join(measure.fill_in(flagged.train, Path("/m"), 3)[2:])
    assert words == "fasttext_app train --config x --output /m --seed 3 --overwrite --threads 1"


def test_every_recipe_takes_part_once_with_ours_first(tmp_path):
    contenders = names.training_contenders(tmp_path, ["ag_news_sgd"])
    recipes = [contender.name for contender in contenders]
    assert recipes[:2] == [names.OURS, "fasttext_app, `ag_news_sgd`"]
    assert len(set(recipes)) == len(recipes) == 7
    assert [contender.name for contender in contenders if contender.slow] == [names.TUTORIAL]
    assert {entry.package for entry in contenders} - {""} <= set(names.PACKAGES)


def test_shapes_compare_equal_settings(tmp_path):
    for shape in [*shapes.SHAPES, *shapes.TO_ITS_ACCURACY]:
        ours, theirs = shape.ours(tmp_path, 1), shape.fasttext(tmp_path, 1)
        assert f"trainer.epochs={shape.epochs}" in ours.train
        assert str(shape.their_epochs or shape.epochs) in theirs.train
        assert f"model.dim={shape.dim}" in ours.train
        assert {f"dim={shape.dim}", "thread=1", f"maxn={shape.characters[1]}"} <= {*theirs.train}
    names_of = {shape.name for shape in shapes.SHAPES}
    assert shapes.UNIGRAMS in names_of
    assert len(names_of) == len(shapes.SHAPES)


def test_new_rows_have_the_words_of_the_old_ones(tmp_path):
    for name, count in (("train", 40), ("test", 3)):
        lines = [f"__label__{i % 4 + 1} a{i % 4} b{i % 7} c{i % 5}\n" for i in range(count)]
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    (tmp_path / "ag_news").mkdir()
    (tmp_path / "ag_news" / "test.csv").write_text("")
    synthetic.ag_news(tmp_path, tmp_path / "new", "100")
    texts, labels = rows.read_labeled(tmp_path / "new" / "train.txt")
    assert (len(texts), set(labels)) == (100, {f"__label__{i}" for i in range(1, 5)})
    assert all(
        text.startswith(f"a{int(label[-1]) - 1} b")
        for text, label in zip(texts, labels, strict=True)
    )
    assert rows.read_csv(tmp_path / "new" / "ag_news" / "train.csv")[0] == texts


def test_new_labels_have_letters_of_their_own(tmp_path):
    synthetic.langid(SCRIPTS.parent / "data" / "langid", tmp_path / "new", "50", "200")
    _, labels = rows.read_labeled(tmp_path / "new" / "train.txt")
    assert len(set(labels)) == 50
    assert 190 < len(labels) < 260


def test_the_loop_and_the_shapes_have_tables(results):
    run = {"bytes": 8e9, "cutting": 0.5, "steps": 2.0, "serial": 0.1}
    run |= {"epoch_1": 2.0, "epoch_2": 1.0, "bandwidth_1": 1e10, "bandwidth_2": 1.6e10}
    first = shapes.SHAPES[0].name
    line = report.loop_table({first: [run]}).splitlines()[2]
    assert line.startswith(f"| {first} | 2.00 s | 1.00 s | 2.00 | 1.60 | 40 % / 50 % | 100 ms |")
    samples = {f"{first}, 2": make_run(4.0, 0.9), f"fastText, {first}, 2": make_run(5.0, 0.8)}
    line = report.shapes_table(samples).splitlines()[2]
    assert line == f"| {first} | 5 / 5 | 2 | 90.0 % | 80.0 % | 4.00 s | 5.00 s | 0.80 |"
    results.sections["shapes"] = samples
    assert report.without_import(results) is None


@pytest.mark.slow
def test_the_memory_of_a_command_includes_its_child_processes(tmp_path):
    """A process of 60 MB waits for another one of 60 MB."""
    hold = "import sys, subprocess, time; data = bytearray(60_000_000); "
    then = "subprocess.run([sys.executable, '-c', sys.argv[1]])"
    command = [sys.executable, "-c", hold + then, hold + "time.sleep(0.5)"]
    assert 120 < measure.run_watched(command, tmp_path)["peak_mb"] < 200
    alone = [sys.executable, "-c", hold + "time.sleep(0.5)"]
    assert 60 < measure.run_watched(alone, tmp_path)["peak_mb"] < 110


def test_a_failing_command_ends_the_benchmark(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no rows')"]
    for run_command in (measure.run_timed, measure.run_watched):
        with pytest.raises(SystemExit, match=r"(?s)failed:.*no rows"):
            run_command(command, tmp_path)


def test_children_use_the_bytecode_cache(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("KEPT", "yes")
    environment = measure.environment(Path("/data"))
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert (environment["KEPT"], environment["FASTTEXT_APP_DATA"]) == ("yes", "/data")


def test_sizes_of_files_and_folders(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.bin").write_bytes(b"x" * 1000)
    (tmp_path / "inner" / "b.bin").write_bytes(b"x" * 500)
    assert measure.size_mb(tmp_path) == pytest.approx(0.0015)
    assert measure.size_mb(tmp_path / "a.bin") == pytest.approx(0.001)
    measure.remove(tmp_path / "a.bin")
    measure.remove(tmp_path / "inner")
    measure.remove(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_rows_are_cut_and_repeated():
    assert rows.repeated(b'"1","a"\n"2","b"', None, 2) == b'"1","a"\n"2","b"\n' * 2
    assert rows.repeated(b"1\n2\n3\n", 1, 3) == b"1\n1\n1\n"
    assert rows.repeated(b"", 5, 10) == b""


def test_the_original_format_is_read_as_one_text(tmp_path):
    file = tmp_path / "train.csv"
    file.write_text('"3","Fears, ""again""","a\\break"\n"1","","only this"\n', encoding="utf-8")
    assert rows.read_csv(file) == (['Fears, "again" a break', "only this"], ["3", "1"])


def test_fasttexts_format_is_written_and_read_back(tmp_path):
    text = rows.labeled([["a", "cup"], []], ["Sports", "World"])
    assert text == "__label__2 a cup\n__label__1 \n"
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    assert rows.read_labeled(tmp_path / "train.txt") == (
        ["a cup", ""],
        ["__label__2", "__label__1"],
    )


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(0.5, False, "met"), (0.55, False, "met"), (0.6, False, "missed"), (0.6, True, "met"),
     (0.5, True, "missed"), (None, False, "-")],
)  # fmt: skip
def test_a_target_is_met_or_missed(value, at_least, verdict):
    target = report.Target("time", lambda _: value, 0.55, at_least=at_least)
    assert target.row(report.Results(0, 0, ""))[-1] == verdict


def test_every_target_has_its_row(results):
    results.sections["calls"] = {
        f"{report.NEW}, a list": [{"microseconds": 6.0}],
        "`predict(list)`": [{"microseconds": 2.0}],
        "one text, .bin": [{"microseconds": 8.0, "ratio": 0.8}],
    }
    rows = [target.row(results) for target in report.TARGETS]
    measured = {row[0]: row[1:] for row in rows if row[-1] != "-"}
    assert measured == {
        "default recipe: time": ["0.50", "≤ 0.55", "met"],
        "default recipe: accuracy minus fastText's": ["+0.50 points", "≥ +0.00 points", "met"],
        "default recipe: memory": ["0.90", "≤ 1.20", "met"],
        "10 times the rows: time": ["0.20", "≤ 0.25", "met"],
        "10 times the rows: memory": ["1.80", "≤ 1.20", "missed"],
        "size: fastText's model / ours": ["25", "≥ 20", "met"],
        "size: fastText's / 100,000 rows, quantized": ["133", "≥ 100", "met"],
        "the same: accuracy minus fastText's": ["+0.45 points", "≥ +0.00 points", "met"],
        "`predict(list)`: speed / fasttext-new's": ["3.00", "≥ 3.00", "met"],
        "one text, .bin: time in a loaded model": ["0.80", "≤ 0.70", "missed"],
        "one text, whole process: seconds": ["0.50 s", "≤ 0.30 s", "missed"],
        "one text, whole process: memory": ["90 MB", "≤ 130 MB", "met"],
    }
    assert len({row[0] for row in rows}) == len(rows)
    assert report.targets_table(results).count("\n") == len(rows) + 1


def test_pages_say_what_was_not_measured():
    empty = report.Results(100, 5, "2 cores", {}, {"cuda": "no CUDA device"})
    assert {target.row(empty)[1] for target in report.TARGETS} == {"not measured"}
    assert "cuda: no CUDA device." in report.long_form(empty)
    assert report.short_form(empty)
    assert report.points(empty["train"]) == []


def test_the_table_of_training(results):
    lines = report.training_table(results["train"]).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| fasttext_app | 92.40 % | 2.00 s | 0.50 | 450 MB | 16.0 MB |"
    assert lines[4] == "| torchtext tutorial | 90.50 % | 80.00 s | - | 500 MB | 400.0 MB |"
    assert "| 0.20 |" in report.training_table(results["growth"]).splitlines()[2]


def test_the_pages_name_the_rows_and_the_number_of_runs(results):
    for text in (report.long_form(results), report.short_form(results)):
        assert "87,232 of the 120,000 training rows" in text
        assert "Medians of 3 runs (the tutorial's recipe: 1)" in text
        assert "900,000" in text
    assert report.about_rows(120_000) == "the 120,000 training rows of AG_NEWS"


def test_only_the_text_between_the_markers_changes():
    page = "before\n<!-- peers:start -->\nold \\1\n<!-- peers:end -->\nafter\n"
    filled = pages.replace_between_markers(page, "peers", "new \\1 text")
    assert filled == page.replace("old", "new").replace("\\1", "\\1 text")
    assert pages.replace_between_markers(filled, "peers", "new \\1 text") == filled
    with pytest.raises(ValueError, match=r"<!-- other:start --> and .* are missing"):
        pages.replace_between_markers(page, "other", "text")


def test_parts_run_in_a_fixed_order():
    assert bench.parse_parts("cold, train") == ["train", "cold"]
    assert bench.parse_parts("") == []
    with pytest.raises(argparse.ArgumentTypeError, match="'speed' is not one of train"):
        bench.parse_parts("train,speed")


def test_results_are_stored_and_not_mixed_with_others(tmp_path, results):
    file = tmp_path / "results.json"
    assert bench.stored_results(file, results, ["train"]) is results
    bench.save_results(file, results)
    assert bench.stored_results(file, results, ["train"]) == results
    other = report.Results(87_232, 5, "2 cores")
    assert bench.stored_results(file, other, []) == results
    with pytest.raises(SystemExit, match=r"other rounds \(3\) than now \(5\)"):
        bench.stored_results(file, other, ["train"])


def test_labels_of_the_plot_keep_apart():
    assert plot.spread([2.0, 1.0, 1.1, 1.2], 0.5) == [2.0 + 0.5, 1.0, 1.5, 2.0]
    assert plot.spread([], 1.0) == []


@pytest.mark.slow
def test_equal_points_draw_equal_pictures(tmp_path, results):
    pytest.importorskip("matplotlib")
    points = report.points(results["train"])
    assert points[0] == (names.OURS, 2.0, pytest.approx(92.4))
    for name in ("one", "two"):
        plot.draw(points, tmp_path / f"{name}.svg")
    one, two = (tmp_path / f"{name}.svg" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert b"<dc:date>" not in one.read_bytes()
