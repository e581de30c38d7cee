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
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

import torch

from torch_loss_parity.processes import machine


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
        from packaging.version import Version  # where a subject is only observed there may be none

        return (*same, Version(other.torch))


class _Elsewhere:
    """Where the subject ran, if that was not in this process."""

    environment: Environment | None = None
    torch: str = ""


def ran_elsewhere(environment: Environment | None, torch_version: str = "") -> None:
    """From now on what is judged was observed in ``environment``; None: in this process."""
    _Elsewhere.environment, _Elsewhere.torch = environment, torch_version


def torch_version() -> str:
    """The version of torch that ran the subject."""
    return _Elsewhere.torch or torch.__version__


def here(device: str = "cpu") -> Environment:
    """The environment in which the subject ran: that of this process and a device, unless
    `ran_elsewhere`.
    """
    return _Elsewhere.environment or of_this_process(device)


@cache
def of_this_process(device: str = "cpu") -> Environment:
    """The environment of this process and a device."""
    release, digits = machine.release(), machine.fingerprint(device)
    if device.startswith("cuda"):
        functions = f"CUDA {torch.version.cuda} {digits}"
        return Environment(
            release, "cuda", machine.gpu(device), machine.architecture(device), "NVIDIA", functions
        )
    kind = platform.machine()
    if device != "cpu":
        return Environment(release, device, kind, device, "unknown", digits)
    functions = f"{machine.vector_library()} {digits}"
    return Environment(release, "cpu", kind, machine.capability(), machine.vendor(), functions)
