"""``fasttext-app plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.outputs import OverwriteOption, check_new_file


def plot(
    runs: Annotated[list[Path], Argument(metavar="RUN", help="Model directories.")],
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            metavar="FILE.png|svg",
            help="Write a picture instead of drawing in the terminal.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Plot the learning curves of one or more runs: loss, accuracy, macro F1.

    Examples:
        fasttext-app plot models/tickets
        fasttext-app plot models/one models/two -o curves.png
    """
    from fasttext_app.cli.render import console
    from fasttext_app.cli.render.curves import show_curves
    from fasttext_app.cli.render.plots import FORMATS, draw_curves
    from fasttext_app.training.history import load_history, panels

    if output is not None and output.suffix.lower() not in FORMATS:
        raise BadParameter(f"{output}: name a .png or .svg file", param_hint="--output")
    check_new_file(output, overwrite=overwrite)
    curves = panels([load_history(run) for run in runs])
    if output is None:
        show_curves(curves, console.out)
    else:
        draw_curves(curves, output)
        note(f"wrote {output}")
