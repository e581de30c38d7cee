"""Devices by the names that torch gives them, those of backends outside its tree too (``npu``)."""

from __future__ import annotations

from typing import Any

import torch

CPU, CUDA = "cpu", "cuda"
# The names of modules of torch; `torch.accelerator`, which knows, is of torch 2.6.
KINDS = (CUDA, "mps", "xpu", "npu", "hpu", "mtia")


def kind_of(device: str) -> str:
    """ "cuda" of "cuda:1"."""
    return device.partition(":")[0]


def there() -> list[str]:
    """What a subject can run on here, the CPU first."""
    names = [CPU]
    for kind in KINDS:
        module = _module(kind)
        if module is not None and module.is_available():
            count = getattr(module, "device_count", lambda: 0)()
            names += [kind, *(f"{kind}:{i}" for i in range(count))]
    return names


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    module = _module(kind_of(device))
    if module is not None and kind_of(device) != CPU:
        wait = module.synchronize
        wait(device) if kind_of(device) == CUDA else wait()


def _module(kind: str) -> Any:
    """What torch has of a kind of device: ``torch.cuda``; None where it has nothing."""
    return getattr(torch, kind, None)
