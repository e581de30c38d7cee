"""What the processes of a run are started with, unless it is set: settings that a library reads once, when it
is loaded.
"""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch_loss_parity.processes.system import GLIBC, MIB

# glibc returns the top of the heap to the system after every large array, and the next one faults its pages
# in again: a tenth of the time of the large cases.
MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
    "MALLOC_MMAP_THRESHOLD_": str(32 * MIB),
    "MALLOC_TOP_PAD_": str(16 * MIB),
}
COMPILED_CODE = "TORCHINDUCTOR_CACHE_DIR"  # torch's variable
NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|]')  # of a user, in the name of a folder
ENVIRONMENT: Mapping[str, str] = {
    # An idle thread of OpenMP would spin on a core that others need.
    "OMP_WAIT_POLICY": "passive",
    # The products of NumPy's OpenBLAS take one thread, as all else that NumPy does.
    "OPENBLAS_NUM_THREADS": "1",
    **(MALLOC if GLIBC else {}),
}


@contextmanager
def started_with(variables: Mapping[str, str | None]) -> Iterator[None]:
    """The environment of the processes that are started within; None takes a variable away."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def of_simulated_cpu(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process needs besides where ATEN_CPU_CAPABILITY makes it a lesser CPU: a cache of its own for
    compiled code.

    inductor's cache of graphs is not keyed by it, and code that it kept from a run with AVX2 does not compile
    without.
    """
    if not (capability := environment.get("ATEN_CPU_CAPABILITY")) or COMPILED_CODE in environment:
        return {}
    return {COMPILED_CODE: f"{folder_of_compiled_code()}_{capability}"}


def folder_of_compiled_code() -> Path:
    """Where inductor keeps what it has compiled, unless the environment says otherwise; as torch names it."""
    return Path(tempfile.gettempdir(), f"torchinductor_{NOT_IN_NAMES.sub('_', getpass.getuser())}")
