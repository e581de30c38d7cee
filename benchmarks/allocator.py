"""The C library's allocator while times are taken.

glibc serves large blocks with mmap and gives them back when they are freed, so every new output of 32 MB
costs eight thousand page faults: a forward log_softmax then takes three times as long, or not, by what the
heap held before. While benchmarks are timed nothing is given back; the settings are part of what a result
says, and so is the number of page faults in a call.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

try:
    import resource as _resource
except ImportError:  # not on Windows
    _resource = None  # type: ignore[assignment]

resource: Any = _resource

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of <malloc.h>
TOP_PAD = 64 * 2**20
SETTINGS = f"glibc: M_MMAP_MAX=0, M_TRIM_THRESHOLD=-1, M_TOP_PAD={TOP_PAD >> 20} MiB"
AS_IT_IS = "as it is"


def _c_library() -> ctypes.CDLL | None:
    """glibc, where it is what the process runs on."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None


def keep_memory() -> str:
    """Have freed memory kept by the process; what was set."""
    library = _c_library()
    if library is None:
        return AS_IT_IS
    done = [
        library.mallopt(M_MMAP_MAX, 0),
        library.mallopt(M_TRIM_THRESHOLD, -1),
        library.mallopt(M_TOP_PAD, TOP_PAD),
    ]
    return SETTINGS if all(done) else AS_IT_IS


def give_back() -> bool:
    """Return what is free to the system, so that what is used next shows in the resident set; whether that is
    possible here.
    """
    library = _c_library()
    if library is None:
        return False
    library.malloc_trim(0)
    return True


def page_faults() -> int | None:
    """Page faults of this process so far that needed no disk; None where the system does not count them, as
    on Windows.
    """
    return None if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
