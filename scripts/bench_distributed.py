r"""Steps a second of several processes, and the share of time that goes into communication.

    python scripts/bench_distributed.py [--designs D ...] [--sizes N ...] [--delays MS ...]
            [--rate GBIT] [--texts N] [--rounds N] [--write-docs]

Each number of processes trains with ``trainer.shard = "columns"`` and ``"rows"``, and the same
model under ``DistributedDataParallel`` with sparse gradients, with a stock optimizer on the same
bags. If TorchRec can be imported, it shards the table too. With ``--delays``, each process also
runs in a network namespace of its own, behind a link with this latency and the rate of ``--rate``
(see ``network_link.py``), which needs the rights of root. Bytes are what a process receives in a
step. Figures are medians of rounds in which all take turns.

TorchRec 1.8.0 is the version for torch 2.13. This leaves the environment as it is:

    pip install --no-deps --target DIR torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0 torchmetrics==1.0.3 \
        lightning-utilities tensordict pyvers pyre-extensions typing-inspect mypy-extensions
    PYTHONPATH=DIR python scripts/bench_distributed.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import count, product
from pathlib import Path
from typing import Any

from network_link import INTERFACE, Link, address_of, means, namespaces, round_trip
from pages import check_markers, write_between_markers
from peers.measure import Samples, alternate, median_of

DESIGNS = {
    "columns": '`shard = "columns"`',
    "rows": '`shard = "rows"`',
    "ddp": "DDP, sparse gradients",
    "torchrec-columns": "TorchRec, column-wise",
    "torchrec-rows": "TorchRec, row-wise",
}
PAGE, MARKERS = Path(__file__).parents[1] / "docs" / "scale.md", "distributed"
HEADER = """\
| network | design | processes | steps/s | ms a step | KB a step | in communication |
|---|---|---|---|---|---|---|"""


KEYS = "steps_per_second", "ms", "kb_per_step", "communication"
WARM_UP = 3
"""Steps that are not measured, in which libraries load and processes connect."""
Case = tuple[Link | None, str, int]
"""A link, a design and a number of processes."""


# --- one process


def settings_of(design: str, data: str, dim: int, batch_size: int) -> dict[str, Any]:
    """Return the settings of a run."""
    shard = design if design in ("columns", "rows") else "columns"
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

    meter = {"seconds": 0.0, "bytes": 0.0, "is_open": 0.0}

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
        if design in ("columns", "rows"):
            steps, seconds = ours(prepared, meter)
        else:
            steps, seconds = theirs(prepared, meter, ddp if design == "ddp" else torchrec(design))
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


def ours(prepared: Any, meter: dict[str, float]) -> tuple[int, float]:
    """Train with ``trainer.shard``; return the steps and their seconds."""
    from fasttext_app import pipeline

    steps = count(1)
    pipeline.assist(prepared, stop=lambda: next(steps) == WARM_UP)
    prepared.group.raised = prepared.group.flags = 0  # the wish to stop
    meter.update(seconds=0.0, bytes=0.0)
    outcome = pipeline.assist(prepared)  # it trains, and writes no model
    return outcome.steps, sum(record.seconds for record in outcome.history)


Batch = tuple[Any, Any, Any]
"""The ids, the offsets and the labels of a batch; the offsets include the end."""
Step = Callable[[Any, Any, Any], None]
Contender = Callable[[Any, dict[str, float]], Step]
"""A function from the data and a meter of communication to a training step."""


def theirs(prepared: Any, meter: dict[str, float], contender: Contender) -> tuple[int, float]:
    """Train as others do, each process on its part of every batch."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    batches, step = list(own_batches(prepared)), contender(prepared, meter)
    for batch in batches[:WARM_UP]:
        step(*batch)
    meter.update(seconds=0.0, bytes=0.0)
    started = time.perf_counter()
    for batch in batches:
        step(*batch)
    return len(batches), time.perf_counter() - started


def own_batches(prepared: Any) -> Iterator[Batch]:
    """Yield the part that this process has of each batch."""
    import torch

    from fasttext_app.training.dataset import DividedDataset

    data = DividedDataset(prepared.train, None, None, include_last_offset=True)
    group, size = prepared.group, prepared.config.trainer.batch_size
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).numpy()
    own = torch.arange(group.rank, size, group.size)
    for start in range(0, len(order) - size + 1, size):
        batch = data.gather(order[start : start + size]).gather(own)  # collective, not measured
        yield batch.indices, batch.offsets, batch.labels


def ddp(prepared: Any, meter: dict[str, float]) -> Step:
    """Return the step of DDP with sparse gradients."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self, rows: int, dim: int, classes: int) -> None:
            super().__init__()
            self.bags = nn.EmbeddingBag(
                rows, dim, mode="mean", sparse=True, include_last_offset=True
            )
            self.layer = nn.Linear(dim, classes)

        def forward(self, ids: torch.Tensor, offsets: torch.Tensor) -> Any:
            return self.layer(self.bags(ids, offsets))

    dim, classes = prepared.config.model.dim, len(prepared.labels)
    model: Any = Model(prepared.encoder.rows, dim, classes)
    if prepared.group.size > 1:
        model = metered_ddp(model, prepared.group, meter)
    optimizer = torch.optim.Adagrad(model.parameters(), 0.1)
    loss_of = nn.CrossEntropyLoss()

    def step(ids: Any, offsets: Any, labels: Any) -> None:
        optimizer.zero_grad()
        loss_of(model(ids, offsets), labels).backward()
        optimizer.step()

    return step


def metered_ddp(model: Any, group: Any, meter: dict[str, float]) -> Any:
    """Wrap a model in DDP whose exchange of gradients is measured."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.futures import Future

    wrapped = nn.parallel.DistributedDataParallel(model)
    all_reduce = timed(dist.all_reduce, meter)

    def timed_hook(state: object, bucket: Any) -> Any:
        # What is exchanged of a sparse gradient: the rows and their indices.
        buffer = bucket.buffer()
        if buffer.is_sparse:
            buffer = buffer.coalesce()
            received = buffer._indices().nbytes + buffer._values().nbytes
            meter["bytes"] += received * gathered(group.size)
        else:
            meter["bytes"] += buffer.nbytes * summed(group.size)
        all_reduce(buffer)
        future: Any = Future()
        future.set_result(buffer / group.size)
        return future

    timed_hook.__annotations__ = {
        "bucket": dist.GradBucket,  # type: ignore[attr-defined]
        "return": Future[torch.Tensor],
    }
    wrapped.register_comm_hook(None, timed_hook)
    return wrapped


def torchrec(design: str) -> Contender:
    """Return the contender in which TorchRec shards the table, by columns or rows."""
    return partial(_torchrec, by_columns=design == "torchrec-columns")


def _torchrec(prepared: Any, meter: dict[str, float], *, by_columns: bool) -> Step:
    import torch
    import torch.distributed as dist
    from torch import nn
    from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType
    from torchrec.distributed import DistributedModelParallel, ShardingEnv
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.sharding_plan import (
        column_wise,
        construct_module_sharding_plan,
        row_wise,
    )
    from torchrec.distributed.types import ShardingPlan
    from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

    group, dim, cpu = prepared.group, prepared.config.model.dim, torch.device("cpu")
    if group.size == 1:
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    table = EmbeddingBagConfig(
        name="words",
        embedding_dim=dim,
        num_embeddings=prepared.encoder.rows,
        feature_names=["text"],
        pooling=PoolingType.MEAN,
    )
    collection = EmbeddingBagCollection([table], device=torch.device("meta"))
    apply_optimizer_in_backward(torch.optim.Adagrad, collection.parameters(), {"lr": 0.1})
    sizes = [4 * len(part) for part in torch.arange(dim // 4).tensor_split(group.size)]
    sharding = column_wise(size_per_rank=sizes) if by_columns else row_wise()
    sharder: Any = EmbeddingBagCollectionSharder()
    plan = construct_module_sharding_plan(
        collection, {"words": sharding}, sharder, group.size, group.size, "cpu"
    )
    bags = DistributedModelParallel(
        collection,
        ShardingEnv.from_process_group(dist.group.WORLD),
        cpu,
        plan=ShardingPlan({"": plan}),
        sharders=[sharder],
    )
    layer: Any = nn.Linear(dim, len(prepared.labels))
    if group.size > 1:
        layer = metered_ddp(layer, group, meter)
    optimizer, loss_of = torch.optim.Adagrad(layer.parameters(), 0.1), nn.CrossEntropyLoss()
    for name, received in EXCHANGES.items():
        setattr(dist, name, timed(getattr(dist, name), meter, received(group.size)))
    work: Any = dist.Work  # of exchanges that are asynchronous
    work.wait = timed(work.wait, meter)

    def step(ids: Any, offsets: Any, labels: Any) -> None:
        optimizer.zero_grad()
        texts = KeyedJaggedTensor(["text"], ids, lengths=offsets.diff().int())
        loss_of(layer(bags(texts).values()), labels).backward()
        optimizer.step()

    return step


EXCHANGES: dict[str, Callable[[int], float]] = {
    "all_to_all_single": lambda size: (size - 1) / size,
    "reduce_scatter_tensor": lambda size: size - 1,
    "all_gather_into_tensor": lambda size: (size - 1) / size,
}
"""What TorchRec calls, and how many times its output a process receives."""


def timed(
    work: Callable[..., Any], meter: dict[str, float], received: float = 0.0
) -> Callable[..., Any]:
    """Return a function whose seconds are measured, and what it receives, in sizes of its output.

    What it calls that is measured too does not count twice.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        if meter["is_open"]:
            return work(*arguments, **options)
        meter["is_open"], started = 1.0, time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            meter["is_open"] = 0.0
            meter["seconds"] += time.perf_counter() - started
            if received:
                output = arguments[0] if arguments else options["output"]
                meter["bytes"] += output.nbytes * received

    return call


# --- the processes


@contextmanager
def places(size: int, link: Link | None) -> Iterator[tuple[list[list[str]], float | None]]:
    """Yield the beginning of each process's command, and the round trip between two of them."""
    if link is None:
        yield [[] for _ in range(size)], None
        return
    with namespaces(size, link) as names:
        yield [["ip", "netns", "exec", name] for name in names], round_trip(names)


def failed(workers: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Return whether a process has ended with an error."""
    return any(worker.returncode for worker in workers)


def measure(
    design: str, settings: dict[str, Any], size: int, link: Link | None
) -> dict[str, float]:
    """Run the processes; return what the main one measured."""
    address = address_of(0) if link else "127.0.0.1"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--worker", design, json.dumps(settings)]
    with ExitStack() as stack:
        prefixes, trip = stack.enter_context(places(size, link))
        output, workers = stack.enter_context(tempfile.TemporaryFile()), []
        for rank, prefix in enumerate(prefixes):
            variables = {"MASTER_ADDR": address, "MASTER_PORT": port, "RANK": rank}
            variables |= {"WORLD_SIZE": size, "OMP_NUM_THREADS": 1}
            variables["PYTHONWARNINGS"] = "ignore"  # of torch, about its own sparse tensors
            if link:
                variables["GLOO_SOCKET_IFNAME"] = INTERFACE
            environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
            shown = output if rank == 0 else subprocess.DEVNULL
            worker = subprocess.Popen([*prefix, *command], env=environment, stdout=shown)
            workers.append(stack.enter_context(worker))
            stack.callback(worker.kill)
        while None in [worker.poll() for worker in workers] and not failed(workers):
            time.sleep(0.05)
        if failed(workers):
            raise SystemExit(f"{design}, {size} processes: one of them failed")
        output.seek(0)
        figures: dict[str, float] = json.loads(output.read())
        return figures if trip is None else figures | {"round_trip": trip}


def table(cases: Sequence[Case], samples: Samples) -> str:
    """Return the medians as Markdown."""
    lines = [HEADER]
    for case in cases:
        link, design, size = case
        figures = {key: median_of(samples, name_of(case), key) or 0 for key in KEYS}
        lines.append(
            f"| {link or 'loopback'} | {DESIGNS[design]} | {size} "
            f"| {figures['steps_per_second']:.1f} | {figures['ms']:.2f} "
            f"| {figures['kb_per_step']:,.0f} | {figures['communication']:.0%} |"
        )
    return "\n".join(lines)


def name_of(case: Case) -> str:
    """Return the name of a case among the samples."""
    return " / ".join(map(str, case))


def links_note(links: Iterable[Link], cases: Sequence[Case], samples: Samples) -> str:
    """Return a sentence about what delays packets, and about the round trips that it makes."""
    trips = []
    for link in links:
        names = [name_of(case) for case in cases if case[0] == link]
        measured = [median_of(samples, name, "round_trip") or 0.0 for name in names]
        trips.append(f"{statistics.median(measured):.2f} ms ({link})")
    return f" The links are of {means()}; a byte of TCP takes there and back {', '.join(trips)}."


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every design with every number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4])
    installed = [name for name in DESIGNS if "torchrec" not in name or find_spec("torchrec")]
    parser.add_argument("--designs", nargs="+", choices=installed, default=installed)
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--texts", type=int, default=30_000, help="the first ones of the data")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--delays", type=float, nargs="*", default=[], help="in ms, one way")
    parser.add_argument("--rate", type=float, default=1.0, help="of a link, in Gbit/s")
    parser.add_argument("--no-loopback", action="store_true", help="measure the links only")
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
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and leave no namespace
    links = [Link(delay, options.rate) for delay in options.delays]
    places: list[Link | None] = [*links] if options.no_loopback else [None, *links]
    cases = [
        (link, design, size)
        for link, design, size in product(places, options.designs, options.sizes)
        if size > 1 or link is None  # one process sends nothing
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = first_rows(options.data, options.texts, Path(folder))

        def measured(name: str, _: int) -> dict[str, float]:
            link, design, size = case_of[name]
            settings = settings_of(design, data, options.dim, options.batch_size)
            return measure(design, settings, size, link)

        case_of = {name_of(case): case for case in cases}
        samples = alternate(case_of, options.rounds, measured)
    runs = f"Medians of {options.rounds} runs" if options.rounds > 1 else "One run of each"
    text = (
        f"{table(cases, samples)}\n\n"
        f"{runs} over {options.texts:,} texts of {options.data}: {options.dim} columns, Adagrad, "
        f"{options.batch_size} texts a step, one thread for each process, {os.cpu_count()} cores "
        f"({platform.machine()}) for all of them."
    )
    text += links_note(links, cases, samples) if links else ""
    print(text)
    if options.write_docs:
        write_between_markers(PAGE, MARKERS, text)


def first_rows(data: str, count: int, folder: Path) -> str:
    """Write the first rows of some data to a file; return its path."""
    import pyarrow.parquet as pq

    from fasttext_app.config.loading import flat_layer, resolve
    from fasttext_app.data.spec import open_source

    config = resolve(flat_layer({"source": data}))
    path = folder / "rows.parquet"
    pq.write_table(open_source(config.data).read("train").slice(0, count), path)
    return str(path)


if __name__ == "__main__":
    main()
