"""Measure four ways to average word vectors in a fastText training step.

The step is forward, cross-entropy, backward and SGD on table and linear layer. Before any
timing, the four ways must agree on outputs, gradients and the updated table; else it exits with 1.

Shapes: N ids in the batch, B bags (texts), V table rows, D dim, C classes, L longest text.
Row 0 of the table is reserved for padding: it is zero, and no text has id 0.

    python scripts/bench_embedding_bag.py --quick
    python scripts/bench_embedding_bag.py --write-docs --json results.json
"""

import argparse
import json
import math
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import NormalDist, median
from typing import Any, NamedTuple

import torch
from pages import check_markers, write_between_markers
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_sequence

ROOT = Path(__file__).resolve().parents[1]
MARKERS = "bench"
CLASSES, LEARNING_RATE, BATCHES = 10, 0.1, 4
MEMORY_REPEATS, MEMORY_WORKER = 3, "--memory-worker"
MIB = 2.0**20
QUICK = {"vocabularies": [1000, 10_000], "lengths": [8, 32], "fixed_vocabulary": 1000}
QUICK |= {"fixed_length": 8, "batch": 16, "slice": 0.005}

Texts = list[Tensor]  # B tensors of ids; their lengths add up to N
Batch = tuple[Tensor, ...] | PackedSequence


# The four ways: collate() lays texts out (a loader's work), forward() gives the means [B, D].


class FlatBag(nn.Module):
    """nn.EmbeddingBag on flat indices [N] and offsets [B+1]: its forward stores no [N, D]."""

    def __init__(self, table: Tensor, sparse: bool) -> None:
        """Use `table` [V, D] in place."""
        super().__init__()
        self.bag = nn.EmbeddingBag.from_pretrained(
            table, freeze=False, mode="mean", sparse=sparse, include_last_offset=True
        )

    @staticmethod
    def collate(texts: Texts) -> Batch:
        """Return indices [N] and offsets [B+1]."""
        lengths = torch.tensor([0, *(len(text) for text in texts)])
        return torch.cat(texts), lengths.cumsum(0)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Average each bag."""
        indices, offsets = batch
        means: Tensor = self.bag(indices, offsets)
        return means


class RowLookup(nn.Module):
    """Base of the ways that look every id up; row 0 is padding and takes no gradient."""

    def __init__(self, table: Tensor, sparse: bool) -> None:
        """Use `table` [V, D] in place."""
        super().__init__()
        load: Callable[..., nn.Embedding] = nn.Embedding.from_pretrained
        self.rows = load(table, freeze=False, padding_idx=0, sparse=sparse)


class Padded(RowLookup):
    """nn.Embedding on ids padded to [B, L], then a masked mean.

    The padding row is zero and stays so; the mask is then needed only to count. Multiplying
    [B, L, D] by a mask gives the same mean, slower: this is padding at its best.
    """

    @staticmethod
    def collate(texts: Texts) -> Batch:
        """Return ids [B, L], padded with 0."""
        return (pad_sequence(texts, batch_first=True),)

    def forward(self, batch: tuple[Tensor]) -> Tensor:
        """Average over the real ids of each line."""
        (ids,) = batch
        counts = (ids != 0).sum(1, keepdim=True).clamp(min=1)
        means: Tensor = self.rows(ids).sum(1) / counts
        return means


class Loop(RowLookup):
    """One nn.Embedding call and mean per text; an empty text is a zero vector."""

    @staticmethod
    def collate(texts: Texts) -> Batch:
        """Return the texts as they are."""
        return tuple(texts)

    def forward(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Average text by text."""
        empty = self.rows.weight.new_zeros(self.rows.embedding_dim)
        return torch.stack([self.rows(text).mean(0) if len(text) else empty for text in batch])


class Packed(RowLookup):
    """PackedSequence: ids by time step, longest text first; means by index_add."""

    @staticmethod
    def collate(texts: Texts) -> Batch:
        """Pack the texts; packing refuses an empty text, so it goes in as one padding id."""
        padding = torch.zeros(1, dtype=torch.long)
        filled = [text if len(text) else padding for text in texts]
        return pack_sequence(filled, enforce_sorted=False)

    def forward(self, batch: PackedSequence) -> Tensor:
        """Work out which text each packed id belongs to, and average by text."""
        ids, batch_sizes, order, _ = batch
        if order is None:
            raise ValueError("pack with enforce_sorted=False")
        starts = batch_sizes.cumsum(0) - batch_sizes  # a PackedSequence keeps sizes on the CPU
        place = torch.arange(len(ids)) - starts.repeat_interleave(batch_sizes)
        bags = order[place.to(ids.device)]  # [N]
        sums = self.rows.weight.new_zeros(len(order), self.rows.embedding_dim)
        counts = torch.bincount(bags, minlength=len(order)).unsqueeze(1)
        means: Tensor = sums.index_add(0, bags, self.rows(ids)) / counts
        return means


Way = type[FlatBag] | type[Padded] | type[Loop] | type[Packed]
WAYS: dict[str, Way] = {"EmbeddingBag": FlatBag, "padded": Padded, "loop": Loop, "packed": Packed}


class Case(NamedTuple):
    """A way and the kind of its table gradient."""

    way: str
    gradient: str

    def __str__(self) -> str:
        """Name the case in tables and plots."""
        return ", ".join(self)


CASES = [Case(way, gradient) for way in WAYS for gradient in ("sparse", "dense")]
BASE = CASES[0]


def new_linear(dim: int) -> nn.Linear:
    """Return the linear layer, alike for all cases."""
    torch.manual_seed(0)
    return nn.Linear(dim, CLASSES)


class Trainer:
    """A case's classifier on a table [V, D], which is used in place, and plain SGD."""

    def __init__(self, case: Case, table: Tensor) -> None:
        """Build encoder, linear layer and optimizer."""
        self.device, self.collate = table.device, WAYS[case.way].collate
        encoder = WAYS[case.way](table, case.gradient == "sparse")
        self.model = nn.Sequential(encoder, new_linear(table.shape[1]).to(self.device))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)

    def load(self, texts: Texts) -> Batch:
        """Lay texts out, and copy that to the device (but for a PackedSequence's batch sizes)."""
        batch = self.collate(texts)
        if isinstance(batch, PackedSequence):
            return batch.to(device=self.device)  # type: ignore[call-arg]
        return tuple(part.to(self.device) for part in batch)

    def step(self, batch: Batch, labels: Tensor) -> Tensor:
        """Do one training step and return the logits [B, C] from before it."""
        self.optimizer.zero_grad()
        logits: Tensor = self.model(batch)
        torch.autograd.backward(cross_entropy(logits, labels))
        self.optimizer.step()
        return logits.detach()


# Data: Zipf-like ids and skewed lengths.


class Size(NamedTuple):
    """One point of a sweep; `skew` is the log-normal sigma of the lengths (0: all equal)."""

    vocabulary: int
    mean_length: int
    skew: float
    batch: int
    dim: int


def text_lengths(size: Size) -> list[int]:
    """Take B evenly spaced quantiles of a log-normal, scaled to the mean length.

    Quantiles and not draws: every batch then pads alike, so that batches can be compared.
    """
    normal = NormalDist()
    raw = [math.exp(size.skew * normal.inv_cdf((i + 0.5) / size.batch)) for i in range(size.batch)]
    scale = size.mean_length * size.batch / sum(raw)
    return [max(1, round(scale * value)) for value in raw]


def draw_texts(size: Size, generator: torch.Generator) -> Texts:
    """Draw texts of ids in [1, V) with P(id) about 1/id (Zipf), in random order of length."""
    lengths = text_lengths(size)
    order = torch.randperm(size.batch, generator=generator).tolist()
    uniform = torch.rand(sum(lengths), generator=generator, dtype=torch.float64)
    ids = (float(size.vocabulary) ** uniform).long().clamp(1, size.vocabulary - 1)
    return list(torch.split(ids, [lengths[i] for i in order]))


def new_labels(count: int, device: torch.device | str) -> Tensor:
    """Return the classes in turn."""
    return torch.arange(count, device=device) % CLASSES


def new_table(vocabulary: int, dim: int, device: str) -> Tensor:
    """Return a table [V, D] as fastText starts it, but for the zero padding row."""
    torch.manual_seed(0)
    table = torch.empty(vocabulary, dim, device=device).uniform_(-1 / dim, 1 / dim)
    table[0] = 0
    return table


# Agreement.


def step_results(case: Case, texts: Texts, table: Tensor) -> dict[str, Tensor]:
    """Do one step on a copy of the table; return all that it gives, on the CPU."""
    table = table.clone()
    trainer = Trainer(case, table)
    logits = trainer.step(trainer.load(texts), new_labels(len(texts), table.device))
    found = {"logits": logits, "table after": table}
    parameters = trainer.model.parameters()
    for name, parameter in zip(("table", "weight", "bias"), parameters, strict=True):
        wanted = name == "table" and case.gradient == "sparse"
        if parameter.grad is None or parameter.grad.is_sparse != wanted:
            raise AssertionError(f"{case}: the {name} gradient is missing or of the wrong kind")
        found[f"{name} gradient"] = parameter.grad.to_dense()
    return {name: tensor.cpu().double() for name, tensor in found.items()}


def reference_results(texts: Texts, table: Tensor) -> dict[str, Tensor]:
    """Do the step in float64 with a dense averaging matrix [B, V], which shares no code."""
    averages = torch.zeros(len(texts), len(table), dtype=torch.float64)
    for bag, text in enumerate(texts):
        for index in text.tolist():
            averages[bag, index] += 1 / len(text)
    linear = new_linear(table.shape[1]).double()
    rows = table.cpu().double().requires_grad_()
    logits = linear(averages @ rows)
    loss = cross_entropy(logits, new_labels(len(texts), "cpu"))
    table_grad, weight_grad, bias_grad = torch.autograd.grad(
        loss, (rows, linear.weight, linear.bias)
    )
    return {
        "logits": logits.detach(),
        "table after": rows.detach() - LEARNING_RATE * table_grad,
        "table gradient": table_grad,
        "weight gradient": weight_grad,
        "bias gradient": bias_grad,
    }


def awkward_texts() -> Texts:
    """Return texts with an empty one first, within and last, duplicates, and unequal lengths."""
    long = draw_texts(Size(50, 300, 0.0, 1, 16), torch.Generator().manual_seed(1))
    lists = [[], [7], [3, 3, 3], [5, 9, 5, 1], [], [2, 2], [49, 1, 49, 8, 8]]
    return [*(torch.tensor(ids, dtype=torch.long) for ids in lists), *long, torch.tensor([]).long()]


def check_agreement(device: str) -> dict[str, float]:
    """Compare all cases with the reference; return the largest differences by name."""
    texts, table = awkward_texts(), new_table(50, 16, device)
    expected = reference_results(texts, table)
    worst = dict.fromkeys(expected, 0.0)
    for case in CASES:
        found = step_results(case, texts, table)
        for name, wanted in expected.items():
            gap = float((found[name] - wanted).abs().max())
            if not torch.allclose(found[name], wanted, rtol=1e-5, atol=1e-6):
                raise AssertionError(f"{case}: {name} differs from the reference by {gap:g}")
            worst[name] = max(worst[name], gap)
    return worst


# Time.


class Row(NamedTuple):
    """What a case took at one size, by round or repeat."""

    case: Case
    size: Size
    step_ms: list[float]
    collate_ms: list[float]
    memory_mib: list[float]


class Timer:
    """One thing to time: an action of a trainer on the inputs in turn."""

    def __init__(self, trainer: Trainer, act: Callable[..., object], inputs: list[Any]) -> None:
        """Do it once unmeasured."""
        self.trainer, self.act, self.inputs = trainer, act, inputs
        self.clock(1, 0)

    def clock(self, repeats: int, turn: int) -> float:
        """Return the milliseconds of an action; includes freeing the last gradient."""
        self.wait()
        start = time.perf_counter()
        for i in range(turn, turn + repeats):
            self.act(*self.inputs[i % len(self.inputs)])
        self.trainer.optimizer.zero_grad()
        self.wait()
        return (time.perf_counter() - start) * 1000 / repeats

    def wait(self) -> None:
        """Let the device finish."""
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize()


def time_cases(size: Size, args: argparse.Namespace) -> list[list[float]]:
    """Return milliseconds by round: for each of CASES a list for the step, one for collating.

    All cases train one shared table on the same texts. A round visits every case, there and
    back in turn, so that noise and drift hit all alike.
    """
    generator = torch.Generator().manual_seed(0)
    texts = [draw_texts(size, generator) for _ in range(BATCHES)]
    table = new_table(size.vocabulary, size.dim, args.device)
    labels = new_labels(size.batch, args.device)
    timers = []
    for case in CASES:
        trainer = Trainer(case, table)
        steps = [(trainer.load(group), labels) for group in texts]
        timers.append(Timer(trainer, trainer.step, steps))
        timers.append(Timer(trainer, trainer.load, [(group,) for group in texts]))
    repeats = [math.ceil(1000 * args.slice / timer.clock(1, 1)) for timer in timers]
    times: list[list[float]] = [[] for _ in timers]
    for turn in range(args.rounds):
        plan = list(zip(timers, repeats, times, strict=True))
        for timer, count, kept in reversed(plan) if turn % 2 else plan:
            kept.append(timer.clock(count, turn))
    return times


# Memory.


def peak_reset(device: str) -> int:
    """Forget the peak so far; return the bytes in use now."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with suppress(OSError):  # if refused, the answer is how far the peak rose: a lower bound
        Path("/proc/self/clear_refs").write_text("5")
    return peak_now(device)


def peak_now(device: str) -> int:
    """Return the peak bytes: of tensors on CUDA, else of the whole process (resident set).

    Linux's VmHWM is what ru_maxrss reports, with two faults mended: the kernel carries the
    parent's peak into a child's ru_maxrss, and ru_maxrss can't be reset after the model is
    built, so a peak of the building (or of `import torch`) would hide a smaller one.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def extra_memory(case: Case, size: Size, device: str) -> float:
    """Return the peak MiB that collating and one step take above model and texts.

    A tiny step comes first, so that code is loaded and small pools are filled.
    """
    for now in (Size(16, 2, size.skew, 2, size.dim), size):
        texts = draw_texts(now, torch.Generator().manual_seed(0))
        trainer = Trainer(case, new_table(now.vocabulary, now.dim, device))
        labels = new_labels(now.batch, device)
        before = peak_reset(device)
        trainer.step(trainer.load(texts), labels)
    return (peak_now(device) - before) / MIB


def memory_worker() -> None:
    """Answer on stdout the jobs of stdin, each in a process of its own.

    This process does the imports, nothing else, and forks a child for every job.
    """
    import torch._dynamo  # noqa: F401  # which optimizers load

    threads, jobs = json.load(sys.stdin)
    context, found = get_context("fork"), []
    for case, size, device in jobs:
        receiver, sender = context.Pipe(duplex=False)
        work = (sender, threads, Case(*case), Size(*size), device)
        child = context.Process(target=_send_extra_memory, args=work)
        child.start()
        sender.close()
        found.append(receiver.recv())
        child.join()
    print(json.dumps(found))


def _send_extra_memory(
    sender: Connection, threads: int, case: Case, size: Size, device: str
) -> None:
    torch.set_num_threads(threads)
    sender.send(extra_memory(case, size, device))


def measure_memory(
    sizes: list[Size], args: argparse.Namespace
) -> dict[tuple[Case, Size], list[float]]:
    """Measure extra_memory() for every case and size, in a new process for each repeat.

    Each repeat has a layout of addresses of its own, which its forks share. malloc is told to
    map blocks of 4 KiB and up on their own, and to unmap them when freed: what was freed
    before the step then can't serve it unseen.
    """
    keys = [(case, size) for size in sizes for case in CASES]
    spec = json.dumps([args.threads, [(*key, args.device) for key in keys]])
    found: dict[tuple[Case, Size], list[float]] = {key: [] for key in keys}
    for _ in range(MEMORY_REPEATS):
        done = subprocess.run(
            [sys.executable, __file__, MEMORY_WORKER],
            env={**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4096"},
            input=spec,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for key, mib in zip(keys, json.loads(done.stdout), strict=True):
            found[key].append(mib)
    return found


# Results: tables, plots, documents.


def sweep_sizes(args: argparse.Namespace) -> dict[str, list[Size]]:
    """Return the sizes of each sweep by name."""
    fixed, batch, dim = args.fixed_vocabulary, args.batch, args.dim
    return {
        "vocabulary": [
            Size(rows, args.fixed_length, args.skew, batch, dim) for rows in args.vocabularies
        ],
        "length": [Size(fixed, length, args.skew, batch, dim) for length in args.lengths],
        "equal": [Size(fixed, length, 0.0, batch, dim) for length in args.lengths],
    }


def measure(args: argparse.Namespace, console: Console) -> list[Row]:
    """Measure every case at every size, each size once though two sweeps may hold it."""
    rows = []
    sizes = list(dict.fromkeys(size for sizes in sweep_sizes(args).values() for size in sizes))
    for i, size in enumerate(sizes, 1):
        console.print(f"time {i}/{len(sizes)}: {size}", markup=False, highlight=False)
        times = time_cases(size, args)
        for case, step, collate in zip(CASES, times[::2], times[1::2], strict=True):
            rows.append(Row(case, size, step, collate, []))
    if args.no_memory:
        return rows
    console.print("memory")
    memory = measure_memory(sizes, args)
    return [row._replace(memory_mib=memory[row.case, row.size]) for row in rows]


def short(count: int) -> str:
    """Write 4000000 as 4M, 10000 as 10k."""
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if count >= unit and count % (unit // 10) == 0:
            return f"{count / unit:g}{name}"
    return str(count)


def number(value: float) -> str:
    """Write about three digits, and never an exponent."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


class Metric(NamedTuple):
    """A quantity to tabulate: its title, unit, and value in a row."""

    title: str
    unit: str
    value: Callable[[Row], float]


STEP = Metric("Training step", "ms", lambda row: median(row.step_ms))
MEMORY = Metric("Peak memory of a step", "MiB", lambda row: median(row.memory_mib))
COLLATE = Metric("Collating a batch", "ms", lambda row: median(row.collate_ms))


def axis_value(sweep: str, size: Size) -> int:
    """Return what the sweep varies."""
    return size.vocabulary if sweep == "vocabulary" else size.mean_length


def grid(metric: Metric, sweep: str, sizes: list[Size], rows: list[Row]) -> list[list[str]]:
    """Tabulate a metric with its ratio to EmbeddingBag-sparse; the least of a column in bold."""
    unit = "rows" if sweep == "vocabulary" else "ids"
    heads = [f"{short(axis_value(sweep, size))} {unit}" for size in sizes]
    lines = [[f"{metric.title}, {metric.unit}", *heads]]
    values = {(row.case, row.size): metric.value(row) for row in rows}
    shown = CASES[::2] if metric is COLLATE else CASES  # collating knows of no gradient
    for case in shown:
        cells = [case.way if metric is COLLATE else str(case)]
        for size in sizes:
            value, base = values[case, size], values[BASE, size]
            ratio = f" ({number(value / base)}x)" if base > 0 else ""
            bold = "**" if value == min(values[other, size] for other in shown) else ""
            cells.append(f"{bold}{number(value)}{ratio}{bold}")
        lines.append(cells)
    return lines


def batch_grid(sweep: str, sizes: list[Size]) -> list[list[str]]:
    """Tabulate what a batch holds."""
    lines = [["Batch", *(short(axis_value(sweep, size)) + " ids" for size in sizes)]]
    lines.append(["ids N", *(f"{sum(text_lengths(size)):,}" for size in sizes)])
    lines.append(["longest text L", *(f"{max(text_lengths(size)):,}" for size in sizes)])
    cells = (size.batch * max(text_lengths(size)) for size in sizes)
    return [*lines, ["padded cells B x L", *(f"{count:,}" for count in cells)]]


def sweep_grids(sweep: str, sizes: list[Size], rows: list[Row]) -> list[list[list[str]]]:
    """Return all tables of a sweep."""
    metrics = [STEP] + [MEMORY] * bool(rows[0].memory_mib)
    metrics += [COLLATE] * (sweep != "vocabulary")
    tables = [grid(metric, sweep, sizes, rows) for metric in metrics]
    return [batch_grid(sweep, sizes), *tables] if sweep != "vocabulary" else tables


def sweep_title(sweep: str, sizes: list[Size]) -> str:
    """Say what the sweep varies and what it holds."""
    if sweep == "vocabulary":
        return f"Growing vocabulary, texts of {sizes[0].mean_length} ids on average"
    kind = "all texts equally long" if sweep == "equal" else "skewed lengths"
    return f"Growing texts, {kind}, vocabulary of {short(sizes[0].vocabulary)} rows"


def show(lines: list[list[str]], title: str, console: Console) -> None:
    """Print a table to the terminal."""
    table = Table(title=title)
    for place, head in enumerate(lines[0]):
        table.add_column(head, justify="right" if place else "left")
    for cells in lines[1:]:
        table.add_row(*(cell.replace("**", "") for cell in cells))
    console.print(table)


def plot(sweep: str, sizes: list[Size], rows: list[Row], path: Path) -> None:
    """Draw the sweep's step time and memory, both axes logarithmic, in Okabe-Ito colors."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    metrics = [STEP] + [MEMORY] * bool(rows[0].memory_mib)
    looks = dict(zip(WAYS, ("#0072B2 o", "#E69F00 s", "#CC79A7 ^", "#009E73 D"), strict=True))
    figure = Figure(figsize=(1.5 + 4 * len(metrics), 4.6), layout="constrained")
    axes_row = figure.subplots(1, len(metrics), squeeze=False)[0]
    ticks = [axis_value(sweep, size) for size in sizes]
    for axes, metric in zip(axes_row, metrics, strict=True):
        for case in CASES:
            found = {row.size: metric.value(row) for row in rows if row.case == case}
            heights = [max(found[size], 2**-12) for size in sizes]  # a logarithm needs more than 0
            color, marker = looks[case.way].split()
            line, fill = ("-", color) if case.gradient == "sparse" else ("--", "white")
            axes.plot(ticks, heights, line, color=color, marker=marker, markerfacecolor=fill,
                      label=str(case), markersize=6, linewidth=1.8)  # fmt: skip
        axes.set(xscale="log", yscale="log", title=f"{metric.title} ({metric.unit})")
        axes.set_xticks(ticks, [short(tick) for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("table rows" if sweep == "vocabulary" else "mean ids per text")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes_row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "embedding_bag"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def describe(args: argparse.Namespace, argv: Sequence[str], rows: list[Row]) -> dict[str, str]:
    """Say how the results came about."""
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else processor()
    found = {
        "Command": f"`{shlex.join(['python', 'scripts/bench_embedding_bag.py', *argv])}`",
        "Date": datetime.now(UTC).date().isoformat(),
        "Software": f"torch {torch.__version__}, Python {platform.python_version()}",
        "Machine": f"{device}, {os.cpu_count()} cores, of which {args.threads} used",
        "Batch": f"B = {args.batch} texts, D = {args.dim}, C = {CLASSES} classes",
        "Skewed lengths": f"log-normal, sigma {args.skew:g}",
        "Time": f"median of {args.rounds} rounds; in each a case runs for {args.slice:g} s or once",
    }
    if not args.no_memory:
        noise = [max(row.memory_mib) - min(row.memory_mib) for row in rows]
        found["Memory"] = (
            f"median of {MEMORY_REPEATS} processes, which differ by {number(median(noise))} MiB "
            f"in the middle case and by {number(max(noise))} MiB in the worst"
        )
    if args.quick:
        found["Quick run"] = "too small and too short to draw conclusions from"
    return found


def write_docs(args: argparse.Namespace, about: dict[str, str], rows: list[Row]) -> None:
    """Rewrite the part of the document between the markers, and the plots."""
    lines = [f"- {name}: {value}" for name, value in about.items()]
    for sweep, sizes in sweep_sizes(args).items():
        title, image = sweep_title(sweep, sizes), args.images / f"embedding_bag_{sweep}.svg"
        plot(sweep, sizes, rows, image)
        link = Path(os.path.relpath(image, args.docs.parent)).as_posix()
        lines += ["", f"### {title}", "", f"![{title}: step time and memory]({link})"]
        for header, *body in sweep_grids(sweep, sizes, rows):
            rule = ["---", *["---:"] * (len(header) - 1)]
            lines += ["", *(f"| {' | '.join(cells)} |" for cells in (header, rule, *body))]
    write_between_markers(args.docs, MARKERS, "\n".join(lines))


# Command line.


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes and short rounds, to try the script")
    add("--vocabularies", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 4_000_000])
    add("--fixed-vocabulary", type=int, default=100_000, help="table rows while lengths grow")
    add("--lengths", type=int, nargs="+", default=[16, 64, 256, 1024], help="mean ids per text")
    add("--fixed-length", type=int, default=64, help="mean ids per text while vocabulary grows")
    add("--skew", type=float, default=0.8, help="sigma of the log-normal lengths")
    add("--batch", type=int, default=64)
    add("--dim", type=int, default=16)
    add("--rounds", type=int, default=7, help="5 or more")
    add("--slice", type=float, default=0.1, help="seconds for each case in each round")
    add("--threads", type=int, default=1)
    add("--device", default="cpu", help="cpu or cuda")
    add("--no-memory", action="store_true", help="measure time only")
    add("--json", type=Path, help="write the raw results here")
    add("--write-docs", action="store_true", help="rewrite the generated part of the document")
    add("--docs", type=Path, default=ROOT / "docs/embedding_bag.md")
    add("--images", type=Path, default=ROOT / "docs/images")
    if parser.parse_args(argv).quick:
        parser.set_defaults(**QUICK)
    args = parser.parse_args(argv)
    if args.rounds < 5:
        parser.error("--rounds: a median of fewer than 5 says little")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device: torch finds no CUDA here")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Check, measure, report."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    if args.write_docs:
        check_markers(args.docs, MARKERS)
    torch.set_num_threads(args.threads)
    console = Console()
    try:
        agreement = check_agreement(args.device)
    except AssertionError as error:
        console.print(f"THE WAYS DISAGREE, nothing measured:\n{error}", style="bold red")
        return 1
    console.print(f"all {len(CASES)} cases agree; largest differences: {agreement}")
    rows = measure(args, console)
    about = describe(args, argv, rows)
    for name, value in about.items():
        console.print(f"{name}: {value}", markup=False, highlight=False)
    for sweep, sizes in sweep_sizes(args).items():
        for lines in sweep_grids(sweep, sizes, rows):
            show(lines, sweep_title(sweep, sizes), console)
    if args.json:
        listed = [
            {**row._asdict(), "case": row.case._asdict(), "size": row.size._asdict()}
            for row in rows
        ]
        results = {"about": about, "agreement": agreement, "rows": listed}
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.write_docs:
        write_docs(args, about, rows)
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == [MEMORY_WORKER]:
        memory_worker()
    else:
        sys.exit(main())
