"""Measure an epoch of training on one GPU, and the fraction of its memory bandwidth it reaches.

The encoded texts are on the device, and batches are cut there. Times come from the trainer's own
clock, which waits for the device at the end of an epoch; they include cutting and sorting. Medians
are over the epochs after the first, which loads and compiles the kernels.

    python scripts/bench_cuda.py [--config ag_news] [--batch-size 256] [--epochs 10]
        [--implementations torch fused] [--json FILE]

Only the bytes that an epoch must move are counted, each once per step:

- ids, and the weights of ids: read by the forward pass, and again, grouped by row with the index of
  their text, by the step;
- offsets and labels: read;
- rows: every distinct row of a batch is read by the forward pass, and read and written by the step
  together with its optimizer state;
- the gradient of the bags: written and read;
- the linear layer: read by the forward pass, and read and written by the step, with its state.

Other traffic of an implementation (a sort, a gathered copy, a sparse tensor) is not counted, so the
result is the useful traffic as a fraction of the peak, which a copy within the device measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fasttext_app.config.auto import known
from fasttext_app.config.loading import flat_layer, load_config_file, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.split import load_examples
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Grouping
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.optim.cuda_batches import cut_on_cuda
from fasttext_app.training.prepare import prepare
from fasttext_app.training.trainer import Trainer

COPY_BYTES, COPIES = 1 << 30, 20
NUMBER, ID, LABEL = 4, 4, 8  # bytes of a weight or an id on the device, and of a label


@dataclass(frozen=True)
class Work:
    """What the steps of one epoch have to do."""

    texts: int
    ids: int
    steps: int
    rows: int  # distinct rows of each batch, summed over the batches
    dim: int
    classes: int
    optimizer: str
    weighted: bool  # whether every id has a weight of its own
    mean: bool


@dataclass(frozen=True)
class Result:
    """The epochs of one implementation."""

    implementation: str
    seconds: list[float]  # of each epoch after the first
    train_loss: float  # of the last epoch
    texts_per_second: float
    bytes_per_second: float
    share_of_peak: float


def state_numbers(optimizer: str, dim: int) -> int:
    """Return how many numbers of state the optimizer keeps for a row of the table."""
    return {"sgd": 0, "adagrad": dim, "rowwise_adagrad": 1, "sparse_adam": 2 * dim}[optimizer]


def bytes_by_part(work: Work) -> dict[str, int]:
    """Return the bytes that an epoch must move, part by part; see the top of this file."""
    row = work.dim * NUMBER
    state = state_numbers(work.optimizer, work.dim) * NUMBER
    grouped = 2 * ID + (NUMBER if work.weighted or work.mean else 0)
    layer = work.classes * (work.dim + 1) * NUMBER
    # The state of the linear layer: by number, also where that of the table is by row.
    per_number = {"sgd": 0, "sparse_adam": 2}.get(work.optimizer, 1)
    return {
        "ids": work.ids * (ID + (NUMBER if work.weighted else 0) + grouped),
        "offsets, labels": (work.texts + work.steps) * ID + work.texts * LABEL,
        "rows, forward": work.rows * row,
        "rows and state, step": work.rows * 2 * (row + state),
        "gradient of bags": work.texts * 2 * row,
        "linear layer": work.steps * layer * (1 + 2 * (1 + per_number)),
    }


def work_of(data: EncodedDataset, config: Config, rows: int, classes: int) -> Work:
    """Count the work of one epoch; distinct rows are counted in the first random order."""
    grouping = Grouping(rows, mean=config.model.mode == "mean")
    order = torch.Generator().manual_seed(config.trainer.seed)
    distinct = torch.zeros((), dtype=torch.int64, device=data.indices.device)
    texts = torch.randperm(len(data), generator=order)
    for batch in cut_on_cuda(data, texts, known(config.trainer.batch_size), grouping):
        assert batch.sorted_ids is not None
        found = batch.sorted_ids.rows
        distinct += (found[1:] != found[:-1]).sum() + min(len(found), 1)
    return Work(
        texts=len(data),
        ids=len(data.indices),
        steps=data.steps(known(config.trainer.batch_size)),
        rows=int(distinct),
        dim=config.model.dim,
        classes=classes,
        optimizer=config.optimizer.name,
        weighted=data.idf is not None,
        mean=config.model.mode == "mean",
    )


def peak_bytes_per_second() -> float:
    """Measure a large copy within the device, counting what it reads and what it writes."""
    source = torch.empty(COPY_BYTES // 4, dtype=torch.int32, device="cuda").zero_()
    target = torch.empty_like(source)
    times = []
    for _ in range(COPIES):
        torch.cuda.synchronize()
        started = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * COPY_BYTES / min(times)


def measure(
    implementation: str, config: Config, data: EncodedDataset, rows: int, classes: int
) -> tuple[list[float], float]:
    """Train; return the seconds of every epoch but the first, and the loss of the last."""
    config = resolve(config.model_dump(), flat_layer({"implementation": implementation}))
    generator = torch.Generator().manual_seed(config.trainer.seed)
    model = FastTextClassifier.from_config(config.model, rows, classes, generator)
    trainer = Trainer(model.to(data.indices.device), config)
    history = trainer.fit(data).history
    return [record.seconds for record in history[1:]], history[-1].train_loss


def report(work: Work, results: Sequence[Result], peak: float) -> str:
    """Return the results as a Markdown table."""
    parts = bytes_by_part(work)
    lines = [f"{name}: {size / 1e6:,.1f} MB an epoch" for name, size in parts.items()]
    lines += [
        f"{work.texts:,} texts, {work.ids:,} ids, {work.steps:,} steps, {work.rows:,} rows stepped",
        f"copy within the device: {peak / 1e9:,.0f} GB/s",
        "",
        "| implementation | median epoch | fastest | texts/s | GB/s | of the peak | loss |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {found.implementation} | {1e3 * median(found.seconds):.1f} ms "
        f"| {1e3 * min(found.seconds):.1f} ms | {found.texts_per_second:,.0f} "
        f"| {found.bytes_per_second / 1e9:.1f} | {100 * found.share_of_peak:.1f} % "
        f"| {found.train_loss:.4f} |"
        for found in results
    ]
    return "\n".join(lines)


def summed_up(
    implementation: str, seconds: list[float], loss: float, work: Work, peak: float
) -> Result:
    """Put the figures of one implementation together."""
    epoch = median(seconds)
    rate = sum(bytes_by_part(work).values()) / epoch
    return Result(implementation, seconds, loss, work.texts / epoch, rate, rate / peak)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="ag_news", help="a shipped config or a TOML file")
    parser.add_argument("--batch-size", type=int, help="texts in a step (default: the config's)")
    parser.add_argument("--epochs", type=int, default=10, help="timed epochs (default: 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    ways = ["torch", "fused"]
    parser.add_argument("--implementations", nargs="+", choices=ways, default=ways)
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    options = parse(arguments)
    if not torch.cuda.is_available():
        print("bench_cuda: this machine or this build of torch has no CUDA", file=sys.stderr)
        return 1
    settings = {"epochs": options.epochs + 1, "device": "cuda", "validation": 0.0}
    if options.batch_size is not None:
        settings["batch_size"] = options.batch_size
    config = resolve(load_config_file(options.config), flat_layer(settings))
    with SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer:
        prepared = prepare(config, load_examples(config), spill_buffer)
        bags = Ragged.concat([load() for load in prepared.train.shards])
        classes = np.concatenate(prepared.train.classes)
        data = EncodedDataset(
            Ragged(np.array(bags.indices), np.array(bags.offsets)),
            classes,
            prepared.idf,
            device="cuda",
            include_last_offset=config.model.include_last_offset,
        )
    sizes = prepared.encoder.rows, len(prepared.labels)
    work, peak = work_of(data, config, *sizes), peak_bytes_per_second()
    results = []
    for implementation in options.implementations:
        seconds, loss = measure(implementation, config, data, *sizes)
        results.append(summed_up(implementation, seconds, loss, work, peak))
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}, batches of {config.trainer.batch_size} texts")
    print(report(work, results, peak))
    if options.json:
        found = {
            "device": device,
            "torch": torch.__version__,
            "batch_size": config.trainer.batch_size,
            "peak_bytes_per_second": peak,
            "work": asdict(work),
            "bytes_by_part": bytes_by_part(work),
            "results": [asdict(result) for result in results],
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
