"""Training on several processes: the same bytes as on one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.errors import ConfigError
from tests.helpers import ROOT, WORDS_ONLY, make_config
from tests.training.sharded_driver import train_alone

SIZES = (2, 4)
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
    "focal loss, dropout, weights": {
        **{"focal_gamma": 1.0, "bag_dropout": 0.2, "token_dropout": 0.1},
        **{"class_weights": "balanced", "term_weighting": "tfidf", "mode": "sum"},
    },
}


def run_cases(cases: Mapping[str, Mapping[str, Any]], sizes: tuple[int, ...] = SIZES) -> Any:
    """Train each case on groups of these sizes; return {case: {size: digest}}."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.sharded_driver"],
        input=json.dumps({"sizes": sizes, "cases": cases}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the first rows of the sample."""
    lines = Path(ROOT / "data/sample/train.csv").read_text(encoding="utf-8").splitlines()[:400]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_columns_train_to_the_bytes_of_one_process(rows: Path) -> None:
    common = {**QUICK, "source": str(rows), "shard": "columns"}
    cases = {name: {**common, **settings} for name, settings in CASES.items()}
    digests = run_cases(cases)
    for name, settings in cases.items():
        expected = train_alone(resolve(flat_layer({**settings, "shard": "none"})))
        assert digests[name] == dict.fromkeys(map(str, SIZES), expected), name
        assert train_alone(resolve(flat_layer(settings))) == expected, name


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"implementation": "torch"}, "optimizer.implementation"),
        ({"momentum": 0.5, "name": "sgd", "sparse": False}, "optimizer.momentum"),
        ({"max_norm": 1.0}, "model.max_norm"),
        ({"ensemble": 2}, "trainer.ensemble"),
        ({"device": "cuda"}, "trainer.device"),
    ],
)
def test_settings_that_cannot_be_sharded_are_refused(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=f"{problem}.*trainer.shard"):
        make_config(shard="columns", **settings)
