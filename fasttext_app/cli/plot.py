"""``fasttext-app plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["plot"]

FORMATS = {".png": "png", ".svg": "svg"}


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Model directories.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Draw into this .png or .svg file, not on the terminal."),
    ] = None,
) -> None:
    """Show the learning curves of a run, or of several side by side: loss, accuracy, macro F1."""
    from fasttext_app import console
    from fasttext_app.errors import DataError
    from fasttext_app.history import load_history, panels
    from fasttext_app.render_curves import save_curves, show_curves
    from fasttext_app.whole_file import replacing

    if output is not None and output.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{output}: name a .png or an .svg file", param_hint="--output")
    found = panels([load_history(run) for run in runs])
    if output is None:
        show_curves(found, console.out)
        return
    with replacing(output, DataError) as partial:
        save_curves(found, partial, FORMATS[output.suffix.lower()])
    typer.echo(f"wrote {output}", err=True)
