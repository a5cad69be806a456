"""``export_onnx`` and ``fasttext-app export --format onnx``: files, checks, refusals, scorers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError, MissingDependencyError
from fasttext_app.onnx import export, export_onnx
from fasttext_app.onnx.encoder import encoder_document
from fasttext_app.onnx.fasttext_onnx import Encoder, Scorer
from tests.helpers import contents, run_cli
from tests.onnx.models import NGRAMS, REWRITING, TOKENIZERS, random_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FILES = ["fasttext_onnx.mjs", "fasttext_onnx.py", "model.json", "model.onnx"]


@pytest.fixture
def model(tiny_model_dir):
    return ft.load(tiny_model_dir)


@pytest.mark.slow
@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_scorer_gives_every_text_our_ids(tokenizer, prune, texts):
    artifact = random_model(tokenizer=tokenizer, prune=prune, **NGRAMS)
    encoder = Encoder(json.loads(json.dumps(encoder_document(artifact))))
    assert [encoder.row_ids(text) for text in texts] == artifact.encoder().encode(texts).to_lists()


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["unicode", "whitespace"])
def test_the_scorer_rewrites_texts_as_we_do(tokenizer, texts):
    artifact = random_model(tokenizer=tokenizer, **NGRAMS, **REWRITING)
    encoder = Encoder(encoder_document(artifact))
    ours = artifact.encoder().tokenizer
    assert [encoder.tokens(text) for text in texts] == ours.split(texts)


def test_the_scorer_refuses_half_a_character_as_we_do():
    encoder = Encoder(encoder_document(random_model()))
    with pytest.raises(UnicodeEncodeError):
        encoder.row_ids("half \ud83d")


def test_the_scorer_refuses_a_newer_document():
    document = encoder_document(random_model()) | {"format_version": 2}
    with pytest.raises(ValueError, match="this scorer reads version 1"):
        Encoder(document)


@pytest.mark.slow
def test_the_files_of_an_export(model, tmp_path, tiny_examples):
    files = export_onnx(model, tmp_path / "model.onnx", [text for text, _ in tiny_examples])
    assert sorted(file.name for file in files) == FILES == sorted(contents(tmp_path))
    texts = ["the team won", "", "shares fell 😀"]
    near = pytest.approx(model.predict_proba(texts), abs=1e-5)
    assert Scorer(tmp_path / "model.onnx").probabilities(texts) == near
    export_onnx(model, tmp_path / "model.onnx")  # as `save` does, it replaces an earlier one


@pytest.mark.slow
def test_a_calibrated_ensemble_can_be_exported_quantized_or_not(tiny_examples, tmp_path):
    texts, labels = map(list, zip(*tiny_examples * 5, strict=True))
    labels[::7] = ["sport"] * len(labels[::7])  # so that some rows are predicted wrong
    settings = {"ensemble": 2, "calibrate": True, "validation": 0.3, "epochs": 2, "dim": 4}
    model = ft.train(texts, labels, **settings, fold=False, verbose=False, bucket=5000)
    assert "temperature" in model.artifact.calibration
    for smaller in (model, model.quantize()):
        export_onnx(smaller, tmp_path / "model.onnx", texts)


@pytest.mark.slow
@pytest.mark.parametrize("quantized", [None, {"qnorm": True}])
@pytest.mark.parametrize("loss", ["softmax", "ova", "hs"])
def test_a_model_of_fasttext_can_be_exported(train_original, tmp_path, loss, quantized, texts):
    path = train_original(quantized, loss=loss, wordNgrams=2, minn=2, maxn=4, bucket=2000)
    (tmp_path / "texts.txt").write_text("日本語 the team\n\nwön\n")
    run_cli("export", path, tmp_path / "model.onnx", "--input", tmp_path / "texts.txt")
    model, scorer = ft.load(path), Scorer(tmp_path / "model.onnx")
    ids, offsets = scorer.encoder.encode(texts)
    bags = model.encoder.encode(texts)
    assert np.array_equal(ids, bags.indices)
    assert np.array_equal(offsets, bags.offsets)
    if loss != "ova":  # whose probabilities go in steps
        assert scorer.probabilities(texts) == pytest.approx(model.predict_proba(texts), abs=1e-5)


@pytest.mark.slow
def test_the_scorer_runs_without_this_package(model, tmp_path):
    export_onnx(model, tmp_path / "model.onnx")
    code = (
        "import sys\n"
        "sys.modules['fasttext_app'] = None\n"  # importing it is an error
        "sys.path.insert(0, '.')\n"
        "from fasttext_onnx import Scorer\n"
        "print(Scorer('model.onnx').probabilities(['the team won']).argmax())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert model.labels[int(done.stdout)] == model.predict("the team won").labels[0]


@pytest.mark.slow
def test_an_export_that_differs_is_refused_and_leaves_nothing_behind(model, tmp_path, monkeypatch):
    """A graph of other weights, and a document of other words."""
    path = tmp_path / "model.onnx"
    export_onnx(model, path, ["the team won"])
    before = contents(tmp_path)
    other = replace(model.artifact, tensors=model.artifact.tensors | {"bias": np.ones(2, "f4")})
    other.tensors["bias"][0] = 1.001
    with monkeypatch.context() as patch:
        graph = export.build_graph(other)
        patch.setattr(export, "build_graph", lambda artifact: graph)
        with pytest.raises(ArtifactError, match=r"not written: its probabilities differ by up to"):
            export_onnx(model, path)
    document = encoder_document(model.artifact) | {"words": ["x"] * len(model.artifact.vocabulary)}
    monkeypatch.setattr(export, "encoder_document", lambda artifact: document)
    with pytest.raises(ArtifactError, match=r"not written: the text .* gets other ids"):
        export_onnx(model, path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["torchtext:toktok", "hf:tokenizer.json"])
def test_a_tokenizer_that_is_a_program_is_refused_by_name(name, tmp_path):
    with pytest.raises(ConfigError, match=f'text.tokenizer = "{name}".*cannot be exported'):
        encoder_document(random_model(tokenizer=name))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_is_named(package, model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(MissingDependencyError, match=rf"needs the package {package}; .*\[onnx\]"):
        export_onnx(model, tmp_path / "model.onnx")
    assert contents(tmp_path) == {}


def test_something_else_than_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="model: got a str; pass a model"):
        export_onnx("models/mine", tmp_path / "model.onnx")


def test_words_that_no_text_can_have_are_left_out():
    """A fastText file may have words that are not valid Unicode."""
    from fasttext_app.core.arrow import strings_from_bytes
    from fasttext_app.text.vocabulary import Vocabulary

    vocabulary = Vocabulary(strings_from_bytes([b"a\xff", "é\\udc80".encode(), b"\xe2\x98\x83"]),
                            np.ones(3, np.int64))  # fmt: skip
    document = encoder_document(replace(random_model(), vocabulary=vocabulary))
    assert document["words"] == [None, "é\\udc80", "☃"]


@pytest.mark.slow
def test_the_command_keeps_earlier_files_unless_overwrite_is_given(
    tiny_model_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("the team won\n\nshares fell\n")
    written = run_cli("export", tiny_model_dir, "model.onnx", "--input", "texts.txt").stdout
    assert [line.split()[1] for line in written.splitlines()] == [
        *("model.onnx", "model.json", "fasttext_onnx.py", "fasttext_onnx.mjs"),
    ]
    before = contents(tmp_path)
    for name in ("model.onnx", "model.json"):
        (tmp_path / name).unlink()
        failed = run_cli("export", tiny_model_dir, "model.onnx", code=1)
        assert "already exists; pass --overwrite" in failed.stderr
        (tmp_path / name).write_bytes(before[name])
    assert contents(tmp_path) == before
    run_cli("export", tiny_model_dir, "other.onnx")  # the scorers are those that it would write
    (tmp_path / "fasttext_onnx.py").write_text("my own")
    failed = run_cli("export", tiny_model_dir, "third.onnx", code=1)
    assert "fasttext_onnx.py: already exists; pass --overwrite" in failed.stderr
    run_cli("export", tiny_model_dir, "model.onnx", "--overwrite")
    assert (tmp_path / "fasttext_onnx.py").read_bytes() == before["fasttext_onnx.py"]


def test_wrong_options_of_the_command(tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed = run_cli("export", tiny_model_dir, "model.pt", "--format", "onnx", code=1)
    assert "model.pt: the name of an ONNX file must end with .onnx" in failed.stderr
    failed = run_cli("export", tiny_model_dir, "model.bin", "--input", "texts.txt", code=2)
    assert "needs --format onnx" in failed.stderr
    failed = run_cli("export", tiny_model_dir, "model.onnx", "--input", "none.txt", code=1)
    assert "none.txt: no such file" in failed.stderr
    assert contents(tmp_path) == {}
