"""Which torch device a run uses, and how many threads. Torch is imported when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fasttext_app.errors import DeviceError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.

    Raises:
        DeviceError: there is no such device, or CUDA was asked for and is not there.
    """
    import torch

    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", name) is None:
        raise DeviceError(f"device {name}: expected auto, cpu, cuda or cuda:0, cuda:1, ...")
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
    """Run with ``threads`` torch threads, and put the number back after.

    One thread where ``threads`` is 0: for steps this small it is the steadiest, and often the
    fastest.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
