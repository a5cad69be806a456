"""What scripts write into pages, between ``<!-- NAME:start -->`` and ``<!-- NAME:end -->``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["check", "put", "rewrite"]


def put(page: str, name: str, text: str) -> str:
    """Return a page with the text between the markers of that name.

    Raises:
        ValueError: the markers are missing.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    marked = re.compile(f"{start}.*?{end}", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"the markers {start} and {end} are missing")
    return marked.sub(lambda _: f"{start}\n{text}\n{end}", page)


def check(page: Path, name: str) -> None:
    """End with one line where a page has no such markers; for before a long measurement."""
    _filled(page, name, "")


def rewrite(page: Path, name: str, text: str) -> None:
    """Put the text into a file, in the same way."""
    page.write_text(_filled(page, name, text), encoding="utf-8")


def _filled(page: Path, name: str, text: str) -> str:
    try:
        return put(page.read_text(encoding="utf-8"), name, text)
    except ValueError as error:
        sys.exit(f"{page}: {error}")
