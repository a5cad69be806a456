"""Which torch device a run uses, and how many threads. Torch is imported when it is asked for."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fasttext_app.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["preload_torch", "resolve_device", "torch_threads"]


def preload_torch() -> None:
    """Begin to import torch on another thread, so that reading and tokenising need not wait.

    Whoever imports torch later waits for what is left of it, and gets its error if there is one.
    For a process of its own, as a command is: torch comes without TorchScript, which nothing here
    uses, and whose compiler takes a sixth of the import.
    """
    threading.Thread(target=_import_torch, name="preload torch", daemon=True).start()


def _import_torch() -> None:
    spec = find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        with suppress(OSError):  # an import would hold the interpreter's lock for as long as this
            ctypes.CDLL(str(Path(folder, "lib", "libtorch_cpu.so")))
    scripting = os.environ.get("PYTORCH_JIT")
    os.environ["PYTORCH_JIT"] = "0"  # read once, by the import
    gc.disable()  # what an import makes stays
    try:
        with suppress(Exception):  # whoever needs it imports it again, and reports it
            import torch  # noqa: F401
    finally:
        gc.freeze()  # or the first collection would go through all of torch
        gc.enable()
        if scripting is None:
            del os.environ["PYTORCH_JIT"]
        else:
            os.environ["PYTORCH_JIT"] = scripting


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
