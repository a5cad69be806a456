"""The device of each process: GPUs if every one has its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from fasttext_app.core.group import Group
from fasttext_app.errors import DeviceError


def second_of_two(monkeypatch: pytest.MonkeyPatch, gpus: int) -> tuple[Group, list[Any]]:
    """Return the second process of a machine, and the list of what it asks of torch."""
    asked: list[Any] = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("TORCH_NCCL_BLOCKING_WAIT", "1")  # it is set for good
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)

    def new_group(backend: str, timeout: object) -> str:
        asked.append(backend)
        return "NCCL"

    monkeypatch.setattr("torch.distributed.new_group", new_group)
    group = Group(1, 2)
    monkeypatch.setattr(group, "share", lambda value: [True, value])
    return group, asked


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_takes_a_gpu_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, asked = second_of_two(monkeypatch, gpus=2)
    group.use_device(name)
    assert (group.device, asked) == ("cuda:1", [1, "nccl"])
    on_gpu, on_cpu = (cast("Any", SimpleNamespace(is_cuda=is_cuda)) for is_cuda in (True, False))
    groups: list[Any] = [group._group_of(on_gpu), group._group_of(on_cpu)]
    assert groups == ["NCCL", None]


def test_processes_without_gpus_of_their_own_train_on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    group, asked = second_of_two(monkeypatch, gpus=1)
    for name in ("auto", "cpu"):
        group.use_device(name)
        assert (group.device, asked) == ("cpu", [])
    with pytest.raises(DeviceError, match="device cuda: each process needs a GPU of its own"):
        group.use_device("cuda")


def test_a_process_alone_takes_the_device_of_the_settings() -> None:
    group = Group()
    group.use_device("auto")
    assert group.device == "auto"
