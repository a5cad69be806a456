"""Options of the models that the original trains for comparison."""

from __future__ import annotations

from typing import Any

LOSSES = "softmax", "ova", "ns", "hs"
FEATURES: dict[str, dict[str, Any]] = {
    "words": {},
    "word n-grams": {"wordNgrams": 3, "bucket": 600},
    "character n-grams": {"wordNgrams": 2, "minn": 2, "maxn": 4, "bucket": 600},
}
QUANTIZED: dict[str, dict[str, Any]] = {
    "codes": {},
    "norms": {"qnorm": True},
    "pruned": {"cutoff": 500},
    "pruned, wide, norms": {"cutoff": 500, "dsub": 4, "qnorm": True},
}
