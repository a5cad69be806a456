"""The torch device and the number of torch threads."""

from __future__ import annotations

import pytest
import torch

from fasttext_app.core.device import resolve_device, torch_threads
from fasttext_app.errors import DeviceError


def test_the_cpu_is_always_available():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_without_a_gpu_is_an_error(name):
    with pytest.raises(DeviceError, match=f"device {name}: .* has no CUDA; use --device cpu"):
        resolve_device(name)


def test_a_missing_cuda_device_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="device cuda:2: the CUDA devices go from 0 to 1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:", "cuda:x", ""])
def test_an_unknown_device_name_is_an_error(name):
    with pytest.raises(DeviceError, match=f"device {name}: expected auto, cpu, cuda"):
        resolve_device(name)


def test_torch_threads_sets_and_restores_the_number_of_threads():
    before = torch.get_num_threads()
    with torch_threads(2):
        assert torch.get_num_threads() == 2
        with torch_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_torch_threads_restores_the_number_of_threads_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
