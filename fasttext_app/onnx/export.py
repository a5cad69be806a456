"""``export_onnx``: write a model as ONNX, after checking that it answers as it does here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from fasttext_app.config.schema import DataConfig
from fasttext_app.core import arguments
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.atomic_file import atomic_files
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.spec import open_source
from fasttext_app.errors import ArtifactError, ConfigError, missing_package
from fasttext_app.inference.forward import CpuForward
from fasttext_app.inference.predictor import Predictor, Texts
from fasttext_app.model.heads import texts_at_once
from fasttext_app.onnx.encoder import encoder_document
from fasttext_app.onnx.fasttext_onnx import Scorer
from fasttext_app.onnx.graph import build_graph

TOLERANCE = 1e-5
"""The largest difference of a probability from our own."""
CHECKED_TEXTS, CHECKED_BAGS, BAG_LENGTH = 200, 64, 30
ODD_TEXTS = (
    "",
    " ",
    'Don\'t STOP: 3.5% (<br />) "x"\u00a0y\u3000z\t__label__a </s> b',
    "a\0b\x1cc\x85d",
    "İstanbul ΑΣ ΣΑΣ. ǅ \u017f",
    "e\u0301 é 👩\u200d👩\u200d👧 🇩🇪🇫🇷 1\ufe0f\u20e3 ©",
    "今天 3.5°C ไทย カタカナ",
    "see www.Example.org/a?b=1, mail a.b@c.io or call 12,500.75 x٣٤",
)
"""Texts that are easy to get wrong: empty, white space, marks, case, emoji, scripts, rewriting."""
SCORERS = tuple(Path(__file__).with_name(f"fasttext_onnx.{kind}") for kind in ("py", "mjs"))
"""Programs that score texts without this one; they are copied next to a model."""


def export_onnx(model: Predictor, path: str | Path, texts: Texts | None = None) -> list[Path]:
    """Write a model as an ONNX graph, with the JSON of its encoder and two scorers beside it.

    The result is checked with ONNX Runtime before it gets its name: the first 200 texts must get
    the ids of this program, and probabilities that differ by at most 1e-5.

    Args:
        model: the model.
        path: the graph, ``NAME.onnx``; the encoder goes to ``NAME.json``. Earlier ones are
            replaced.
        texts: texts to check on; None: those of the embedded sample.

    Returns:
        The files: the graph, the encoder, ``fasttext_onnx.py`` and ``fasttext_onnx.mjs``.

    Raises:
        ArtifactError: a file cannot be written, or the check fails; earlier files are untouched.
        ConfigError: the model cannot be exported, or ``path`` does not end with ``.onnx``.
        DataError: a text is missing or not a string.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    path = arguments.path("path", path)
    if not isinstance(model, Predictor):
        raise ConfigError(f"model: got {arguments.describe(model)}; pass a model, as load returns")
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise missing_package("export to ONNX", package, "onnx")
    targets = exported_files(path)
    document = json.dumps(encoder_document(model.artifact), ensure_ascii=False) + "\n"
    graph = build_graph(model.artifact)
    contents = [graph.SerializeToString(), document.encode(), *(s.read_bytes() for s in SCORERS)]
    checked = [*ODD_TEXTS, *_first_texts(model, texts)]
    with atomic_files(targets, ArtifactError) as partials:
        for partial, content in zip(partials, contents, strict=True):
            partial.write_bytes(content)
        difference = _difference(model, Scorer(*partials[:2]), checked)
        if difference is not None:
            raise ArtifactError(f"{path}: not written: {difference}")
    return targets


def exported_files(path: Path) -> list[Path]:
    """Return the files of an export.

    Raises:
        ConfigError: the path does not end with ``.onnx``.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"{path}: the name of an ONNX file must end with .onnx")
    return [path, path.with_suffix(".json"), *(path.with_name(file.name) for file in SCORERS)]


def is_scorer(path: Path) -> bool:
    """Return whether a file holds one of the scorers, unchanged."""
    return path.is_file() and path.read_bytes() in [file.read_bytes() for file in SCORERS]


def _first_texts(model: Predictor, texts: Texts | None) -> Iterator[str]:
    if texts is None:
        batches = open_source(DataConfig(source="sample")).scan("test")
        texts = (text for batch in batches for text in python_strings(batch.column("text")))
        return islice(texts, CHECKED_TEXTS)
    texts = (text for chunk in model.chunks(texts) for text in python_strings(chunk))
    return islice(texts, CHECKED_TEXTS)


def _difference(model: Predictor, scorer: Scorer, texts: list[str]) -> str | None:
    """Return how the exported model differs from the model; None if it does not."""
    bags = model.encoder.encode(texts)
    for text, expected in zip(texts, bags.to_lists(), strict=True):
        if scorer.encoder.row_ids(text) != expected:
            return f"the text {text[:60]!r} gets other ids"
    forward = CpuForward(model.artifact)
    at_once = max(texts_at_once(len(model.labels)) >> 8, 1)  # `hs` looks up a path for each logit
    for batch in (bags, _random_bags(len(model.artifact.table))):
        for start in range(0, len(batch), at_once):
            part = batch.take(np.arange(start, min(start + at_once, len(batch))))
            largest = _largest_difference(model, forward, scorer, part)
            if not largest <= TOLERANCE:
                return f"its probabilities differ by up to {largest:.2g} from the model's"
    return None


def _random_bags(rows: int) -> Ragged:
    """Return bags of ids from all over the table, the first and the last row included."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, rows, CHECKED_BAGS * BAG_LENGTH, np.int32)
    ids[:2] = 0, rows - 1
    return Ragged(ids, np.arange(CHECKED_BAGS + 1) * BAG_LENGTH)


def _largest_difference(
    model: Predictor, forward: CpuForward, scorer: Scorer, bags: Ragged
) -> float:
    """Return the largest difference of a probability, or of a logit on its scale."""
    feeds = {"ids": bags.indices.astype(np.int64), "offsets": bags.offsets}
    probabilities, logits = scorer.session.run(["probabilities", "logits"], feeds)
    expected, head = forward(bags), model.head
    of_logits = np.abs(logits - expected) / np.maximum(np.abs(expected), 1)
    if head.independent and head.as_fasttext:
        expected = logits  # fastText's sigmoid goes in steps: a rounding can be one apart
    of_probabilities = np.abs(probabilities - head.probabilities(expected))
    return float(max(of_logits.max(initial=0), of_probabilities.max(initial=0)))
