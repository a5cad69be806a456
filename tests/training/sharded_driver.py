"""Train cases on groups of forked processes: torch is imported once for all of them.

python -m tests.training.sharded_driver < CASES

``CASES`` is JSON: {"sizes": [processes, ...], "cases": {name: settings}}. The answer has, for each
case and number of processes, the digest of the model's tensors, or the error.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from fasttext_app import pipeline
from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.group import Group, joined
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.split import load_examples
from fasttext_app.errors import FastTextAppError
from fasttext_app.training import divided, tokenized
from fasttext_app.training.optim.cpu_columns import load_kernels
from fasttext_app.training.optim.cpu_kernels import (
    NO_F32,
    NO_WINNERS,
    ONE,
    layer_gradients,
    pool_rows,
    step_rows,
)
from fasttext_app.training.optim.rules import SGD
from fasttext_app.training.optim.sharded_kernels import step_rowwise_columns
from fasttext_app.training.prepare import prepare


def digest_of(tensors: Mapping[str, Any]) -> str:
    """Return the digest of a model's tensors."""
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        hashed.update(f"{name} {tensors[name].shape}".encode())
        hashed.update(np.ascontiguousarray(tensors[name]).data)
    return hashed.hexdigest()


def train_alone(config: Config) -> str:
    """Train in one process; return the digest."""
    return digest_of(pipeline.train(config, load_examples(config)).model.artifact.tensors)


def train_in_group(config: Config) -> str:
    """Train as one of the processes of a group; return the digest on the main one, else ``""``."""
    with joined(20) as group, SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer:
        prepared = prepare(config, load_examples(config), spill_buffer, group=group)
        if not group.is_main:
            pipeline.assist(prepared)
            return ""
        return digest_of(pipeline.run_prepared(prepared).model.artifact.tensors)


def run_group(size: int, settings: Mapping[str, Any]) -> str:
    """Fork a group that trains one case; return what its main process says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answer, writer = os.pipe()
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": size}
            os.environ.update({name: str(value) for name, value in environment.items()})
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            try:
                result = train_in_group(resolve(flat_layer(settings)))
            except FastTextAppError as error:
                result = f"{type(error).__name__}: {error}"
            if rank == 0:
                os.write(writer, result.encode())
            os._exit(0)
        children.append(child)
    os.close(writer)
    for child in children:
        os.waitpid(child, 0)
    with os.fdopen(answer) as file:
        return file.read()


def load_everything(cases: Mapping[str, Mapping[str, Any]]) -> None:
    """Load what the forks need, except that they must be the first to compute a gradient."""
    for settings in cases.values():
        config = resolve(flat_layer(settings))
        prepare(config, load_examples(config), group=Group())
        load_kernels(by_word=config.text.maxn > 0)
    one, bounds, values = np.zeros(1, np.int32), np.array([0, 1], np.int32), np.ones((1, 1), "f4")
    groups, settings = (one, bounds, one, ONE), np.ones(4, np.float32)
    pool_rows(values, one, bounds, ONE)
    layer_gradients(values, np.zeros(1, np.int64), NO_F32, values, values, 0.0, True)
    step_rows(SGD, values, values, values, *groups, NO_WINNERS, NO_F32, values, settings)
    step_rowwise_columns(values, values, *groups, NO_F32, values, 0, settings)


def use_small_parts() -> None:
    """Cut a few rows as many are cut elsewhere."""
    for module in (tokenized, divided):
        module.PART_ROWS, module.SHARD_IDS = 30, 3000


def main() -> None:
    """Run the cases."""
    import torch  # before the forks

    import fasttext_app.training.trainer  # noqa: F401

    torch.set_num_threads(1)
    use_small_parts()
    request = json.load(sys.stdin)
    load_everything(request["cases"])
    answers: dict[str, dict[int, str]] = {}
    for name, settings in request["cases"].items():
        started = time.perf_counter()
        answers[name] = {size: run_group(size, settings) for size in request["sizes"]}
        sys.stderr.write(f"{name}: {time.perf_counter() - started:.1f} s\n")
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
