"""The machine and its libraries: what numbers and times may depend on, each fact found out in one place.

Note [Who takes what]
    The header of a run, the record of an audit, that of the benchmarks, and the environment that bits and
    divergences are recorded for (`torch_loss_parity.ledger.environment`) say what their figures depend on.
    Each takes from here the facts that it needs, and decides itself under which names it writes them down:
    files that were written before stay readable.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zlib import crc32

import numpy as np
import torch

from torch_loss_parity.processes.child_environment import COMPILED_CODE

CPUINFO = Path("/proc/cpuinfo")
IMPLEMENTERS = {
    "0x41": "ARM",
    "0x46": "Fujitsu",
    "0x48": "HiSilicon",
    "0x4e": "NVIDIA",
    "0x61": "Apple",
    "0xc0": "Ampere",
}
MKL = re.compile(r"Math Kernel Library Version (\S+?)-")


def header() -> str:
    """The line of a run's header that says where its numbers come from."""
    cuda = f"CUDA {torch.version.cuda} on {gpu()}" if torch.cuda.is_available() else "no CUDA"
    where = f"{platform.machine()} {capability()}, {torch.get_num_threads()} threads, {cuda}"
    libraries = ", ".join(f"{name} {installed(name)}" for name in ("numpy", "python-flint", "hypothesis"))
    return f"torch {torch.__version__} ({where}), {libraries}"


def installed(package: str) -> str:
    """The version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def release() -> str:
    """The release of torch, without what it was built for."""
    numbers = re.match(r"[\d.]*\d", torch.__version__)
    return numbers[0] if numbers else torch.__version__


def system() -> str:
    """The operating system and the kind of processor: "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def capability() -> str:
    """The vector code that ATen chose on the CPU: "AVX2", "SVE256"."""
    return torch.backends.cpu.get_cpu_capability()


def processor() -> str:
    """The name of the CPU, which every system tells in another way."""
    with suppress(Exception):  # of a look-up that meets what it does not know
        import cpuinfo

        match = cpuinfo.get_cpu_info() or {}
        if name := match.get("brand_raw"):
            return str(name)
    return by_numbers(_cpuinfo()) or platform.processor() or "unknown"


def by_numbers(cpuinfo: str) -> str:
    """What Linux says of an ARM processor, to which it gives no name, and "" of others."""
    lines = [[part.strip() for part in line.partition(":")[::2]] for line in cpuinfo.splitlines()]
    kinds = {"CPU implementer": "implementer", "CPU part": "part"}
    return ", ".join(dict.fromkeys(f"{kinds[name]} {value}" for name, value in lines if name in kinds))


def vendor() -> str:
    """The maker of the CPU, as it says itself; "unknown" where the system does not tell."""
    text = _cpuinfo()
    if named := re.search(r"^vendor_id\s*:\s*(\S+)", text, re.MULTILINE):
        return named[1]
    if numbered := re.search(r"^CPU implementer\s*:\s*(\S+)", text, re.MULTILINE):
        return IMPLEMENTERS.get(numbered[1], f"implementer {numbered[1]}")
    if system() == "Darwin arm64":
        return "Apple"
    return platform.processor() or "unknown"


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(errors="replace")
    except OSError:
        return ""


def gpu(device: str | None = None) -> str:
    """The name of a GPU; of the current one unless another is named."""
    return torch.cuda.get_device_name(device)


def architecture(device: str) -> str:
    """The architecture of a GPU: "sm_90"."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def vector_library() -> str:
    """The library of vector functions that torch was built with on the CPU: "MKL 2024.2"."""
    match = MKL.search(torch.__config__.show())
    return f"MKL {match[1]}" if match else "no MKL"


def fingerprint(device: str) -> str:
    """Six digits that follow from the bits of exp, log and log1p of contiguous numbers."""
    # Exact in both dtypes; too few to be shared among threads.
    numbers = torch.from_numpy(np.arange(1, 4098) / 512.0)
    digest = 0
    for dtype in (torch.float32,) if device == "mps" else (torch.float32, torch.float64):
        for function in (torch.exp, torch.log, torch.log1p):
            digest = crc32(function(numbers.to(device=device, dtype=dtype)).cpu().numpy().tobytes(), digest)
    return f"{digest:08x}"[:6]


def variables(prefixes: Sequence[str]) -> dict[str, str]:
    """The environment variables whose names begin so, but for where compiled code lies: torch sets that
    itself as soon as it compiles, and no figure depends on it.
    """
    given = {name: value for name, value in sorted(os.environ.items()) if name.startswith(tuple(prefixes))}
    return {name: value for name, value in given.items() if name != COMPILED_CODE}
