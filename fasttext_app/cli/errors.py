"""Errors as the user sees them: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import typer

from fasttext_app.cli import messages
from fasttext_app.core.signals import Terminated
from fasttext_app.errors import FastTextAppError

USAGE = 2
INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143  # 128 + the signal, as shells report it


TYPER_WORDINGS = (
    (r"^Invalid value: ", ""),
    (r"^Invalid value for '?([^':]*)'?( / '[^']*')*:", r"\1:"),
    (r"Input should be", "must be"),
    (r", unable to parse.*", ""),
    (r" \(Possible options?: ([^)]*)\)", r"; did you mean \1?"),
    (r"\. Did you mean", "; did you mean"),
)
UsageError: Any = typer.BadParameter.__mro__[1]  # Typer has no other name for it


@contextlib.contextmanager
def report_errors(command: Callable[[], str]) -> Iterator[None]:
    """Print an expected error as one line on stderr, and exit with its code.

    Args:
        command: returns the names of the program and its command.
    """
    try:
        with _closed_pipe():
            yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # Typer has shown the help
            raise
        path = error.ctx.command_path if error.ctx else command()
        message = _usage_message(error)
        _fail(f"{message}{' See' if message.endswith('?') else '; see'} {path} --help", USAGE)
    except FastTextAppError as error:
        _fail(str(error), 1)
    except Terminated:
        _fail("terminated; nothing was saved", TERMINATED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was saved", INTERRUPTED)
    except UnicodeEncodeError as error:
        _fail(
            f"standard output cannot encode {error.object[error.start]!a} in {error.encoding}; "
            "set PYTHONIOENCODING=utf-8, or write to a file with --output",
            1,
        )
    except MemoryError:
        _fail("not enough memory", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else _stdout_if_unwritable()
        _fail(f"{where}{error.strerror or error}", 1)


@contextlib.contextmanager
def _closed_pipe() -> Iterator[None]:
    """Exit quietly once the reader of standard output has (``| head``)."""
    try:
        yield
    except BrokenPipeError:
        discard_stdout()
        raise typer.Exit(CLOSED_PIPE) from None
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Rich has discarded standard output
            raise typer.Exit(CLOSED_PIPE) from None
        raise


def _stdout_if_unwritable() -> str:
    """Name standard output if it cannot be written to (a full disk, say)."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard_stdout()
        return "standard output: "
    return ""


def discard_stdout() -> None:
    """Redirect standard output to nowhere, so that flushing its buffer at exit cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_message(error: Any) -> str:
    """Return Typer's message in the style of the others: ``--lr: must be a valid number``."""
    message: str = error.format_message().removesuffix(".")
    for pattern, replacement in TYPER_WORDINGS:
        message = re.sub(pattern, replacement, message)
    return re.sub(r"^[A-Z](?=[a-z])", lambda letter: letter[0].lower(), message)


def _fail(message: str, code: int) -> None:
    if messages.is_verbose:
        traceback.print_exc()
    messages.say(f"error: {' '.join(message.split())}")
    raise typer.Exit(code) from None
