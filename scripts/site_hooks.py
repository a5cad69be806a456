"""Hooks of the site: pages that lie outside ``docs/``, links between all pages, and the colors.

On the site the README is the home page, and the index of ``docs/`` is the page "Find a page". In
the repository every link is relative to the file that holds it, so that it works there too; here it
is rewritten. A link to a file that has no page, such as a module, becomes plain text. Notebooks are
pages too.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fasttext_app.pages.palette import DARK, LIGHT, Palette

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
OUTSIDE = {
    "README.md": "index.md",
    "docs/index.md": "guides.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "data/sample/README.md": "data/sample/README.md",
    "data/langid/README.md": "data/langid/README.md",
    "docs/examples/tour.ipynb": "tour.md",
}
"""The pages that are not where mkdocs looks for them: path in the repository, path on the site."""
REPOSITORY_PATHS = {on_site: path for path, on_site in OUTSIDE.items()}


SCHEMES = {"default": LIGHT, "slate": DARK}
RULES = """
.md-content .md-typeset a:not(.headerlink, .md-button) { text-decoration: underline; }
.md-typeset table:not([class]) td, .md-typeset table:not([class]) th {
  min-width: 0; padding: 0.5em 0.8em;
}
.md-typeset :is(td, th) code { white-space: nowrap; }
"""
STYLE = "stylesheets/palette.css"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside ``docs/``, and the colors that all pages of the program have."""
    from mkdocs.structure.files import File

    index = files.get_file_from_path("index.md")
    if index is not None:
        files.remove(index)
    for path, on_site in OUTSIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        content = notebook_page(text) if path.endswith(".ipynb") else text
        files.append(File.generated(config, on_site, content=content))
    style = "".join(colors(scheme, palette) for scheme, palette in SCHEMES.items())
    files.append(File.generated(config, STYLE, content=style + RULES))
    return files


def notebook_page(notebook: str) -> str:
    """Return a notebook as Markdown: its texts, its code, and the text of its outputs."""
    blocks = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            blocks.append(f"```text\n{''.join(text).rstrip()}\n```")
    return "\n\n".join(blocks) + "\n"


def colors(scheme: str, palette: Palette) -> str:
    """Return a palette as the style of a color scheme of the theme."""
    values = {
        "primary-fg-color": LIGHT.series[0] if palette is LIGHT else palette.surface,
        "primary-bg-color": LIGHT.page if palette is LIGHT else palette.text,
        "accent-fg-color": palette.series[1],
        "typeset-a-color": palette.series[0],
        "default-bg-color": palette.page,
        "default-fg-color": palette.text,
        "default-fg-color--light": palette.muted,
        "code-bg-color": palette.surface,
        "code-fg-color": palette.text,
        "footer-fg-color--lighter": "rgb(255 255 255 / 0.7)",
    }
    lines = "".join(f"  --md-{name}: {value};\n" for name, value in values.items())
    return f'[data-md-color-scheme="{scheme}"] {{\n{lines}}}\n'


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    paths = {file.src_uri for file in files}
    return rewrite_links(markdown, page.file.src_uri, paths)


def rewrite_links(markdown: str, page: str, pages: set[str]) -> str:
    """Return a page whose links, written for the repository, work on the site.

    Args:
        markdown: the text of the page.
        page: its path on the site.
        pages: the paths of all files of the site.

    >>> rewrite_links("[a](docs/data.md#rows), [b](Makefile)", "index.md", {"data.md"})
    '[a](data.md#rows), b'
    """
    here = posixpath.dirname(REPOSITORY_PATHS.get(page, f"docs/{page}"))

    def rewrite(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path or ":" in path:
            return link[0]
        in_repository = posixpath.normpath(posixpath.join(here, path))
        on_site = OUTSIDE.get(in_repository, in_repository.removeprefix("docs/"))
        if on_site in pages:
            relative = posixpath.relpath(on_site, posixpath.dirname(page) or ".")
            return f"{image}[{text}]({relative}{hash_sign}{anchor})"
        if (ROOT / in_repository).exists():
            return text
        return link[0]  # mkdocs reports it

    return LINK.sub(rewrite, markdown)
