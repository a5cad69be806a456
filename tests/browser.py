"""A headless Chromium, driven over a pipe by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from tests.helpers import NODE_MODULES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = "--headless=new --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"
SECONDS = 60.0
WIDTHS = (390, 1280)  # pixels: a phone, a desk
SCHEMES = ("light", "dark")
TROUBLES = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
AXE = NODE_MODULES / "axe-core" / "axe.min.js"
"""The check of accessibility, if ``FASTTEXT_APP_NODE_MODULES`` has it."""
SERIOUS = ("serious", "critical")


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
        self.troubles: list[dict[str, Any]] = []
        """Uncaught exceptions, and what the page wrote to the console."""
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
            if document.get("method") in TROUBLES:
                self.troubles.append(document["params"])
            if document.get("id") == self._calls:
                assert "error" not in document, document
                result: dict[str, Any] = document["result"]
                return result

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page, or of what it promises."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
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

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of what is in view, or of the whole page."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def emulate(self, width: int, scheme: str, height: int = 900) -> None:
        """Show the page in a window of a width in pixels, light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Emulation.setScrollbarsHidden", hidden=True)  # pictures have no room for them
        media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def looks(self) -> Iterator[str]:
        """Show the page in each width and color scheme, and yield the name of that look."""
        for width, scheme in product(WIDTHS, SCHEMES):
            self.emulate(width, scheme)
            yield f"{width}-{scheme}"

    def faults(self, *, axe: bool = True) -> list[str]:
        """Return what is wrong with the page as it looks now, for a person or a screen reader.

        Args:
            axe: whether to run axe-core, which takes a second or more.
        """
        wide = self.value("document.documentElement.scrollWidth - innerWidth")
        faults = [f"{wide} pixels are outside of the window"] if wide > 0 else []
        if axe and AXE.is_file():
            if not self.value("'axe' in window"):
                self.value(AXE.read_text(encoding="utf-8") + "; 1")
            run = "axe.run({resultTypes: ['violations']})"
            violations = self.value(f"{run}.then(result => result.violations)")
            faults += [
                f"{violation['id']}: {violation['nodes'][0]['html']}"
                for violation in violations
                if violation["impact"] in SERIOUS
            ]
        return faults


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of a folder on this machine; yield the address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def check_looks(
    url: str, until: str, folder: Path, name: str, act: Callable[[Browser], None] | None = None
) -> None:
    """Open a page, look at it in each look, leave the pictures in a folder, and find no fault.

    Args:
        url: the page.
        until: an expression that is true when it has loaded.
        folder: where ``NAME-WIDTH-SCHEME.png`` are written.
        name: the name of the page.
        act: what to do with the page before it is looked at.
    """
    with Browser() as browser:
        browser.call("Runtime.enable")
        browser.call("Log.enable")
        browser.open(url, until)
        if act is not None:
            act(browser)
        for look in browser.looks():
            browser.screenshot(folder / f"{name}-{look}.png", whole=True)
            # Once for the colors of each scheme, and once for the layout of each width.
            axe = look in (f"{WIDTHS[0]}-{SCHEMES[0]}", f"{WIDTHS[1]}-{SCHEMES[1]}")
            faults = browser.faults(axe=axe)
            assert faults == [], (look, faults)
        assert browser.troubles == [], browser.troubles
