"""``fasttext-app plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FORMATS = {".png": "png", ".svg": "svg"}


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Model directories.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Draw into this .png or .svg file, not on the terminal."),
    ] = None,
) -> None:
    """Show the learning curves of a run, or of several side by side: loss, accuracy, macro F1."""
    from fasttext_app.cli.render import tables as console
    from fasttext_app.cli.render.curves import show_curves
    from fasttext_app.cli.render.plots import save_curves
    from fasttext_app.core.atomic_file import atomic_file
    from fasttext_app.errors import DataError
    from fasttext_app.training.history import load_history, panels

    if output is not None and output.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{output}: name a .png or an .svg file", param_hint="--output")
    found = panels([load_history(run) for run in runs])
    if output is None:
        show_curves(found, console.out)
        return
    with atomic_file(output, DataError) as partial:
        save_curves(found, partial, FORMATS[output.suffix.lower()])
    typer.echo(f"wrote {output}", err=True)
