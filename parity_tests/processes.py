"""What the processes of a run are started with, unless it is set: settings that a library reads once, when it is loaded."""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Mapping
from pathlib import Path

MIB = 2**20
ENVIRONMENT: Mapping[str, str] = {
    # An idle thread of OpenMP would spin on a core that others need.
    "OMP_WAIT_POLICY": "passive",
    # glibc returns the top of the heap to the system after every large array, and the next one faults its pages in again: a tenth of
    # the time of the large cases.
    "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
    "MALLOC_MMAP_THRESHOLD_": str(32 * MIB),
    "MALLOC_TOP_PAD_": str(16 * MIB),
}


def of_simulated_cpu(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process needs besides where ATEN_CPU_CAPABILITY makes it a lesser CPU: a cache of its own for compiled code.

    inductor's cache of graphs is not keyed by it, and code that it kept from a run with AVX2 does not compile without.
    """
    if not (capability := environment.get("ATEN_CPU_CAPABILITY")) or "TORCHINDUCTOR_CACHE_DIR" in environment:
        return {}
    return {"TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}_{capability}"))}
