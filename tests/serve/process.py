"""The service as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SECONDS = 60


@contextmanager
def running(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``serve`` at a free port; yield the process and its address."""
    command = [sys.executable, "-m", "fasttext_app", "serve", *map(str, arguments), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next((line for line in process.stderr if "serving" in line), "")
            assert line, "it has not started"
            yield process, line.partition(" at ")[2].partition(";")[0]
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
