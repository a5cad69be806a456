"""Pages as a browser shows them: two widths, light and dark, nothing serious for axe-core."""

from __future__ import annotations

import pytest

from tests.browser import CHROMIUM, check_looks
from tests.helpers import run_cli

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


def test_explanations_look_right(tiny_model_dir, tmp_path):
    page = tmp_path / "why.html"
    run_cli("explain", tiny_model_dir, "the bank " * 40, "x" * 300, "-o", page)
    check_looks(page.as_uri(), "location.protocol == 'file:'", tmp_path, "explain")
    assert len(list(tmp_path.glob("explain-*.png"))) == 4
