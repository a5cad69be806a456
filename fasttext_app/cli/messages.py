"""Notes, warnings and details beside the result of a command: ``--quiet`` and ``--verbose``.

Results go to stdout, everything else to stderr. ``--quiet`` drops notes and progress, but neither
warnings nor errors; ``--verbose`` adds details, and a traceback to an error.
"""

from __future__ import annotations

import mmap
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from typer import BadParameter, Option, confirm, echo

from fasttext_app._version import __version__
from fasttext_app.core import jit, meter
from fasttext_app.foreign_text import for_terminal

RUNNING = "Running"
"""A panel of options in ``--help``."""

QuietOption = Annotated[
    bool,
    Option("--quiet", "-q", help="Show no progress and no notes.", rich_help_panel=RUNNING),
]
VerboseOption = Annotated[
    bool,
    Option(
        "--verbose",
        "-v",
        help="Show versions, chosen settings, time and memory; with an error, its traceback.",
        rich_help_panel=RUNNING,
    ),
]

YesOption = Annotated[
    bool,
    Option(
        "--yes",
        "-y",
        help="Read the data that a model names, and run the package that its tokenizer names.",
        rich_help_panel=RUNNING,
    ),
]

is_quiet = is_verbose = says_yes = False
_compiling = mmap.mmap(-1, 1)  # shared with forked processes, so that only one says it


@contextmanager
def verbosity(*, quiet: bool = False, verbose: bool = False, yes: bool = False) -> Iterator[None]:
    """Run a command with this much to say, and to ask.

    Raises:
        typer.BadParameter: both are asked for.
    """
    global is_quiet, is_verbose, says_yes
    if quiet and verbose:
        raise BadParameter("cannot be combined with --verbose", param_hint="--quiet")
    is_quiet, is_verbose, says_yes = quiet, verbose, yes
    meter.bars = not quiet
    jit.on_compile = note_compilation
    start = time.perf_counter()
    if is_verbose:  # platform() runs `uname`
        detail(
            f"fasttext-app {__version__}, Python {platform.python_version()}, "
            f"{platform.platform()}, {os.cpu_count()} cores"
        )
    try:
        yield
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        detail(f"{time.perf_counter() - start:.2f} s, peak memory {peak * unit / 1e6:,.0f} MB")


def result(line: str) -> None:
    """Print a line of output for programs, with every character as it is (but on a terminal)."""
    if sys.stdout is not None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def say(message: str, *, err: bool = True) -> None:
    """Print a message for a person in one line, whatever names are in it."""
    echo(for_terminal(message), err=err)


def agreed(question: str) -> bool:
    """Return the answer to a question: yes with ``--yes``, else no unless a person says yes."""
    return says_yes or (_is_asked() and confirm(for_terminal(question), err=True))


def _is_asked() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def note(message: str, *, err: bool = True) -> None:
    """Say something that ``--quiet`` drops."""
    if not is_quiet:
        say(message, err=err)


def note_compilation(where: str) -> None:
    """Say once that the kernels are being compiled, and where they go."""
    if not _compiling[0]:
        _compiling[0] = 1
        note(f"compiling kernels, {where}; this can take a minute")


def warn(message: str) -> None:
    """Say on stderr something that the user should know."""
    say(message)


def detail(message: str) -> None:
    """Say on stderr something that only ``--verbose`` shows."""
    if is_verbose:
        say(message)
