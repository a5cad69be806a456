"""The command-line program. Each command is a function in the module that has its name."""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fasttext_app._version import __version__
from fasttext_app.cli.errors import discard_stdout, report_errors
from fasttext_app.core import startup

COMMANDS = (
    *("train", "tune", "predict", "evaluate", "calibrate", "threshold", "quantize", "explain"),
    *("inspect", "plot", "info", "data", "import", "export", "ft"),
)


class ReportingGroup(TyperGroup):
    """Runs commands, and reports the errors that the user can fix in one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        with report_errors():
            return super().invoke(ctx)


@cache
def make_app(only: str | None = None) -> typer.Typer:
    """Return the program; with ``only``, just that command, which takes less time to import."""
    app = typer.Typer(
        cls=ReportingGroup,
        name="fasttext-app",
        help="fastText as it would be written today: text classification with bags of n-grams.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for command in COMMANDS if only is None else [only]:
        name = f"{command}_" if iskeyword(command) else command
        module = import_module(f"fasttext_app.cli.{name}")
        if command == "ft":
            app.add_typer(module.app)
        else:
            app.command(command)(getattr(module, name))
    return app


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"fasttext-app {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


def main() -> None:
    """Run the program in a process of its own, and end the process without Python's own shutdown.

    Python's shutdown frees object by object, which takes a second once torch is loaded. After an
    error it can even crash: Arrow's threads may still be reading ahead through a Python stream.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # unused threads that spin on import
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for plugins takes time
    startup.is_command = True
    code: Any = 0
    first = sys.argv[1] if len(sys.argv) > 1 else None
    if (
        first != "tune"
    ):  # a search drops one model after another; other commands keep what they make
        gc.set_threshold(100_000, 50, 100)
    try:
        make_app(first if first in COMMANDS else None)()
    except SystemExit as end:
        code = end.code or 0
    except OSError as error:  # from --version or --help, which run outside of any command
        discard_stdout()
        typer.echo(f"error: standard output: {error.strerror or error}", err=True)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):  # a full disk
            code = code or 1
    os._exit(code if isinstance(code, int) else 1)
