"""The files and output of ``fasttext-app ft``, compared with the original library."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from fasttext_app import compat
from fasttext_app.errors import ArtifactError
from fasttext_app.fasttext.file_format import read_file
from fasttext_app.inference.classifier import TextClassifier
from tests.helpers import run_cli

QUICK = "-dim", "4", "-epoch", "2", "-lr", "0.5", "-thread", "1"


@pytest.fixture
def ft(workdir):
    """Run a command in an empty folder; return its lines of output, and its messages."""

    def run(*arguments, code=0):
        result = run_cli("ft", *arguments, code=code)
        return result.stdout_bytes.decode().splitlines(), result.stderr

    return run


@pytest.fixture
def data(labeled_file, tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(labeled_file.read_bytes())
    return path


@pytest.mark.slow
def test_a_model_is_trained_evaluated_and_queried(ft, data, original):
    _, notes = ft("supervised", "-input", data, "-output", "m", *QUICK, "-epoch", "9")
    model = original.load_model("m.bin")
    assert notes == f"Number of words:  {len(model.words)}\nNumber of labels: 4\n"
    lines, precision, recall = model.test(str(data))
    scored, _ = ft("test", "m.bin", data)
    assert scored == [f"N\t{lines}", f"P@1\t{precision:.3g}", f"R@1\t{recall:.3g}"]
    text = data.read_text(encoding="utf-8").splitlines()[0].split(" ", 1)[1]
    (data.parent / "text.txt").write_text(text + "\n", encoding="utf-8")
    (answer,), _ = ft("predict-prob", "m.bin", "text.txt", "2")
    labels, proba = model.predict(text, k=2)
    assert answer.split()[::2] == list(labels)
    np.testing.assert_allclose([float(p) for p in answer.split()[1::2]], proba, atol=2e-6)
    (best,), _ = ft("predict", "m.bin", "text.txt")
    assert best == labels[0]
    by_label, _ = ft("test-label", "m.bin", data)
    assert len(by_label) == 4 + 3


@pytest.mark.slow
def test_flags_of_the_other_command_are_accepted_without_effect(ft, data, tmp_path):
    flags = ("-cutoff", "9", "-retrain", "-qnorm", "-qout", "-dsub", "3", "-verbose", "0")
    _, notes = ft("supervised", "-input", data, "-output", "m", *QUICK, *flags)
    unused = "-cutoff, -retrain, -qnorm, -qout, -dsub"
    assert notes.startswith(f"without effect here: {unused} (see ft quantize)\n")
    ft("supervised", "-input", data, "-output", "n", *QUICK)
    assert (tmp_path / "m.bin").read_bytes() == (tmp_path / "n.bin").read_bytes()
    _, notes = ft("quantize", "-output", "m", "-loss", "ova", "-dim", "7")
    assert notes.startswith("without effect here: -loss, -dim (see ft supervised)\n")


@pytest.mark.slow
def test_save_output_writes_the_output_vectors(ft, data, original, tmp_path):
    ft("supervised", "-input", data, "-output", "plain", *QUICK)
    ft("supervised", "-input", data, "-output", "m", "-saveOutput", *QUICK)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["m.bin", "m.output", "m.vec", "plain.bin", "plain.vec", "train.txt"]
    model = original.load_model("m.bin")
    head, *rows = (tmp_path / "m.output").read_text(encoding="utf-8").splitlines()
    assert head == "4 4"
    assert [row.split(" ", 1)[0] for row in rows] == model.labels
    numbers = [[float(number) for number in row.split()[1:]] for row in rows]
    np.testing.assert_allclose(numbers, model.get_output_matrix(), rtol=1e-4)
    words = (tmp_path / "m.vec").read_text(encoding="utf-8").splitlines()
    assert words[0] == f"{len(model.words)} 4"
    assert [line.split(" ", 1)[0] for line in words[1:]] == model.words


@pytest.mark.slow
def test_rare_labels_and_lines_without_one_are_left_out(ft, tmp_path):
    rows = (
        b"__label__a u \xff\n__label__b v\nno label\n__label__c w\n" + b"__label__a __label__b x\n"
    )
    (tmp_path / "t.txt").write_bytes(rows)
    ft("supervised", "-input", "t.txt", "-output", "m", "-minCountLabel", "2", *QUICK)
    file = read_file("m.bin")
    assert sorted(file.dictionary.labels) == [b"__label__a", b"__label__b"]
    assert {b"\xff", b"no", b"w"} <= set(file.dictionary.words)


# --- refusals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["-dim", "0"], 1, "error: -dim: must be greater than or equal to 1 (got 0)"),
        (["-lr", "-1"], 1, "error: -lr: must be a number of at least 0 (got -1.0)"),
        (["-lr", "1e20"], 1, "lower -lr (it is 1e+20)"),
        (["-loss", "hinge"], 1, "error: -loss: must be"),
        (["-thread", "-2"], 1, "error: -thread: must be greater than or equal to 0"),
        (["-lr", "fast"], 2, "-lr: 'fast' is not a number"),
        (["-epoch"], 2, "-epoch is missing an argument"),
        (["-inputt", "x"], 2, "unknown argument: -inputt; did you mean '-input'?"),
        (["-wordngrams", "2"], 2, "unknown argument: -wordngrams; did you mean '-wordNgrams'?"),
        (["lr", "2"], 2, "unknown argument: lr; did you mean '-lr'?"),
        (
            ["-autotune-validation", "v"],
            1,
            "-autotune-validation: autotune is not supported; search",
        ),
        (["-autotune-metric", "f1"], 1, "`fasttext-app tune`"),
        (["-pretrainedVectors", "no.vec"], 1, "no.vec: no such file"),
        (["-minCount", "9999"], 1, "none of the 600 training texts has a word"),
    ],
)
def test_a_refusal_names_the_flag(ft, data, tmp_path, flags, code, message):
    _, notes = ft("supervised", "-input", data, "-output", "m", *QUICK, *flags, code=code)
    assert message in " ".join(notes.replace("│", "").split())
    assert "optimizer." not in notes
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize("command", ["skipgram", "cbow"])
def test_word_vectors_are_not_trained(ft, command):
    _, notes = ft(command, "-input", "x", "-output", "y", "-dim", "3", code=1)
    assert notes.startswith(f"error: {command}: this program trains classifiers only; ")


@pytest.mark.slow
def test_unwritable_outputs_are_refused_before_training(ft, data, tmp_path):
    (tmp_path / "m.output").mkdir()
    _, notes = ft("supervised", "-input", data, "-output", "m", "-saveOutput", code=1)
    assert "m.output: is a folder or a device" in notes
    _, notes = ft("supervised", "-input", data, "-output", "no/m", code=1)
    assert "no/m: there is no folder no" in notes
    _, notes = ft("supervised", "-input", "no.txt", "-output", "m", code=1)
    assert notes == "error: no.txt: no such file\n"


# --- quantizing


@pytest.fixture(scope="module")
def model_file(labeled_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("ft") / "m.bin"
    options = {"dim": 10, "wordNgrams": 2, "bucket": 800, "epoch": 6, "lr": 1.0, "thread": 1}
    compat.train_supervised(labeled_file, **options).save_model(path)
    return path


@pytest.fixture
def trained(ft, model_file, tmp_path):
    shutil.copy(model_file, tmp_path)


@pytest.fixture(scope="module")
def quantized_file(model_file):
    run_cli("ft", "quantize", "-output", model_file.with_suffix(""))
    return model_file.with_suffix(".ftz")


@pytest.fixture
def quantized(trained, quantized_file, tmp_path):
    shutil.copy(quantized_file, tmp_path)


@pytest.mark.slow
def test_retraining_improves_a_pruned_model(ft, data, trained, original):
    ft("quantize", "-output", "m", "-cutoff", "300", "-dsub", "5")
    before = original.load_model("m.ftz").test(str(data))[1]
    _, notes = ft(
        *("quantize", "-output", "m", "-input", data, "-cutoff", "300", "-retrain"),
        *("-epoch", "10", "-lr", "0.5", "-thread", "1", "-dsub", "5"),
    )
    model = original.load_model("m.ftz")
    assert model.is_quantized()
    after = model.test(str(data))[1]
    assert after > before + 0.02
    size, score = notes.splitlines()
    assert size.startswith("Size: ")
    whole = original.load_model("m.bin").test(str(data))[1]
    assert score == f"P@1 on {data}: {whole:.3f}, now {after:.3f}"
    assert read_file("m.ftz").args.epoch == 10
    ours = compat.load_model("m.ftz")
    assert ours.test(data) == model.test(str(data))


@pytest.mark.slow
def test_qout_quantizes_the_output_matrix(ft, tmp_path, labeled_rows, original):
    rows = [f"__label__{number % 300} {text}\n" for number, (_, text) in enumerate(labeled_rows)]
    (tmp_path / "many.txt").write_text("".join(rows), encoding="utf-8")
    ft("supervised", "-input", "many.txt", "-output", "m", *QUICK, "-epoch", "5")
    ft("quantize", "-output", "m", "-qout", "-qnorm")
    theirs, ours = original.load_model("m.ftz"), compat.load_model("m.ftz")
    assert read_file("m.ftz").output.norm_codes is not None
    for _, text in labeled_rows[:100]:
        (_, expected), (_, found) = theirs.predict(text, k=5), ours.predict(text, k=5)
        np.testing.assert_allclose(found, np.minimum(expected, 1), rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["-qout"], 1, "error: qout: the linear layer is too small: it has 4 labels and needs 256"),
        (["-retrain"], 2, "empty input or output path: give -input"),
        (
            ["-cutoff", "9"],
            1,
            "error: the table is too small for product codes: it has 9 rows",
        ),
        (["-dsub", "0"], 1, "error: dsub = 0: must be at least 1"),
        (["-qouts"], 2, "unknown argument: -qouts; did you mean '-qout'?"),
    ],
)
def test_an_impossible_quantization_is_refused(ft, trained, tmp_path, flags, code, message):
    _, notes = ft("quantize", "-output", "m", *flags, code=code)
    assert message in " ".join(notes.replace("│", "").split())
    assert not (tmp_path / "m.ftz").exists()


@pytest.mark.slow
def test_a_bad_learning_rate_of_retraining_names_its_flag(ft, data, trained):
    flags = ("-input", data, "-cutoff", "300", "-retrain")
    _, notes = ft("quantize", "-output", "m", *flags, "-lr", "-1", code=1)
    assert notes.startswith("error: -lr: ")
    _, notes = ft("quantize", "-output", "m", *flags, "-lr", "1e25", code=1)
    assert "lower -lr (it is 1e+25)" in notes


# --- the contents of a file


@pytest.mark.slow
def test_the_vectors_of_character_ngrams_are_printed(ft, data, original):
    flags = ("-minn", "2", "-maxn", "3", "-bucket", "99")
    ft("supervised", "-input", data, "-output", "m", *QUICK, *flags)
    model = original.load_model("m.bin")
    word = model.words[3]
    lines, _ = ft("print-ngrams", "m.bin", word)
    names, rows = model.get_subwords(word)
    assert [line.split(" ")[0] for line in lines] == names
    for line, row in zip(lines, rows, strict=True):
        numbers = [float(number) for number in line.split()[1:]]
        np.testing.assert_allclose(numbers, model.get_input_vector(row), rtol=1e-4)


@pytest.mark.slow
def test_dump_prints_each_part_of_a_file(ft, data, original):
    ft("supervised", "-input", data, "-output", "m", *QUICK, "-loss", "ova", "-ws", "3")
    model = original.load_model("m.bin")
    settings = dict(line.split(" ") for line in ft("dump", "m.bin", "args")[0])
    assert settings == {
        **{"dim": "4", "ws": "3", "epoch": "2", "minCount": "1", "neg": "5", "wordNgrams": "1"},
        **{"loss": "one-vs-all", "model": "sup", "bucket": "0", "minn": "0", "maxn": "0"},
        **{"lrUpdateRate": "100", "t": "0.0001"},
    }
    size, *entries = ft("dump", "m.bin", "dict")[0]
    words, counts = model.get_words(include_freq=True)
    expected = [f"{word} {count} word" for word, count in zip(words, counts, strict=True)]
    names, seen = model.get_labels(include_freq=True)
    expected += [f"{name} {count} label" for name, count in zip(names, seen, strict=True)]
    assert (int(size), entries) == (len(expected), expected)
    for part, matrix in (
        ("input", model.get_input_matrix()),
        ("output", model.get_output_matrix()),
    ):
        shape, *rows = ft("dump", "m.bin", part)[0]
        assert shape == f"{matrix.shape[0]} {matrix.shape[1]}"
        numbers = [[float(number) for number in row.split(" ")] for row in rows]
        np.testing.assert_allclose(numbers, matrix, rtol=1e-5)


@pytest.mark.slow
def test_dump_refuses_unknown_parts_and_quantized_matrices(ft, quantized):
    _, notes = ft("dump", "m.ftz", "output", code=1)
    assert notes.startswith("error: dump output: the model is quantized; ")
    _, notes = ft("dump", "m.bin", "everything", code=2)
    assert "must be one of args, dict, input, output" in notes


# --- fastText's files in place of a model directory


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".bin", ".ftz"])
def test_every_command_accepts_a_fasttext_file(
    run, quantized, data, tmp_path, suffix, labeled_rows
):
    file, folder = f"m{suffix}", "imported"
    run("import", file, "--output", folder)
    text = labeled_rows[0][1]
    for arguments in (
        ("predict", "MODEL", text, "--format", "jsonl", "--top-k", "3"),
        ("inspect", "MODEL", text),
        ("evaluate", "MODEL", "--data", data, "--json"),
    ):
        shown = [
            run(*(model if word == "MODEL" else word for word in arguments)).stdout
            for model in (file, folder)
        ]
        assert shown[0] == shown[1] != ""
    run("export", file, "again" + suffix)
    assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / file).read_bytes()


@pytest.mark.slow
def test_a_file_is_quantized_into_a_directory(run, trained, data):
    shown = run(
        *("quantize", "m.bin", "--output", "small", "--product", "--cutoff", "300"),
        *("--retrain", data, "--epochs", "20", "--lr", "8", "--data", data),
    )
    assert "saved the smaller model to small" in shown.stdout
    plain = run("quantize", "m.bin", "--output", "plain", "--product", "--cutoff", "300",
                    "--data", data, "--json")  # fmt: skip
    retrained = json.loads(run("evaluate", "small", "--data", data, "--json").stdout)
    before = json.loads(plain.stdout)["after"]
    assert retrained["accuracy"] > before["accuracy"] + 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--retrain", "sample"], "--retrain: needs --cutoff"),
        (["--cutoff", "300", "--epochs", "3"], "--retrain: is needed for --epochs and --lr"),
        (["--qout"], "--product: is needed for --dsub, --qnorm and --qout"),
    ],
)
def test_options_without_effect_are_refused(run, trained, flags, message):
    refused = run("quantize", "m.bin", "--output", "small", *flags, code=2)
    assert message in " ".join(refused.stderr.replace("│", "").split())


@pytest.mark.slow
def test_info_shows_what_a_file_stores_and_no_defaults(run, ft, data):
    ft("supervised", "-input", data, "-output", "m", *QUICK, "-ws", "9", "-loss", "ns", "-neg", "3")
    shown = run("info", "m.bin").stdout
    for stored in ("imported from", "m.bin", "ws 9", "trainer.epochs", "model.negatives"):
        assert stored in shown
    for default in ("optimizer", "best epoch", "trainer.seed", "data.validation", "batch_size"):
        assert default not in shown
    document = json.loads(run("info", "m.bin", "--json").stdout)
    assert set(document["config"]) == {"data", "text", "model", "trainer"}
    assert document["data"]["fasttext"] == {"ws": 9, "neg": 3, "lr_update_rate": 100, "t": 1e-4}
    run("import", "m.bin", "--output", "model")
    card = (data.parent / "model" / "README.md").read_text(encoding="utf-8")
    assert card.partition("\n---\n")[2].startswith(
        "\n# Text classifier imported from a fastText file with fasttext_app"
    )
    assert "\n- imported from: m.bin\n" in card


@pytest.mark.slow
def test_a_file_that_is_not_a_model_is_refused(run, data, trained):
    refused = run("predict", data, "text", code=1)
    assert refused.stderr == f"error: {data}: is neither a model directory nor a fastText file\n"
    (data.parent / "cut.bin").write_bytes((data.parent / "m.bin").read_bytes()[:99])
    assert (
        "cut.bin: is not a valid fastText model: "
        in run("predict", "cut.bin", "text", code=1).stderr
    )
    assert (
        "none.bin: no such file; check the path"
        in run("predict", "none.bin", "text", code=1).stderr
    )


def test_the_python_api_loads_a_fasttext_file(ft, trained, labeled_rows):
    import fasttext_app

    with pytest.raises(
        ArtifactError, match=r"m\.bin: is a file, not a model directory; fasttext_app"
    ):
        TextClassifier.load("m.bin")
    text = labeled_rows[0][1]
    (label,) = fasttext_app.load("m.bin").predict(text).labels
    assert compat.load_model("m.bin").predict(text)[0] == (f"__label__{label}",)


# --- queries on standard input


@pytest.mark.parametrize(("command", "answers"), [("nn", 6), ("analogies", 2)])
def test_query_words_may_have_any_bytes(trained, command, answers):
    result = run_cli("ft", command, "m.bin", "2", stdin=b"\xff goal match\n")
    lines = re.split("Query .*?[?] |\n", result.stdout_bytes.decode())
    assert len([line for line in lines if line]) == answers


# --- vectors to start from


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".bin", ".ftz"])
def test_training_starts_from_the_vectors_of_a_file(run, ft, data, original, suffix):
    flags = ("-minn", "2", "-maxn", "3", "-bucket", "400")
    ft("supervised", "-input", data, "-output", "m", *QUICK, *flags)
    if suffix == ".ftz":
        ft("quantize", "-output", "m")
    words = compat.load_model(f"m{suffix}").words[:3]
    data.write_text(f"__label__a {words[0]} unseen\n__label__b {words[1]} q\n", encoding="utf-8")
    ft("supervised", "-input", data, "-output", "n", *QUICK, "-lr", "1e-9",
       "-pretrainedVectors", f"m{suffix}")  # fmt: skip
    theirs, ours = original.load_model(f"m{suffix}"), original.load_model("n.bin")
    for word in (words[0], words[1], "unseen"):
        _, rows = theirs.get_subwords(word)
        mean = np.mean([theirs.get_input_vector(row) for row in rows], axis=0)
        found = ours.get_input_vector(ours.get_word_id(word))
        np.testing.assert_allclose(found, mean, atol=1e-5)


def test_vectors_of_another_dimension_are_refused(ft, data, trained):
    flags = ("-dim", "4", "-pretrainedVectors", "m.bin")
    _, notes = ft("supervised", "-input", data, "-output", "n", *QUICK, *flags, code=1)
    assert notes == "error: m.bin: its vectors have dimension 10; set -dim = 10\n"


# --- compressed files


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_compressed_files_are_read(ft, data, suffix):
    packed = f"packed.txt{suffix}"
    Path(packed).write_bytes(gzip.compress(data.read_bytes()))
    ft("supervised", "-input", data, "-output", "plain", *QUICK)
    ft("supervised", "-input", packed, "-output", "packed", *QUICK)
    assert Path("packed.bin").read_bytes() == Path("plain.bin").read_bytes()
    for command in ("test", "predict", "predict-prob"):
        assert ft(command, "plain.bin", packed) == ft(command, "plain.bin", data)


@pytest.mark.slow
def test_other_kinds_of_files_are_refused(ft, data):
    ft("supervised", "-input", data, "-output", "m", *QUICK)
    Path("x.txt").write_bytes("a line\n".encode("utf-16"))
    for arguments in (
        ("predict", "m.bin", "x.txt"),
        ("test", "m.bin", "x.txt"),
        ("supervised", "-input", "x.txt", "-output", "n"),
    ):
        assert ft(*arguments, code=1) == (
            [],
            "error: x.txt: is UTF-16 or UTF-32 text; save it as UTF-8\n",
        )
