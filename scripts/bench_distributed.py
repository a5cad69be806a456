"""Steps a second of several processes, and the share of time that goes into communication.

    python scripts/bench_distributed.py [--rounds 3] [--network QDISC ...] [--write-docs]

Each number of processes trains with ``trainer.shard = "columns"`` and ``"rows"``, and the same
model under ``DistributedDataParallel`` with sparse gradients, with a stock optimizer on the same
bags. With ``--network``, each process also runs in a network namespace of its own, and a queue of
``tc`` shapes what it sends: "netem delay 1ms rate 1gbit", or where the kernel has no netem, "tbf
rate 1gbit burst 1mb latency 50ms", which limits the rate only. This needs the rights of root. Bytes
are what a process receives in a step. Figures are medians of rounds in which all take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from pages import check_markers, write_between_markers
from peers.measure import Samples, alternate, median_of

BRIDGE = "fta-bench"
DESIGNS = {
    "columns": '`shard = "columns"`',
    "rows": '`shard = "rows"`',
    "ddp": "DDP, sparse gradients",
}
PAGE, MARKERS = Path(__file__).parents[1] / "docs" / "scale.md", "distributed"
HEADER = """\
| network | design | processes | steps/s | ms a step | KB a step | in communication |
|---|---|---|---|---|---|---|"""


KEYS = "steps_per_second", "ms", "kb_per_step", "communication"
Case = tuple[str | None, str, int]
"""A queue, a design and a number of processes."""


# --- one process


def settings_of(design: str, data: str, dim: int, batch_size: int) -> dict[str, Any]:
    """Return the settings of a run."""
    shard = "rows" if design == "rows" else "columns"
    return {
        **{"source": data, "validation": 0.0, "dim": dim, "batch_size": batch_size, "epochs": 1},
        **{"refit": False, "calibrate": False, "fold": False, "threads": 1, "name": "adagrad"},
        **{"shard": shard, "term_weighting": "none", "mode": "mean", "minn": 0, "maxn": 0},
    }


def work(design: str, settings: dict[str, Any]) -> None:
    """Train as one process; the main one prints what it measured."""
    from fasttext_app.config.loading import flat_layer, resolve
    from fasttext_app.core.group import Group, joined
    from fasttext_app.data.split import load_examples
    from fasttext_app.model.shard import Share
    from fasttext_app.training.prepare import prepare

    meter = {"seconds": 0.0, "bytes": 0.0}

    def metered(exchange: Callable[..., Any], copies: Callable[[int], float]) -> Any:
        def call(group: Group, values: Any) -> Any:
            started = time.perf_counter()
            result = exchange(group, values)
            meter["seconds"] += time.perf_counter() - started
            meter["bytes"] += values.nbytes * copies(group.size)
            return result

        return call

    config = resolve(flat_layer(settings))
    with joined(600) as group:
        prepared = prepare(config, load_examples(config), group=group)
        for name, copies in (("all_gather", gathered), ("sum", summed)):
            setattr(Group, name, metered(getattr(Group, name), copies))
        trained = {}
        collect = Share.collect

        def note_and_collect(share: Share, whole: Any) -> Any:
            trained.update(meter)  # the steps are done, and the table is about to be exchanged
            return collect(share, whole)

        setattr(Share, "collect", note_and_collect)  # noqa: B010 - it is a method
        steps, seconds = ddp(prepared, meter) if design == "ddp" else ours(prepared)
        meter.update(trained)
        if group.is_main:
            figures = {"steps_per_second": steps / seconds, "ms": 1000 * seconds / steps}
            figures["communication"] = meter["seconds"] / seconds
            figures["kb_per_step"] = meter["bytes"] / steps / 1000
            print(json.dumps(figures), flush=True)


def gathered(size: int) -> float:
    """Return how many times a process receives an array that all processes gather."""
    return size - 1


def summed(size: int) -> float:
    """Return how many times a process receives an array that is summed in a ring."""
    return 2 * (size - 1) / size


def ours(prepared: Any) -> tuple[int, float]:
    """Train with ``trainer.shard``; return the steps and their seconds."""
    from fasttext_app import pipeline

    outcome = pipeline.assist(prepared)  # it trains, and writes no model
    return outcome.steps, sum(record.seconds for record in outcome.history)


def ddp(prepared: Any, meter: dict[str, Any]) -> tuple[int, float]:
    """Train with DDP and sparse gradients, each process on its part of every batch."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.futures import Future

    from fasttext_app.training.dataset import DividedDataset

    class Model(nn.Module):
        def __init__(self, rows: int, dim: int, classes: int) -> None:
            super().__init__()
            self.bags = nn.EmbeddingBag(rows, dim, mode="mean", sparse=True)
            self.layer = nn.Linear(dim, classes)

        def forward(self, ids: torch.Tensor, offsets: torch.Tensor) -> Any:
            return self.layer(self.bags(ids, offsets))

    config, group = prepared.config, prepared.group
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model: Any = Model(prepared.encoder.rows, config.model.dim, len(prepared.labels))
    if group.size > 1:
        model = nn.parallel.DistributedDataParallel(model)

        def timed_hook(state: object, bucket: Any) -> Any:
            # What is exchanged of a sparse gradient: the rows and their indices.
            buffer = bucket.buffer()
            started = time.perf_counter()
            if buffer.is_sparse:
                buffer = buffer.coalesce()
                received = buffer._indices().nbytes + buffer._values().nbytes
                received *= gathered(group.size)
            else:
                received = buffer.nbytes * summed(group.size)
            dist.all_reduce(buffer)
            meter["seconds"] += time.perf_counter() - started
            meter["bytes"] += received
            future: Any = Future()
            future.set_result(buffer / group.size)
            return future

        timed_hook.__annotations__ = {
            "bucket": dist.GradBucket,  # type: ignore[attr-defined]
            "return": Future[torch.Tensor],
        }
        model.register_comm_hook(None, timed_hook)
    optimizer = torch.optim.Adagrad(model.parameters(), 0.1)
    data = DividedDataset(prepared.train, None, None, include_last_offset=True)
    size, loss_of = config.trainer.batch_size, nn.CrossEntropyLoss()
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).numpy()
    batches = []
    for start in range(0, len(order) - size + 1, size):
        own = order[start : start + size][group.rank :: group.size]
        texts = data.gather(order[start : start + size])  # collective, and not measured
        rows = torch.arange(group.rank, size, group.size)
        batch = texts.gather(rows)
        batches.append((batch.indices, batch.offsets[: len(own)], batch.labels))
    meter.update(seconds=0.0, bytes=0)
    started = time.perf_counter()
    for ids, offsets, labels in batches:
        optimizer.zero_grad()
        loss_of(model(ids, offsets), labels).backward()
        optimizer.step()
    return len(batches), time.perf_counter() - started


# --- the processes


@contextmanager
def namespaces(size: int, network: str | None) -> Iterator[list[list[str]]]:
    """Yield the beginning of each process's command: a namespace whose network is shaped."""
    if network is None:
        yield [[] for _ in range(size)]
        return

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    with ExitStack() as stack:
        ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(ip, "link", "del", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        prefixes = []
        for rank in range(size):
            name, ends = f"{BRIDGE}{rank}", (f"fta-in{rank}", f"fta-out{rank}")
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            stack.callback(ip, "link", "del", ends[1])  # that of a namespace may take its time
            ip("link", "set", ends[0], "netns", name)
            ip("link", "set", ends[1], "master", BRIDGE, "up")
            inside = ["netns", "exec", name, "ip"]
            ip(*inside, "address", "add", f"10.77.0.{rank + 1}/24", "dev", ends[0])
            ip(*inside, "link", "set", ends[0], "up")
            ip(*inside, "link", "set", "lo", "up")
            shape = ["qdisc", "add", "dev", ends[0], "root", *network.split()]
            ip("netns", "exec", name, "tc", *shape)
            prefixes.append(["ip", "netns", "exec", name])
        yield prefixes


def failed(workers: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Return whether a process has ended with an error."""
    return any(worker.returncode for worker in workers)


def measure(
    design: str, settings: dict[str, Any], size: int, network: str | None
) -> dict[str, float]:
    """Run the processes; return what the main one measured."""
    address = "10.77.0.1" if network else "127.0.0.1"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--worker", design, json.dumps(settings)]
    with namespaces(size, network) as prefixes, tempfile.TemporaryFile() as output:
        workers = []
        for rank, prefix in enumerate(prefixes):
            variables = {"MASTER_ADDR": address, "MASTER_PORT": port, "RANK": rank}
            variables |= {"WORLD_SIZE": size, "OMP_NUM_THREADS": 1}
            if network:
                variables["GLOO_SOCKET_IFNAME"] = f"fta-in{rank}"
            environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
            shown = output if rank == 0 else subprocess.DEVNULL
            workers.append(subprocess.Popen([*prefix, *command], env=environment, stdout=shown))
        while None in [worker.poll() for worker in workers] and not failed(workers):
            time.sleep(0.05)
        if failed(workers):
            for worker in workers:
                worker.kill()
                worker.wait()
            raise SystemExit(f"{design}, {size} processes: one of them failed")
        output.seek(0)
        figures: dict[str, float] = json.loads(output.read())
        return figures


def table(cases: Sequence[Case], samples: Samples) -> str:
    """Return the medians as Markdown."""
    lines = [HEADER]
    for network, design, size in cases:
        figures = {key: median_of(samples, str((network, design, size)), key) or 0 for key in KEYS}
        lines.append(
            f"| {network or 'loopback'} | {DESIGNS[design]} | {size} "
            f"| {figures['steps_per_second']:.1f} | {figures['ms']:.2f} "
            f"| {figures['kb_per_step']:,.0f} | {figures['communication']:.0%} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every design with every number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=[*DESIGNS])
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", nargs="*", default=[], help="queues, besides loopback")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"rewrite the table in {PAGE.name}"
    )
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work(options.worker[0], json.loads(options.worker[1]))
        return
    if options.write_docs:
        check_markers(PAGE, MARKERS)
    data = str(Path(options.data).absolute()) if Path(options.data).exists() else options.data
    cases = [
        (network, design, size)
        for network, design, size in product(
            [None, *options.network], options.designs, options.sizes
        )
        if size > 1 or network is None  # one process sends nothing
    ]
    case_of = {str(case): case for case in cases}

    def measured(name: str, _: int) -> dict[str, float]:
        network, design, size = case_of[name]
        settings = settings_of(design, data, options.dim, options.batch_size)
        return measure(design, settings, size, network)

    samples = alternate(case_of, options.rounds, measured)
    runs = f"Medians of {options.rounds} runs" if options.rounds > 1 else "One run of each"
    text = (
        f"{table(cases, samples)}\n\n"
        f"{runs} over {options.data}: {options.dim} columns, Adagrad, "
        f"{options.batch_size} texts a step, one thread for each process, {os.cpu_count()} cores "
        f"({platform.machine()}) for all of them."
    )
    print(text)
    if options.write_docs:
        write_between_markers(PAGE, MARKERS, text)


if __name__ == "__main__":
    main()
