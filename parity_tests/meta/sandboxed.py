"""What a subject may do in a sandbox, in a module that loads in a moment."""

from __future__ import annotations

import os
import time

from torch_loss_parity.processes import watchdog

LIMIT = 0.5  # seconds


def hang() -> None:
    """Do not return."""
    with watchdog.running():
        time.sleep(60)


def die(status: int) -> None:
    """End the process, by a signal where ``status`` is negative."""
    if status < 0:
        os.abort()
    os._exit(status)


def slow() -> str:
    """Take longer than the limit in all, but never without a break."""
    for _ in range(6):
        with watchdog.running():
            time.sleep(LIMIT / 5)
        time.sleep(LIMIT / 2)
    return "done"
