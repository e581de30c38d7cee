"""The most memory that a call holds beyond what was there before it.

CUDA: the allocator's own statistics. CPU: the peak of the resident set, which the kernel keeps for a process
and which can be set back. What the process holds free is first given back to the system, so that memory which
the call takes shows as pages that become resident. The kernel counts pages in batches for each core, so small
operands are below its resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from torch_loss_parity.benchmarks.allocator import give_back
from torch_loss_parity.processes.devices import synchronize

# Bytes of an operand: from here on the batches in which pages are counted are per cents of it.
MEASURABLE = 4 * 2**20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TOO_SMALL = f"operands below {MEASURABLE >> 20} MiB are below the resolution of the resident set"


class NotMeasurable(Exception):
    """The peak cannot be measured here; the message says why."""


def peak(call: Callable[[], object], device: str, operand: int) -> int:
    """The bytes that ``call`` holds at most beyond what is held before it.

    Parameters
    ----------
    operand : int
        The bytes of its largest argument, to tell whether the peak can be told.

    Raises
    ------
    NotMeasurable
        If the system does not count it, or not finely enough.
    """
    if device.startswith("cuda"):
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if operand < MEASURABLE:
        raise NotMeasurable(TOO_SMALL)
    if not give_back():
        raise NotMeasurable("the allocator of this system cannot be told to give memory back")
    try:
        _RESET.write_text("5")  # the peak of the resident set begins anew
    except OSError as error:
        raise NotMeasurable(f"the peak of the resident set cannot be set back: {error}") from error
    before = _resident("VmHWM")
    result = call()
    after = _resident("VmHWM")
    del result
    return max(after - before, 0)


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise NotMeasurable(f"{_STATUS} has no {field}")
