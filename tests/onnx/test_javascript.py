"""The JavaScript scorer, in Node and in a browser: our ids, and our probabilities.

Node alone is enough for ids. To score, name a folder ``node_modules`` with onnxruntime-web (and
onnxruntime-node) in ``FASTTEXT_APP_NODE_MODULES``.
"""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fasttext_app as ft
from fasttext_app.onnx import export, export_onnx
from fasttext_app.onnx.encoder import encoder_document
from tests.browser import CHROMIUM, Browser, serving
from tests.helpers import NODE, NODE_MODULES, ROOT
from tests.onnx.models import NGRAMS, REWRITING, TOKENIZERS, random_model

PAGE = ROOT / "docs" / "examples" / "browser"
RUNTIME = NODE_MODULES / "onnxruntime-web" / "dist"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NODE is None, reason="needs Node"),
]
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ENCODE = """
import { readFileSync } from "node:fs";
import { Encoder } from "./fasttext_onnx.mjs";
const { documents, texts } = JSON.parse(readFileSync(0, "utf8"));
const answer = documents.map((document) => {
  const encoder = new Encoder(document);
  return texts.map((text) => encoder.rowIds(text));
});
console.log(JSON.stringify(answer));
"""
SCORE = """
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Scorer } from "./fasttext_onnx.mjs";
const { module, texts } = JSON.parse(readFileSync(0, "utf8"));
const ort = createRequire(import.meta.url)(module);
const scorer = await Scorer.load(ort, "model.onnx", JSON.parse(readFileSync("model.json", "utf8")));
const probabilities = await scorer.probabilities(texts);
const labels = (await scorer.predict(texts)).map(({ label }) => label);
console.log(JSON.stringify([labels, probabilities.map((row) => Array.from(row))]));
"""


def run_node(code, folder, request):
    (folder / "test.mjs").write_text(code)
    done = subprocess.run(
        [str(NODE), "test.mjs"],
        cwd=folder, input=json.dumps(request), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compare_ids(artifacts, texts, folder):
    shutil.copy(export.SCORERS[1], folder)
    documents = [encoder_document(artifact) for artifact in artifacts]
    answers = run_node(ENCODE, folder, {"documents": documents, "texts": texts})
    for artifact, ids in zip(artifacts, answers, strict=True):
        assert ids == artifact.encoder().encode(texts).to_lists(), artifact.config.text


def test_every_text_gets_our_ids(texts, tmp_path):
    newer = ["\U00010d59 \U00016ea0 \u1c89", "Σ\U00010d59Σ"]  # capitals since Unicode 16, 15 and 16
    models = [
        random_model(tokenizer=tokenizer, prune=prune, **NGRAMS, **rewriting)
        for tokenizer in TOKENIZERS
        for prune, rewriting in ((True, {}), (False, REWRITING))
    ]
    models.append(random_model())  # words only
    compare_ids(models, [*texts, *newer], tmp_path)


@pytest.mark.ag_news
def test_news_get_our_ids(ag_news_dir, tmp_path):
    with (ag_news_dir / "test.csv").open(encoding="utf-8", newline="") as file:
        news = [f"{row[1]} {row[2]}" for row, _ in zip(csv.reader(file), range(400), strict=False)]
    models = [random_model(tokenizer=name, prune=True, **NGRAMS) for name in TOKENIZERS[:2]]
    compare_ids(models, news, tmp_path)


def test_half_a_character_is_refused(tmp_path):
    shutil.copy(export.SCORERS[1], tmp_path)
    code = ENCODE.replace("texts.map(", '["a\\ud83d", "\\udc00b"].map(').replace(
        "encoder.rowIds(text)",
        "{ try { return encoder.rowIds(text); } catch (error) { return error.message; } }",
    )
    request = {"documents": [encoder_document(random_model())], "texts": []}
    message = "the text has half a character (a lone surrogate)"
    assert run_node(code, tmp_path, request) == [[message, message]]


@pytest.fixture(scope="module")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model beside the page and what that needs."""
    if not RUNTIME.is_dir():
        pytest.skip("needs onnxruntime-web: FASTTEXT_APP_NODE_MODULES names no folder with it")
    made = tmp_path_factory.mktemp("page")
    export_onnx(ft.load(tiny_model_dir), made / "model.onnx", ["the team won"])
    (made / "node_modules").symlink_to(NODE_MODULES)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (made / name).symlink_to(RUNTIME / name)
    shutil.copy(PAGE / "index.html", made)
    return made


@pytest.mark.parametrize("module", ["onnxruntime-web", "onnxruntime-node"])
def test_node_gives_our_probabilities(module, folder, tiny_model_dir, texts):
    if not (NODE_MODULES / module).is_dir():
        pytest.skip(f"needs {module}")
    texts = ["the team won", "shares fell", *texts]
    labels, probabilities = run_node(SCORE, folder, {"module": module, "texts": texts})
    model = ft.load(tiny_model_dir)
    assert labels[:2] == ["sport", "money"]
    for row, expected in zip(probabilities, model.predict_proba(texts).tolist(), strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield f"{address}/index.html"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("kind", ["served", "one file"])
def test_a_page_predicts_as_we_do(kind, folder, server, tiny_model_dir, tmp_path):
    """A page of a static server, and one file from the disk."""
    url = server
    if kind == "one file":
        page = runpy.run_path(str(PAGE / "one_page.py"))["one_page"](folder / "model.onnx", RUNTIME)
        (tmp_path / "page.html").write_text(page)
        url = (tmp_path / "page.html").as_uri()
    model = ft.load(tiny_model_dir)
    with Browser() as browser:
        browser.open(url, "/^(The|Error)/.test(document.getElementById('status')?.textContent)")
        assert browser.value("document.getElementById('status').textContent").startswith("The")
        for text in ("The team won the cup", "shares of the bank fell", ""):
            browser.value(f"byText = document.getElementById('text'), byText.value = {text!r}")
            browser.value("byText.oninput()")
            prediction = model.predict(text)
            expected = f"{prediction.labels[0]} {100 * prediction.probabilities[0]:.2f} %"
            first = "document.getElementById('answer').innerText.split('\\n').slice(0, 2).join(' ')"
            browser.wait(f"{first} === {expected!r}")
        browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 5000
