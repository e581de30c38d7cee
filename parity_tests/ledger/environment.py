"""What results depend on besides the call: the release of torch, the machine, and the vector functions that
run on it.

Note [Environments]
    Which bits change, which release diverges and where, was measured in some environment. `Environment` names
    what such a record depends on, and no more: the release of torch, the device, the vector code that ATen
    chose, the maker of the CPU (MKL dispatches on it), and what exp, log and log1p return. The last is a
    fingerprint of their bits: whatever chooses a library or a path in it (MKL's own switches, Sleef, a GPU's
    compiler), two that return the same numbers are one.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from packaging.version import Version

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


@dataclass(frozen=True)
class Environment:
    """Where a record was made, or a run takes place.

    Attributes
    ----------
    torch : str
        The release, without what it was built for.
    device : str
        "cpu", "cuda".
    machine : str
        "x86_64", "aarch64"; the name of a GPU.
    capability : str
        Of ATen's vector code: "AVX2", "SVE256"; of a GPU its architecture.
    vendor : str
        The maker of the CPU, as it says itself; "unknown" where the system does not tell.
    functions : str
        The library of vector functions, and a fingerprint of what they return.
    """

    torch: str
    device: str
    machine: str
    capability: str
    vendor: str
    functions: str

    def __str__(self) -> str:
        return (
            f"torch {self.torch} on {self.device}, {self.machine} {self.capability}, {self.vendor}, "
            f"{self.functions}"
        )

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Environment:
        """The environment that a record names."""
        return cls(**{field.name: str(recorded[field.name]) for field in fields(cls)})

    def unlike(self, other: Environment) -> str:
        """In what another environment differs, in words; nothing where it is ""."""
        ours, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{name} {theirs[name]} (here {ours[name]})" for name in ours if ours[name] != theirs[name]
        )

    def nearest(self, others: Iterable[Environment]) -> Environment | None:
        """The one of some environments of the same kind of device whose results are likeliest to be those of
        this one.
        """
        alike = [other for other in others if other.device == self.device]
        return max(alike, key=self._likeness, default=None)

    def _likeness(self, other: Environment) -> tuple[Any, ...]:
        same = [
            getattr(self, name) == getattr(other, name)
            for name in ("machine", "capability", "functions", "torch", "vendor")
        ]
        return (*same, Version(other.torch))


@cache
def here(device: str = "cpu") -> Environment:
    """The environment of this process and a device."""
    release = Version(torch.__version__).base_version
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        return Environment(
            release,
            "cuda",
            name,
            f"sm_{major}{minor}",
            "NVIDIA",
            f"CUDA {torch.version.cuda} {_fingerprint(device)}",
        )
    if device != "cpu":
        return Environment(release, device, platform.machine(), device, "unknown", _fingerprint(device))
    found = MKL.search(torch.__config__.show())
    library = f"MKL {found[1]}" if found else "no MKL"
    return Environment(
        release,
        "cpu",
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        vendor(),
        f"{library} {_fingerprint('cpu')}",
    )


def vendor() -> str:
    """The maker of the CPU."""
    text = CPUINFO.read_text(errors="replace") if CPUINFO.exists() else ""
    if named := re.search(r"^vendor_id\s*:\s*(\S+)", text, re.MULTILINE):
        return named[1]
    if numbered := re.search(r"^CPU implementer\s*:\s*(\S+)", text, re.MULTILINE):
        return IMPLEMENTERS.get(numbered[1], f"implementer {numbered[1]}")
    return (
        "Apple"
        if platform.system() == "Darwin" and platform.machine() == "arm64"
        else platform.processor() or "unknown"
    )


def _fingerprint(device: str) -> str:
    """Six digits that follow from the bits of exp, log and log1p of contiguous numbers."""
    # Exact in both dtypes; too few to be shared among threads.
    numbers = torch.from_numpy(np.arange(1, 4098) / 512.0)
    digest = 0
    for dtype in (torch.float32,) if device == "mps" else (torch.float32, torch.float64):
        for function in (torch.exp, torch.log, torch.log1p):
            digest = crc32(function(numbers.to(device=device, dtype=dtype)).cpu().numpy().tobytes(), digest)
    return f"{digest:08x}"[:6]
