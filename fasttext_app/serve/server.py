"""The processes of a service: sockets, signals, workers.

The models are loaded before the workers are forked, which then share their memory. Each worker has
a socket of its own at the same port, and the kernel spreads connections over them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn

from fasttext_app.core.startup import tune_malloc
from fasttext_app.errors import ConfigError
from fasttext_app.serve.app import Service
from fasttext_app.serve.metrics import Metrics
from fasttext_app.serve.models import Models, Say
from fasttext_app.serve.protocol import LimitedProtocol, drop_stalled
from fasttext_app.serve.settings import ServeSettings

GRACE_SECONDS = 10
"""Time for requests under way, once the service is to stop."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MIN_SECONDS = 1.0
"""A worker that ends sooner is started again only after a pause."""
BACKLOG = 2048

logger = logging.getLogger(__name__)


def serve(
    models: Sequence[str], settings: ServeSettings, note: Say, warn: Say, *, packages: bool = False
) -> None:
    """Serve models until SIGINT or SIGTERM; requests under way are still answered.

    Args:
        models: as for :class:`.Models`.
        settings: where to listen, and the limits of a request.
        note: is told what happens.
        warn: is told what should not happen.
        packages: as for :class:`.Models`.

    Raises:
        ArtifactError: a model cannot be loaded.
        ConfigError: two models have one name, or the service cannot listen there.
    """
    sockets = open_sockets(settings)
    tune_malloc()
    gc.freeze()  # what is imported by now stays, and need not be looked through again
    try:
        served = Models(models, note, warn, packages=packages)
        metrics = Metrics(list(served.watched), settings.workers)
        service = Service(served, settings, metrics)
        _allow_many_files()
        for listener in sockets:
            listener.listen(BACKLOG)
        note(f"serving {', '.join(served.watched)} at {_address(sockets[0])}; stop with Ctrl-C")
        if settings.workers == 1:
            ConnectionServer(service).run([sockets[0]])
        else:
            _Workers(service, sockets, warn).run()
    finally:
        for listener in sockets:
            listener.close()
    note("stopped")


def open_sockets(settings: ServeSettings) -> list[socket.socket]:
    """Return a socket for each worker, bound to the host and the port.

    Raises:
        ConfigError: the host is unknown, or the port is in use or not allowed.
    """
    where = f"{settings.host}, port {settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{where}: {reason}; choose another --host") from None
    sockets: list[socket.socket] = []
    try:
        # Another service of the same user would share the port; this one does not.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        for _ in range(settings.workers):
            listener = socket.socket(family)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if settings.workers > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            address = listener.getsockname()  # with the number that port 0 has become
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise ConfigError(
            f"{where}: cannot listen there ({error.strerror}); choose another --port or --host"
        ) from None
    return sockets


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_many_files() -> None:
    """Let the process have as many connections as the system allows it."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class ConnectionServer(uvicorn.Server):
    """One process that answers."""

    def __init__(self, service: Service, parent_gone: int | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                service,
                http=LimitedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._parent_gone = parent_gone

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and then return as usual: uvicorn would send it to itself again."""
        previous = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer."""
        await super().startup(sockets)
        if self._parent_gone is not None:
            asyncio.get_running_loop().add_reader(self._parent_gone, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections, ten times a second."""
        if counter % 50 == 0:
            drop_stalled(self.server_state, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


class _Workers:
    """Forked processes that answer; one that ends is started again."""

    def __init__(self, service: Service, sockets: list[socket.socket], warn: Say) -> None:
        self._service, self._sockets, self._warn = service, sockets, warn
        self._workers: dict[int, int] = {}  # number of each process
        self._started: dict[int, float] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Run until a signal comes."""
        # The workers wait for the end of this pipe, which comes with the end of this process.
        self._pipe = os.pipe()
        previous = {number: signal.signal(number, self._stop) for number in SIGNALS}
        try:
            for number in range(len(self._sockets)):
                self._start(number)
            while self._workers:
                self._wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            for end in self._pipe:
                os.close(end)

    def _start(self, number: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the worker handles them
        process = os.fork()
        if not process:
            self._work(number)
        self._workers[process], self._started[number] = number, time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _work(self, number: int) -> None:
        """Answer in this process, which then ends."""
        code = 1
        try:
            os.close(self._pipe[1])
            self._service.metrics.of_worker(number)
            for _ in range(2):  # one that is started again may find new files
                self._service.models.refresh()
            server = ConnectionServer(self._service, self._pipe[0])
            for other in self._sockets:
                if other is not self._sockets[number]:
                    other.close()
            signal.signal(signal.SIGINT, server.handle_exit)
            signal.signal(signal.SIGTERM, server.handle_exit)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            server.run([self._sockets[number]])
            code = 0
        except Exception:  # os._exit leaves nobody else to tell it
            logger.exception("worker %d has failed", number + 1)
        finally:
            os._exit(code)

    def _wait(self) -> None:
        """Wait for a worker to end; start it again unless the service is to stop."""
        process, status = os.wait()
        number = self._workers.pop(process, None)
        if number is None or self._is_stopping:
            return
        self._warn(f"worker {number + 1} has ended ({_ending(status)}); starting it again")
        if time.monotonic() - self._started[number] < MIN_SECONDS:
            time.sleep(MIN_SECONDS)
        if not self._is_stopping:
            self._start(number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True
        for listener in self._sockets:
            listener.close()
        for process in self._workers:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)


def _ending(status: int) -> str:
    code: Any = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
