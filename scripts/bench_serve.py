"""Load the service: requests a second, slow clients, wrong requests, a model replaced meanwhile.

    python scripts/bench_serve.py [--workers 2] [--connections 32] [--seconds 10] [--write-docs]

Single texts of AG_NEWS go to ``POST /predict`` over connections that stay open. The client is wrk
if it is installed, else one in Python, which takes a core for itself. For the share that HTTP takes
alone, the same service answers with a constant. Both run by turns, and medians are shown. Every
answer of the other checks is compared with that of the model in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pages import check_markers, write_between_markers

import fasttext_app as ft
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.directory import copy_model

PAGE = Path(__file__).parents[1] / "docs" / "serve.md"
MARKER = "load"
WRK_REQUEST = """
texts = {}
for line in io.lines("%s") do texts[#texts + 1] = line end
wrk.method, number = "POST", 0
function request()
  number = number %% #texts + 1
  return wrk.format(nil, "/predict", nil, texts[number])
end
"""
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
PATIENCE = 60.0
"""Seconds in which a replaced model must be served, on a machine that is busy."""


@dataclass(frozen=True)
class Rate:
    """What a load showed."""

    per_second: float
    p50: float
    """Milliseconds."""
    p99: float
    failures: int
    """Answers with another status than 200, and broken connections."""
    cpu: float = 0.0
    """Microseconds of the service's processor time for a request."""


@dataclass
class Running:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def processes(self) -> list[Path]:
        """Return the folders of all its processes in the file system of the kernel."""
        own = Path("/proc", str(self.process.pid))
        children = (own / "task" / own.name / "children").read_text().split()
        return [own, *(Path("/proc", child) for child in children)]

    def memory(self) -> float:
        """Return megabytes of all processes, shared pages counted once."""
        texts = [(path / "smaps_rollup").read_text() for path in self.processes()]
        return sum(int(re.findall(r"\nPss:\s+(\d+)", text)[0]) for text in texts) / 1e3

    def cpu_seconds(self) -> float:
        """Return the processor time that all processes have used."""
        texts = [(path / "stat").read_text() for path in self.processes()]
        ticks = [sum(map(int, text.rpartition(")")[2].split()[11:13])) for text in texts]
        return sum(ticks) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(model: Path, workers: int, *, constant: bool = False) -> Iterator[Running]:
    """Run the service; ``constant`` answers without a model."""
    command = [sys.executable, __file__, "--serve", str(model), "--workers", str(workers)]
    command += ["--constant"] * constant
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            match = re.search(r"http://([\d.]+):(\d+)", line)
            if not match:
                sys.exit(line + process.stderr.read())
            yield Running(process, match[1], int(match[2]))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def serve(model: str, workers: int, *, constant: bool) -> None:
    """Run the service in this process."""
    from starlette.responses import Response

    from fasttext_app.serve import server
    from fasttext_app.serve.app import Service
    from fasttext_app.serve.settings import ServeSettings

    if constant:
        body = ft.load(model).predict("a")._asdict()

        async def answer(self: Service, receive: Any) -> Response:
            await self._read(receive)
            return Response(json.dumps({"model": "m", **body}), media_type="application/json")

        Service._predict_at_once = answer  # type: ignore[method-assign]
    settings = ServeSettings(port=0, workers=workers)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    server.serve([f"m={model}"], settings, say, say)


# --- a client


class Client:
    """A connection that stays open."""

    def __init__(self, service: Running) -> None:
        self._service = service

    async def __aenter__(self) -> Self:
        service = self._service
        self.reader, self.writer = await asyncio.open_connection(service.host, service.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; return the status and the body of its answer."""
        self.writer.write(request)
        return await self.receive()

    async def receive(self) -> tuple[int, bytes]:
        """Return the status and the body of an answer; (0, b"") if the connection ends."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
        except (OSError, asyncio.IncompleteReadError):
            return 0, b""
        return int(head[9:12]), body

    async def predict(self, text: str) -> tuple[int, Any]:
        """Ask for the best label of a text."""
        body = json.dumps({"text": text}).encode()
        status, answer = await self.send(HEAD % len(body) + body)
        return status, json.loads(answer) if answer else None


# --- requests a second


def load(service: Running, texts: Sequence[str], connections: int, seconds: float) -> Rate:
    """Load the service with single texts."""
    start, begin = service.cpu_seconds(), time.perf_counter()
    if shutil.which("wrk"):
        rate = load_with_wrk(service, texts, connections, seconds)
    else:
        rate = asyncio.run(load_with_python(service, texts, connections, seconds))
    requests = rate.per_second * (time.perf_counter() - begin)
    return replace(rate, cpu=1e6 * (service.cpu_seconds() - start) / requests)


def load_with_wrk(service: Running, texts: Sequence[str], connections: int, seconds: float) -> Rate:
    """Load the service with wrk."""
    with tempfile.TemporaryDirectory() as folder:
        bodies, script = Path(folder, "texts.jsonl"), Path(folder, "post.lua")
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        script.write_text(WRK_REQUEST % bodies)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--latency", "-s"]
        url = f"http://{service.host}:{service.port}"
        done = subprocess.run([*command, script, url], capture_output=True, text=True, check=True)
    output = done.stdout

    def milliseconds(percent: int) -> float:
        value, unit = re.findall(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", output)[0]
        return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]

    bad = re.findall(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+)", output)
    failures = sum(map(int, [*bad, *(broken[0] if broken else ())]))
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", output)[0])
    return Rate(rate, milliseconds(50), milliseconds(99), failures)


async def load_with_python(
    service: Running, texts: Sequence[str], connections: int, seconds: float
) -> Rate:
    """Load the service with a client in Python."""
    times: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    async def ask(number: int) -> None:
        async with Client(service) as client:
            while (start := time.perf_counter()) < end:
                status, _ = await client.predict(texts[number % len(texts)])
                times.append(time.perf_counter() - start)
                statuses[status] += 1
                number += connections

    await asyncio.gather(*map(ask, range(connections)))
    hundredths = statistics.quantiles(times, n=100)
    failures = statuses.total() - statuses[200]
    return Rate(len(times) / seconds, 1e3 * hundredths[49], 1e3 * hundredths[98], failures)


# --- checks


@dataclass
class Check:
    """What a check found."""

    name: str
    requests: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    notes: str = ""

    def row(self) -> str:
        """Return a row of a table."""
        wrong = "; ".join(f"{count:,} {name}" for name, count in (+self.problems).items())
        return f"| {self.name} | {self.requests:,} | {wrong or 'none'} | {self.notes} |"


def check_slow_clients(
    service: Running, texts: Sequence[str], connections: int, seconds: float
) -> Check:
    """Load the service while 1,000 clients send a byte of their request now and then."""
    check = Check("1,000 slow clients")

    async def run() -> None:
        clients = [Client(service) for _ in range(1000)]
        for client in clients:
            await client.__aenter__()
        request = HEAD % 30 + b'{"text": "slow"'
        sending = asyncio.create_task(dribble(clients, request))
        rate = await asyncio.to_thread(load, service, texts, connections, seconds)
        sending.cancel()
        # They are still served, unless they have taken too long.
        rest = b" " * 14 + b"}"
        for client in clients[:100]:
            client.writer.write(request[client.sent :] + rest)  # type: ignore[attr-defined]
            status, _ = await client.receive()
            check.problems[f"with status {status}"] += status not in (200, 0)
        for client in clients:
            await client.__aexit__()
        check.requests = round(rate.per_second * seconds) + 100
        check.problems["failed"] += rate.failures
        check.notes = f"{rate.per_second:,.0f} requests/s beside them, p99 {rate.p99:.1f} ms"

    asyncio.run(run())
    return check


async def dribble(clients: Sequence[Any], request: bytes) -> None:
    """Send one byte of each client's request after the other."""
    for client in clients:
        client.sent = 0
    while True:
        for client in clients:
            if client.sent < len(request):
                client.writer.write(request[client.sent : client.sent + 1])
                client.sent += 1
        await asyncio.sleep(0.5)


def bad_requests(limit: int) -> list[tuple[bytes, tuple[int, ...]]]:
    """Return requests that are wrong, with the statuses that each may get; 0: closed."""
    large = b'{"text": "%s"}' % (b"a" * limit)
    chunked = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"10000\r\n" + b"a" * 0x10000 + b"\r\n" for _ in range(limit // 0x10000 + 1))
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"text": 1}',
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
    ]
    bodies += [b'{"texts": ["a", null]}', b'{"text": "a", "top_k": 1e99}', b"[" * 100_000]
    bodies += [b'{"texts": [' + b'"",' * 20_000 + b'""]}', b'{"text": "a", "model": "no"}']
    return [
        (HEAD % len(large) + large, (413,)),
        (chunked + chunks + b"0\r\n\r\n", (413,)),
        *((HEAD % len(body) + body, (422,)) for body in bodies),
        (b"GET /predict HTTP/1.1\r\nhost: x\r\n\r\n", (405,)),
        (b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", (404,)),
        (b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", (400,)),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: %s\r\n" % (b"y" * 200_000) + b"\r\n", (400, 0)),
    ]


def check_bad_requests(service: Running, rounds: int) -> Check:
    """Send wrong requests, whole and in two parts; each gets its status, and memory stays."""
    check, cases = Check("wrong and oversized requests"), bad_requests(4 << 20)
    memory: list[float] = []

    async def run() -> None:
        for number in range(rounds):
            for request, expected in cases:
                async with Client(service) as client:
                    cut = random.randrange(len(request)) if number % 2 else len(request)
                    client.writer.write(request[:cut])
                    await asyncio.sleep(0.01 * (cut < len(request)))
                    client.writer.write(request[cut:])
                    status, _ = await client.receive()
                check.requests += 1
                check.problems[f"with {status} for {expected}"] += status not in expected
            memory.append(service.memory())

    asyncio.run(run())
    half = len(memory) // 2
    check.notes = f"memory {memory[half]:,.0f} → {memory[-1]:,.0f} MB in the second half"
    return check


def rename_into_place(source: Path, target: Path) -> None:
    """Replace a directory by renaming."""
    fresh, old = target.with_name("fresh"), target.with_name("old")
    shutil.copytree(source, fresh)
    target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old)


def copy_over(source: Path, target: Path) -> None:
    """Overwrite the files in a directory, as ``cp`` does."""
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def break_files(folder: Path) -> None:
    """Damage a directory."""
    (folder / "model.safetensors").write_bytes(b"broken")


class Replacement:
    """Replaces the model of a service under load, and compares every answer with both models."""

    def __init__(
        self, service: Running, folder: Path, models: Sequence[Path], texts: Sequence[str]
    ) -> None:
        self._service, self._folder, self._models, self._texts = service, folder, models, texts
        self._expected = [expected_answers(ft.load(model), texts) for model in models]
        self._check = Check("a model replaced under load")
        self._delays: list[float] = []
        self._memory: list[float] = []
        self._is_over = False

    def run(self, rounds: int) -> Check:
        """Replace the model this often."""
        asyncio.run(self._run(rounds))
        half = len(self._memory) // 2
        self._check.notes = (
            f"{rounds} times, served after {max(self._delays):.1f} s at most; memory "
            f"{self._memory[half]:,.0f} → {self._memory[-1]:,.0f} MB in the second half"
        )
        return self._check

    async def _run(self, rounds: int) -> None:
        await asyncio.gather(self._replace(rounds), *map(self._ask, range(16)))

    async def _ask(self, number: int) -> None:
        problems = self._check.problems
        async with Client(self._service) as client:
            while not self._is_over:
                text = self._texts[number % len(self._texts)]
                status, answer = await client.predict(text)
                self._check.requests += 1
                problems[f"with status {status}"] += status != 200
                problems["wrong"] += values_of(answer) not in [
                    all_[text] for all_ in self._expected
                ]
                number += 16

    async def _replace(self, rounds: int) -> None:
        ways: list[Callable[[Path, Path], None]] = [copy_model_over, rename_into_place, copy_over]
        for number in range(rounds):
            if number % 4 == 3:
                await asyncio.to_thread(break_files, self._folder)
                await asyncio.sleep(3)
            current = (number + 1) % 2
            way = ways[number % len(ways)]
            await asyncio.to_thread(way, self._models[current], self._folder)
            start = time.perf_counter()
            while not await self._is_served(current):
                await asyncio.sleep(0.1)
                if time.perf_counter() - start > PATIENCE:
                    self._check.problems["late"] += 1
                    break
            self._delays.append(time.perf_counter() - start)
            self._memory.append(self._service.memory())
        self._is_over = True

    async def _is_served(self, current: int) -> bool:
        """Return whether 10 new connections, which spread over the workers, get its answer."""
        text = self._texts[0]
        for _ in range(10):
            async with Client(self._service) as client:
                _, answer = await client.predict(text)
            if values_of(answer) != self._expected[current][text]:
                return False
        return True


def values_of(answer: Any) -> Any:
    """Return the labels and probabilities of an answer."""
    return answer and (answer["labels"], answer["probabilities"])


def copy_model_over(source: Path, target: Path) -> None:
    """Replace a model as ``train --overwrite`` does."""
    copy_model(source, target)


def expected_answers(model: TextClassifier, texts: Sequence[str]) -> dict[str, Any]:
    """Return the labels and probabilities of each text."""
    predictions = zip(texts, model.predict(list(texts)), strict=True)
    return {text: (list(p.labels), list(p.probabilities)) for text, p in predictions}


# --- all


def train_models(folder: Path) -> list[Path]:
    """Train two models that answer differently."""
    models = [folder / "a", folder / "b"]
    for seed, path in enumerate(models):
        ft.train("ag_news", seed=seed).save(path)
    return models


def rates(
    model: Path, texts: Sequence[str], workers: int, connections: int, seconds: float, rounds: int
) -> list[str]:
    """Measure the service and the constant by turns; return rows of a table."""
    results: dict[bool, list[Rate]] = {False: [], True: []}
    for _ in range(rounds):
        for constant, measured in results.items():
            with running(model, workers, constant=constant) as service:
                load(service, texts, connections, 1)
                measured.append(load(service, texts, connections, seconds))
                print(f"  {'constant' if constant else 'model'}: {measured[-1]}", flush=True)
    rows = []
    for constant, measured in results.items():
        middle = sorted(measured, key=lambda rate: rate.per_second)[len(measured) // 2]
        name = "HTTP alone (a constant answer)" if constant else "the model"
        rows.append(
            f"| {name} | {middle.per_second:,.0f} | {middle.p50:.2f} ms | {middle.p99:.2f} ms | "
            f"{middle.cpu:.0f} µs | {sum(rate.failures for rate in measured)} |"
        )
    by_turns = zip(results[False], results[True], strict=True)
    ratio = statistics.median(model.per_second / http.per_second for model, http in by_turns)
    return [*rows, f"| the model's rate as a share of the other | {ratio:.0%} | | | | |"]


def measure(args: argparse.Namespace) -> str:
    """Run everything; return the tables."""
    texts = test_texts()[: args.texts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = train_models(folder)
        lines = [
            "| answered by | requests/s | p50 | p99 | processor time of a request | failures |",
            "|---|---|---|---|---|---|",
            *rates(models[0], texts, args.workers, args.connections, args.seconds, args.rounds),
        ]
        with running(models[0], args.workers) as service:
            checks = [
                check_slow_clients(service, texts, args.connections, args.seconds),
                check_bad_requests(service, 10),
            ]
        served = folder / "served"
        shutil.copytree(models[0], served)
        with running(served, args.workers) as service:
            checks.append(Replacement(service, served, models, texts).run(args.replacements))
    lines += ["", "| while | requests | wrong | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(check.row() for check in checks)])


def test_texts() -> list[str]:
    """Return texts of the test split of AG_NEWS."""
    from fasttext_app.config.schema import DataConfig
    from fasttext_app.data.spec import open_source

    source = open_source(DataConfig(source="ag_news"))
    return list(source.read("test", with_labels=False).column("text").to_pylist())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--workers", type=int, default=2, help="processes of the service")
    add("--connections", type=int, default=32, help="connections that stay open")
    add("--seconds", type=float, default=10, help="seconds of each load")
    add("--rounds", type=int, default=3, help="turns of the model and the constant")
    add("--replacements", type=int, default=12, help="how often the model is replaced")
    add("--texts", type=int, default=1000, help="texts that are sent in turn")
    add("--write-docs", action="store_true", help=f"rewrite the tables in {PAGE.name}")
    add("--serve", help=argparse.SUPPRESS)
    add("--constant", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.workers, constant=args.constant)
        return
    if args.write_docs:
        check_markers(PAGE, MARKER)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    client = "wrk" if shutil.which("wrk") else "a client in Python"
    print(f"{args.workers} processes, {args.connections} connections, {client}", flush=True)
    tables = measure(args)
    print(tables)
    if args.write_docs:
        write_between_markers(PAGE, MARKER, tables)


if __name__ == "__main__":
    main()
