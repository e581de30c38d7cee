"""A test that leaves a device of no use ends its process, and fails by itself.

A device-side assertion, or an address that a kernel must not touch, takes the device from the whole process:
every later call fails, whatever it asks. So where a test fails on a device, the device is tried; if it no
longer answers, the process ends. A worker of pytest-xdist is replaced then, and a run in one process begins
anew without the test, see Note [A run in one process] of `torch_loss_parity.plugin.supervised`; where it
cannot, it ends with these words. What a kernel does is noticed when it is waited for:
``CUDA_LAUNCH_BLOCKING=1`` waits after each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import pytest
import torch

from torch_loss_parity.plugin import supervised
from torch_loss_parity.subjects.settings import SETTINGS, Settings

STATUS = 70  # of a process that ends for it


def answers(device: str) -> bool:
    """Whether a device still does what it is asked."""
    try:
        return bool(torch.ones(1, device=device).add(1).item() == 2)
    except RuntimeError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        settings: Settings | None = item.config.stash.get(SETTINGS, None)
        if settings is None or not _is_used(settings) or answers(settings.device):
            raise
        said = f"{settings.device} is of no use to this process after {item.nodeid}: {_first_line(error)}"
        if not hasattr(item.config, "workerinput") and not supervised.directory():
            pytest.exit(f"{said}; with -n 1 the run goes on in another process", returncode=1)
        print(f"\n{said}", file=sys.__stderr__, flush=True)
        os._exit(STATUS)


def _is_used(settings: Settings) -> bool:
    """Whether the subject runs in this process, on something else than the CPU."""
    return settings.device != "cpu" and not settings.subject.is_elsewhere


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
