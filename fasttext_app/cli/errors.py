"""How errors end a command: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

from fasttext_app.core.signals import Terminated
from fasttext_app.errors import FastTextAppError

INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143  # 128 + the signal, as a shell reports it


@contextlib.contextmanager
def reported_errors() -> Iterator[None]:
    """Print a known error as one line on stderr, and exit with its code."""
    try:
        yield
    except FastTextAppError as error:
        _fail(str(error), error.exit_code)
    except Terminated:
        _fail("terminated; nothing was saved", TERMINATED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was saved", INTERRUPTED)
    except BrokenPipeError:
        drop_output()  # the reader has gone (`| head`)
        raise typer.Exit(CLOSED_PIPE) from None
    except UnicodeEncodeError as error:
        _fail(
            f"standard output cannot take {error.object[error.start]!a} in its encoding, "
            f"{error.encoding}; set PYTHONIOENCODING=utf-8, or name a file with --output",
            1,
        )
    except MemoryError:
        _fail("there is not enough memory for this", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else _where_output_fails()
        _fail(f"{where}{error.strerror or error}", 1)


def _where_output_fails() -> str:
    """Name standard output if it is what cannot be written to (a full disk, say)."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        drop_output()
        return "standard output: "
    return ""


def drop_output() -> None:
    """Let go of standard output: what is still buffered must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(code) from None
