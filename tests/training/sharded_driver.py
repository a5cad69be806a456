"""Train cases on groups of forked processes: torch is imported once for all of them.

python -m tests.training.sharded_driver < CASES

``CASES`` is JSON: {"cases": {name: {"settings": ..., "runs": [...]}}}. A run is {"size": N}, the
number of processes. It may have "output", the folder of checkpoints, from which it resumes if there
are any, and "kill", the processes that kill themselves "after" so many steps. The answer has, for
each run of a case, the digest of the model's tensors, or the error, of the processes that live; or
with "warnings", the warnings that the main process gives. With "only_prepare", the processes train
nothing, and each answers how many bytes it parsed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from fasttext_app import pipeline
from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.checksummed_dir import list_checkpoints
from fasttext_app.core.group import Group, joined
from fasttext_app.data import csv, parquet
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.split import load_examples
from fasttext_app.errors import FastTextAppError
from fasttext_app.training import divided, tokenized
from fasttext_app.training.checkpoints import find_checkpoint
from fasttext_app.training.optim.cpu_columns import load_kernels
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


def train_in_group(config: Config, run: Mapping[str, Any]) -> str:
    """Train as one of the processes of a group; return the digest, or the warnings."""
    output, steps = str(run.get("output", "")), count(1)

    def stop() -> bool:
        if int(os.environ["RANK"]) in run.get("kill", []) and next(steps) == run["after"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    has_checkpoint = output and list_checkpoints(Path(output) / "checkpoints")
    resume = find_checkpoint(output) if has_checkpoint else None
    examples = load_examples(config)
    result = pipeline.train(config, examples, None, output or None, resume, stop)
    if "warnings" in run:
        return "\n".join(map(str, result.warnings))
    return digest_of(result.model.artifact.tensors)


def prepare_in_group(config: Config) -> str:
    """Prepare the rows as one of the processes; return how many bytes went to a parser."""
    sizes, read = [0], CheckedStream.read

    def counted(stream: CheckedStream, size: int = -1) -> bytes:
        block = read(stream, size)
        sizes.append(len(block))
        return block

    CheckedStream.read = counted  # type: ignore[method-assign]
    with joined(config.trainer.shard_timeout) as group:
        prepare(config, load_examples(config), group=group)
        return f"{group.rank} {sum(sizes)}"


def run_group(settings: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Fork a group that trains one case; return what those say that live, in one if they agree."""
    from torch.distributed import TCPStore

    # The store has a thread, which might hold a lock at a fork: so the processes get it later.
    pipes, children = [os.pipe() for _ in range(run["size"])], []
    port_reader, port_writer = os.pipe()
    for rank, (_, writer) in enumerate(pipes):
        child = os.fork()
        if child == 0:
            port = os.read(port_reader, 5).decode()
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank}
            environment |= {"WORLD_SIZE": run["size"], "TORCHELASTIC_USE_AGENT_STORE": True}
            environment["LOCAL_RANK"] = rank % 2  # as if each two had a machine
            os.environ.update({name: str(value) for name, value in environment.items()})
            config = resolve(flat_layer(settings))
            try:
                if "only_prepare" in run:
                    answer = prepare_in_group(config)
                else:
                    answer = train_in_group(config, run)
            except FastTextAppError as error:
                answer = f"{type(error).__name__}: {error}"
            os.write(writer, answer.encode())
            os._exit(0)
        children.append(child)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun has one
    os.write(port_writer, f"{store.port:05d}".encode() * run["size"])
    for child in children:
        os.waitpid(child, 0)
    answers = []
    for end in port_reader, port_writer:
        os.close(end)
    for reader, writer in pipes:
        os.close(writer)
        with os.fdopen(reader) as file:
            answers.append(file.read())
    return "\n".join(dict.fromkeys(filter(None, answers)))


def load_everything(cases: Mapping[str, Mapping[str, Any]]) -> None:
    """Load what the forks need, except that they must be the first to compute a gradient."""
    for case in cases.values():
        config = resolve(flat_layer(case["settings"]))
        prepare(config, load_examples(config), group=Group())
        load_kernels(by_word=config.text.maxn > 0, at_once=False)
        if config.optimizer.implementation == "torch":
            import torch._dynamo  # noqa: F401 - the first `torch.optim` object loads it


def use_small_parts() -> None:
    """Cut a few rows as many are cut elsewhere."""
    for module in (tokenized, divided):
        vars(module).update(PART_ROWS=30, SHARD_IDS=3000)
    vars(parquet).update(BATCH_ROWS=60)
    vars(csv).update(BLOCK_BYTES=1 << 12)


def main() -> None:
    """Run the cases."""
    import torch  # before the forks

    import fasttext_app.training.trainer  # noqa: F401

    torch.set_num_threads(1)
    use_small_parts()
    request = json.load(sys.stdin)
    load_everything(request["cases"])
    answers = {}
    for name, case in request["cases"].items():
        answers[name] = [run_group(case["settings"], run) for run in case["runs"]]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
