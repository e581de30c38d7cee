"""What the processes of a run are started with, unless it is set: settings that a library reads once, when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping

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
