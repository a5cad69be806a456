"""Helpers of the scripts that write pages: markers, generated pages, docstrings of fields."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
from itertools import pairwise
from pathlib import Path


def replace_between_markers(page: str, name: str, text: str) -> str:
    """Return a page with ``text`` between ``<!-- NAME:start -->`` and ``<!-- NAME:end -->``.

    Raises:
        ValueError: the markers are missing.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    section = re.compile(f"{start}.*?{end}", re.DOTALL)
    if not section.search(page):
        raise ValueError(f"the markers {start} and {end} are missing")
    return section.sub(lambda _: f"{start}\n{text}\n{end}", page)


def check_markers(path: Path, name: str) -> None:
    """Exit with one line if a page lacks the markers; call it before a long measurement."""
    _replaced(path, name, "")


def write_between_markers(path: Path, name: str, text: str) -> None:
    """Write ``text`` between the markers of a page."""
    path.write_text(_replaced(path, name, text), encoding="utf-8")


def _replaced(path: Path, name: str, text: str) -> str:
    try:
        return replace_between_markers(path.read_text(encoding="utf-8"), name, text)
    except ValueError as error:
        sys.exit(f"{path}: {error}")


def write_generated_page(path: Path, page: str, description: str | None) -> None:
    """Run the command line of a script that generates one page.

    It writes the page, or with ``--check`` exits with 1 if the page is outdated.

    Args:
        path: the page.
        page: its content.
        description: the docstring of the script.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is outdated"
    )
    if parser.parse_args().check:
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        sys.exit(0 if current == page else f"{path} is outdated; run this script")
    path.write_text(page, encoding="utf-8")
    print(f"wrote {path}")


def field_docstrings(cls: type) -> dict[str, str]:
    """Return the docstring under each annotated field of a class, as one line of Markdown."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    docstrings = {}
    for node, following in pairwise(definition.body):
        match node, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                docstrings[name] = " ".join(text.replace("``", "`").split())
    return docstrings
