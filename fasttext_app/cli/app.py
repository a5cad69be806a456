"""The process of the command-line program, from its start to its exit."""

from __future__ import annotations

import os
import sys
from typing import Any

from fasttext_app.core import startup


def main() -> None:
    """Run the program in a process of its own, and end the process without Python's own shutdown.

    Python's shutdown frees object by object, which takes a second once torch is loaded. After an
    error it can even crash: Arrow's threads may still be reading ahead through a Python stream.
    """
    first = sys.argv[1] if len(sys.argv) > 1 else None
    # A search drops one model after another; other commands keep what they make.
    startup.begin_command(keeps_all=first != "tune")
    from fasttext_app.cli.errors import CLOSED_PIPE
    from fasttext_app.cli.messages import say
    from fasttext_app.cli.program import COMMANDS, make_app

    code: Any = 0
    try:
        make_app(first if first in COMMANDS else None)()
    except SystemExit as end:
        code = end.code or 0
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BrokenPipeError:  # the reader has exited (`| head`)
            code = CLOSED_PIPE
        except (OSError, ValueError) as error:  # a full disk
            if not code and stream is sys.stdout:
                say(f"error: standard output: {getattr(error, 'strerror', None) or error}")
            code = code or 1
    os._exit(code if isinstance(code, int) else 1)
