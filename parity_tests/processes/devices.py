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
    for kind in dict.fromkeys((*KINDS, _of_no_tree())):
        module = _module(kind) if kind else None
        if module is not None and module.is_available():
            count = getattr(module, "device_count", lambda: 0)()
            names += [kind, *(f"{kind}:{i}" for i in range(count))]
    return names


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    wait = getattr(_module(kind_of(device)), "synchronize", None)  # a backend that never runs ahead has none
    if wait is not None and kind_of(device) != CPU:
        wait(device) if kind_of(device) == CUDA else wait()


def without_autocast(device: str) -> str:
    """Why there is no `torch.autocast` on a device; empty where there is."""
    try:
        torch.autocast(kind_of(device), dtype=torch.bfloat16)
    except (AssertionError, RuntimeError) as error:  # a backend of somebody's own that offers none
        return str(error)
    return ""


def _of_no_tree() -> str:
    """The name of the one device that a backend outside torch's tree may register; empty where there is none,
    and before torch 2.6, which does not tell.
    """
    accelerator = torch.accelerator.current_accelerator() if hasattr(torch, "accelerator") else None
    return "" if accelerator is None else accelerator.type


def _module(kind: str) -> Any:
    """What torch has of a kind of device: ``torch.cuda``; None where it has nothing."""
    return getattr(torch, kind, None)
