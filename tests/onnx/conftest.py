"""Texts of all kinds."""

from __future__ import annotations

import numpy as np
import pytest

from fasttext_app.onnx import export

REWRITTEN = [
    "see https://example.org/a?b=c. and WWW.x.com! xhttp://no, http://日本.jp café ftp://É1",
    "mail a.b+c@d-e.co.uk, @no, a@b a@b.c9",
    "1.5,3. x1 1x 12345 ٣٤ 3٤ _1 1_ 1.a 五5 é5 5é -7 \U0001d7ce\U0001d7cf",
    "😀😀 1\ufe0f\u20e3 #\ufe0f\u20e3 🇩🇪🇫🇷🇩 👩🏽\u200d🚀 © ❤\ufe0f 0 #",
]


@pytest.fixture
def texts(odd_texts: list[str]) -> list[str]:
    """Texts of all kinds, and random ones of the characters that rules look at."""
    draw = np.random.default_rng(0)
    signs = list("aB1.,:'\"<>_ \t\n\r☃字カא\u0301\u200d\ufe0f😀🇩éİΣ\u2028\u3000\0\x1c/br@#w")
    mixed = ["".join(draw.choice(signs, draw.integers(1, 40))) for _ in range(300)]
    return [*odd_texts, *REWRITTEN, *export.ODD_TEXTS, *mixed]
