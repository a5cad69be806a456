"""The torch device and the number of torch threads of a run; torch is imported on first use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fasttext_app.errors import DeviceError

if TYPE_CHECKING:
    import torch


DEVICE_NAMES = "auto, cpu, cuda or cuda:0, cuda:1, ..."


def is_device_name(name: str) -> bool:
    """Return whether ``name`` has one of the forms of :data:`DEVICE_NAMES`."""
    return re.fullmatch(r"auto|cpu|cuda(:\d+)?", name) is not None


def resolve_device(name: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.

    Raises:
        DeviceError: the name is none of these, or the device is not available.
    """
    import torch

    if not is_device_name(name):
        raise DeviceError(f"device {name}: expected {DEVICE_NAMES}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(
                f"device {name}: this machine or this build of torch has no CUDA; use --device cpu"
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"device {name}: the CUDA devices go from 0 to {torch.cuda.device_count() - 1}"
            )
    return device


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Run the block with ``threads`` torch threads, then restore the previous number.

    Training uses one: with more, a product of matrices has other bits, and steps are so small that
    one thread has the steadiest speed, and often the best.
    """
    import torch

    previous = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(previous)
