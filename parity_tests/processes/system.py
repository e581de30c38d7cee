"""What this system offers of what not every system does, and what is done without it.

Whoever needs one of these asks here, and not the system. Without it a run takes longer, or leaves out what
its header names; the verdict is the same.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Facility:
    """Something that not every system offers; false where it is missing.

    Attributes
    ----------
    name : str
        As the documentation of Python or of the system has it.
    there : bool
    without : str
        What is done, or is not known, where it is missing.
    """

    name: str
    there: bool
    without: str

    def __bool__(self) -> bool:
        return self.there


def _importable(module: str) -> bool:
    try:
        __import__(module, globals())
    except ImportError:
        return False
    return True


# On macOS there is a fork, but Apple's libraries, which torch computes with, may not be used after it.
FORK = Facility(
    "fork",
    hasattr(os, "fork") and sys.platform != "darwin",
    "the processes of audits, campaigns and seeds load the libraries each: slower; a subject that ends its "
    "process ends a run without pytest-xdist",
)
ALARM = Facility(
    "SIGALRM",
    hasattr(signal, "SIGALRM") and hasattr(signal, "setitimer"),
    "a thread keeps the time limit; what waits in other code than Python ends with its process",
)
FCNTL = Facility(
    "fcntl",
    _importable("fcntl"),
    "the processes of an audit have a thread each that waits for the end of their owner",
)
GLIBC = Facility(
    "glibc",
    "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}),
    "the allocation of memory is not tuned: large cases take longer",
)
PROC = Facility(
    "/proc",
    TASKS.is_dir(),
    "benchmarks on the CPU measure no memory",
)
RESOURCE = Facility(
    "resource",
    _importable("resource"),
    "benchmarks count no page faults",
)
AFFINITY = Facility(
    "sched_getaffinity",
    hasattr(os, "sched_getaffinity"),
    "all cores of the machine count as this process's own",
)
SYSCONF = Facility(
    "sysconf",
    hasattr(os, "sysconf") and "SC_PAGE_SIZE" in os.sysconf_names,
    "it is not known how much memory is free: no call has 2**31 elements and more",
)
FACILITIES = (FORK, ALARM, FCNTL, GLIBC, PROC, RESOURCE, AFFINITY, SYSCONF)


def missing() -> list[str]:
    """The lines of the header that say what this system lacks, and what is done without it."""
    return [f"without {facility.name}: {facility.without}" for facility in FACILITIES if not facility]


def cores() -> int:
    """How many processes are worth starting."""
    return len(os.sched_getaffinity(0)) if AFFINITY else os.cpu_count() or 1


def threads() -> int:
    """The threads of this process, those that Python knows nothing of among them where the system tells."""
    return len(list(TASKS.iterdir())) if PROC else threading.active_count()


def free_memory() -> int | None:
    """Bytes of memory that are free, or that there are, if the system tells no more; else None."""
    if not SYSCONF:
        return None
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
