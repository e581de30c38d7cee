"""Processes that end, each in its way, started from a module that loads in a moment."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from torch_loss_parity.processes.process_slots import Children, Slots

LIMIT = 5.0  # seconds: time to load this module, on a machine that is busy too


def dies_and_hangs(directory: Path) -> dict[str, int]:
    """How processes ended of which one dies, one does not end, and one ends, one at a time."""
    children = Children(Slots(directory, 1), LIMIT)
    children.start("dies", os.abort)
    children.start("hangs", time.sleep, 600)
    children.start("ends", time.sleep, 0)
    children.join()
    slot = children.slots.free()
    assert slot is not None
    assert children.slots.free() is None
    slot.release()
    return children.exitcodes


if __name__ == "__main__":
    print(json.dumps(dies_and_hangs(Path(sys.argv[1]))))
