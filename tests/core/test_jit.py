"""The switch from plain Python to compiled code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fasttext_app.core import jit


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(jit, "_enabled", False)
    monkeypatch.setattr(jit, "_plain_bytes", 0)


def test_a_process_starts_in_plain_python():
    assert not jit.enabled()


def test_enough_text_switches_to_compiled_code_for_good():
    assert not jit.enabled(jit.PLAIN_BYTES - 1)
    assert jit.enabled(1)
    assert jit.enabled()


def test_compiled_code_can_be_enabled():
    jit.enable()
    assert jit.enabled()


@pytest.mark.slow
def test_importing_kernels_does_not_enable_compiled_code():
    code = (
        "import json\n"
        "from fasttext_app.core import jit\n"
        "import fasttext_app.inference.kernels, fasttext_app.text.kernels\n"
        "print(json.dumps(jit.enabled()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) is False
