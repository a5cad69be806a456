"""The page of the public API: how docstrings become Markdown."""

from __future__ import annotations

import doctest
import sys
from importlib import import_module

from tests.helpers import SCRIPTS

sys.path.insert(0, str(SCRIPTS))
try:
    script = import_module("write_api_reference")
finally:
    sys.path.remove(str(SCRIPTS))


class Example:
    """An example."""

    def method(self, text: str, *, top_k: int = 1) -> list[str]:
        """Return ``top_k`` labels.

        Args:
            text: goes on
                in a second line.
            top_k: as for :meth:`other`.

        Raises:
            ValueError: there is none.
        """


def test_examples_in_the_docstrings():
    assert doctest.testmod(script).failed == 0


def test_the_sections_of_a_docstring_become_lists():
    assert script.function_entry(3, "Example.method", Example.method, "example.method") == (
        "### `Example.method`\n\n"
        "```python\nexample.method(text, *, top_k=1) -> list[str]\n```\n\n"
        "Return `top_k` labels.\n\n"
        "**Args**\n\n- `text`: goes on in a second line.\n- `top_k`: as for `other`.\n\n"
        "**Raises**\n\n- `ValueError`: there is none."
    )


def test_every_public_name_is_on_the_page():
    page = script.TARGET.read_text(encoding="utf-8")
    errors = [name for name in script.errors.__all__ if name.endswith("Error")]
    names = [*script.fasttext_app.__all__, *errors]
    assert [name for name in names if name not in page and name != "__version__"] == []
