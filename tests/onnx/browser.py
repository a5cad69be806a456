"""A headless Chromium, driven over a pipe by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = "--headless=new --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"
SECONDS = 60.0


class Browser:
    """One page of a browser with a profile of its own."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        commands, self._to_browser = os.pipe()
        self._from_browser, answers = os.pipe()
        redirected = f'exec "$@" 3<&{commands} 4>&{answers}'  # it reads from 3 and writes to 4
        profile = f"--user-data-dir={self._profile}"
        self._process = subprocess.Popen(
            ["bash", "-c", redirected, "bash", CHROMIUM, *OPTIONS.split(), profile, "about:blank"],
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._received, self._calls, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to_browser)
        os.close(self._from_browser)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._received:
                part = os.read(self._from_browser, 1 << 16)
                assert part, "the browser has ended"
                self._received += part
            answer, self._received = self._received.split(b"\0", 1)
            document = json.loads(answer)
            if document.get("id") == self._calls:
                assert "error" not in document, document
                result: dict[str, Any] = document["result"]
                return result

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def open(self, url: str, until: str) -> None:
        """Open a page, and wait until an expression is true in it."""
        self.call("Page.navigate", url=url)
        self.wait(until)

    def wait(self, until: str) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + SECONDS
        while not self.value(until):
            assert time.monotonic() < end, self.value("document.body.innerText")
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
