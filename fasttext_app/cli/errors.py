"""Errors as the user sees them: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

from fasttext_app.core.signals import Terminated
from fasttext_app.errors import FastTextAppError

INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143  # 128 + the signal, as shells report it


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Print an expected error as one line on stderr, and exit with its code."""
    try:
        yield
    except FastTextAppError as error:
        _fail(str(error), 1)
    except Terminated:
        _fail("terminated; nothing was saved", TERMINATED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was saved", INTERRUPTED)
    except BrokenPipeError:  # the reader has exited (`| head`)
        discard_stdout()
        raise typer.Exit(CLOSED_PIPE) from None
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


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(code) from None
