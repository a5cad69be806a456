"""The command line: parse, call a workflow, show the result. Each command has its own module."""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fasttext_app._version import __version__
from fasttext_app.cli.errors import drop_output, reported_errors
from fasttext_app.core import startup

COMMANDS = {
    "train": "train",
    "tune": "tune",
    "predict": "predict",
    "evaluate": "evaluate",
    "calibrate": "calibrate",
    "threshold": "threshold",
    "quantize": "quantize",
    "explain": "explain",
    "inspect": "inspect_info_data",
    "plot": "plot",
    "info": "inspect_info_data",
    "data": "inspect_info_data",
    "import": "import_export",
    "export": "import_export",
    "ft": "ft",
}
"""The module of each command."""


class Commands(TyperGroup):
    """Runs a command, and turns the errors that are the user's to mend into one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with reported_errors():
            return super().invoke(ctx)


@cache
def make_app(only: str | None = None) -> typer.Typer:
    """Return the command line; ``only`` one command of it is made a good deal sooner."""
    app = typer.Typer(
        cls=Commands,
        name="fasttext-app",
        help="Classify text with a bag of n-gram embeddings: fastText, as it would be written "
        "today.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in COMMANDS if only is None else [only]:
        module = import_module(f"fasttext_app.cli.{COMMANDS[name]}")
        if name == "ft":
            app.add_typer(module.app)
        else:
            app.command(name)(getattr(module, "import_" if name == "import" else name))
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fasttext-app {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line as a process of its own, which ends as soon as the command has.

    What Python does at its end, object by object, takes a second once torch is loaded. After an
    error it would be wrong too: Arrow's threads may still be reading ahead through a Python stream,
    and would abort the process if they did so while the interpreter shuts down.
    """
    # Its threads, which nothing here needs, spin while NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # to look for any takes time
    startup.is_command = True
    code: Any = 0
    first = sys.argv[1] if len(sys.argv) > 1 else None
    if first != "tune":  # it makes one model after another; what other commands make, stays
        gc.set_threshold(100_000, 50, 100)
    try:
        make_app(first if first in COMMANDS else None)()
    except SystemExit as ending:
        code = ending.code or 0
    except OSError as error:  # of --version and --help, which come before any command
        drop_output()
        typer.echo(f"error: standard output: {error.strerror or error}", err=True)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):  # a full disk
            code = code or 1
    os._exit(code if isinstance(code, int) else 1)
