"""Shared fixtures: tests run offline, and share one small trained model."""

from __future__ import annotations

import atexit
import gc
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# Hypothesis draws the same examples in every run; `--hypothesis-profile=random` draws others.
settings.register_profile("random", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci")

# Set on import, before any test can import `datasets`, which reads both only once.
_HF_HOME = tempfile.mkdtemp(prefix="fasttext_app-hf-")
atexit.register(shutil.rmtree, _HF_HOME, ignore_errors=True)
os.environ["HF_HOME"] = _HF_HOME
os.environ["HF_HUB_OFFLINE"] = "1"

# torch, optuna and pytest hold many objects to the end. With Python's default thresholds, the
# collector takes a fifth of the time of all tests to look through them.
gc.set_threshold(100_000, 50, 100)


def pytest_sessionstart() -> None:
    """Keep the examples of a test the same, whatever changes elsewhere."""
    if settings.default is not None and settings.default.derandomize:
        # Otherwise, it also draws constants from the source of the modules that are loaded by then.
        pytest.MonkeyPatch().setattr(providers, "_get_local_constants", Constants)


TINY_EXAMPLES = [
    ("the striker scored two goals in the final match", "sport"),
    ("the team won the cup after extra time", "sport"),
    ("a late goal gave the club the league title", "sport"),
    ("the coach praised the young goalkeeper", "sport"),
    ("injury keeps the champion out of the match", "sport"),
    ("the runner broke the record in the final race", "sport"),
    ("tennis champion wins the final in straight sets", "sport"),
    ("fans cheered as the team scored again", "sport"),
    ("the league fined the club for the late match", "sport"),
    ("the coach named his team for the cup", "sport"),
    ("shares fell as the bank cut its profit forecast", "money"),
    ("the market rose after the bank cut interest rates", "money"),
    ("oil prices pushed inflation higher this quarter", "money"),
    ("the company reported record profit and revenue", "money"),
    ("investors sold shares of the retailer", "money"),
    ("the central bank raised its inflation forecast", "money"),
    ("the retailer will buy back shares worth millions", "money"),
    ("bond prices fell as the market feared inflation", "money"),
    ("the company cut jobs after weak revenue", "money"),
    ("quarterly profit at the bank beat the forecast", "money"),
]


@pytest.fixture(scope="session")
def tiny_examples() -> list[tuple[str, str]]:
    """Twenty (text, label) pairs, ``sport`` and ``money``, ten of each."""
    return TINY_EXAMPLES


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of the tiny examples (words and bigrams). Read it; copy it before a change."""
    from fasttext_app.api import train
    from tests.helpers import WORDS_ONLY

    texts, labels = zip(*TINY_EXAMPLES, strict=True)
    model = train(
        texts,
        labels,
        **{
            **WORDS_ONLY,
            **{"validation": 0.0, "word_ngrams": 2, "bucket": 1000, "dim": 8, "lr": 0.5},
            **{"epochs": 10, "device": "cpu", "threads": 1},
        },
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model.save(folder)
    return folder


@pytest.fixture(scope="session")
def ag_news_dir() -> Path:
    """The folder of the AG_NEWS files, named by ``$FASTTEXT_APP_DATA``; skips where it is not."""
    named = os.environ.get("FASTTEXT_APP_DATA")
    folder = Path(named) / "ag_news" if named else None
    if folder is None or not all((folder / f"{s}.csv").is_file() for s in ("train", "test")):
        pytest.skip("needs the AG_NEWS files: FASTTEXT_APP_DATA names no folder with ag_news/")
    return folder


ALPHABETS = "abcdefghijklmnop", "éèßøñåüaeiou", "абвгдежзик", "日本語学校東京大", "مرحباسلام"
ORIGINAL_LABELS = "sport", "wörld", "科学", "d"


@pytest.fixture(scope="session")
def labeled_rows() -> list[tuple[str, str]]:
    """600 (label, text) pairs of invented words in many scripts; a label has words of its own."""
    chance = random.Random(0)
    words = sorted(
        {
            "".join(chance.choices(letters, k=chance.randint(2, 8)))
            for letters in ALPHABETS
            for _ in range(90)
        }
    )
    chance.shuffle(words)
    rows = []
    for _ in range(600):
        (label,) = chance.choices(range(4), [4, 3, 2, 1])
        length = chance.randint(2, 14)
        text = chance.choices(words, k=length) + chance.choices(words[label::4], k=length)
        rows.append((ORIGINAL_LABELS[label], " ".join(chance.sample(text, length))))
    return rows


@pytest.fixture(scope="session")
def labeled_file(
    labeled_rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same as a file of ``__label__x some text`` lines."""
    path = tmp_path_factory.mktemp("labeled") / "train.txt"
    lines = (f"__label__{label} {text}\n" for label, text in labeled_rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def odd_texts(labeled_rows: list[tuple[str, str]]) -> list[str]:
    """Texts that are read in unlike ways, and the first hundred of the training rows."""
    odd = [
        *("", "   ", "</s>", "a </s> b", "</s></s> x", "before __label__d </s> __label__q after"),
        *("a __label__sport b", "__label__zzz x", "__label__ x", "x__label__sport", "__label__d"),
        *(
            "😀 emoji 日本語 mixed Привет",
            "e\u0301 é \u200b\ufeff",
            "\u00a0 nbsp\u3000x\u2028y\x85z",
        ),
        *("tab\tsep\x0bv\x0cf\x00nul\r", "\x1c\x1d\x1e\x1f", "<b> > < <br />", "x" * 5000),
    ]
    return odd + [text for _, text in labeled_rows[:100]]


@pytest.fixture(scope="session")
def original() -> ModuleType:
    """The real fastText library; skips where it is not installed, or cannot train."""
    library = pytest.importorskip("fasttext")
    if not hasattr(library, "train_supervised"):
        pytest.skip("the fasttext that is installed cannot train")
    library.FastText.eprint = lambda message: None  # no warnings on loading a model
    return library


@pytest.fixture(scope="session")
def train_original(
    original: ModuleType, labeled_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Train on ``labeled_file`` with the real library; returns the path of the model's file."""
    folder, made = tmp_path_factory.mktemp("original"), dict[str, Path]()

    def train(quantize: dict[str, Any] | None = None, **options: Any) -> Path:
        key = repr((quantize, sorted(options.items())))
        if key not in made:
            settings = {"input": str(labeled_file), "dim": 11, "lr": 0.5, **options}
            model = original.train_supervised(verbose=0, thread=1, **settings)
            if quantize is not None:
                model.quantize(**quantize)
            made[key] = folder / f"{len(made)}.{'bin' if quantize is None else 'ftz'}"
            model.save_model(str(made[key]))
        return made[key]

    return train
