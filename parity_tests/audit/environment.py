"""Where numbers come from: versions, processor, and what else changes them."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from torch_loss_parity.subjects import Subject

PACKAGES = ("numpy", "python-flint", "hypothesis", "pydantic")
PREFIXES = (
    "ATEN_",
    "OMP_",
    "KMP_",
    "GOMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "OPENBLAS_",
    "TORCH",
    "PYTORCH_",
    "CUDA_",
    "CUBLAS_",
    "XLA_",
)
CAPABILITY = "ATEN_CPU_CAPABILITY"
# Of each kind of processor, as torch names them. Those of x86 hold what is before them; the others are
# vectors of one length each, after what every processor has.
X86, ARM = ("default", "avx2", "avx512"), ("default", "sve128", "sve256")
CAPABILITIES = {"x86_64": X86, "amd64": X86, "aarch64": ARM}


def environment(device: str) -> dict[str, str]:
    """What changes numbers, and what they were measured with."""
    found = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        found["CUDA"] = str(torch.version.cuda)
    if device.startswith("cuda"):
        found["GPU"] = torch.cuda.get_device_name(device)
        found["TF32"] = (
            f"matmul {torch.backends.cuda.matmul.allow_tf32}, cudnn {torch.backends.cudnn.allow_tf32}"
        )
    return found | {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIXES)}


def capabilities(machine: str = platform.machine()) -> tuple[str, tuple[str, ...], Mapping[str, str]]:
    """The capability in force, the others that torch can be told to keep to, and why not the rest.

    Parameters
    ----------
    machine : str
        The kind of processor.
    """
    in_force = torch.backends.cpu.get_cpu_capability()
    name = in_force.lower()
    names = CAPABILITIES.get(machine.lower(), (name,))
    if name not in names:
        return in_force, (), dict.fromkeys(names, f"torch works with {in_force} on this processor")
    known = f"this processor has {in_force}{' at most' if names is X86 else ''}"
    if CAPABILITY in os.environ:
        known = f"{CAPABILITY} is set to {os.environ[CAPABILITY]}"
    below = names[: names.index(name)]
    others = below if names is X86 else below[:1]
    rest = (each for each in names if each not in (name, *others))
    return name, others, dict.fromkeys(rest, f"{known}, as far as torch can use it")


def source(subject: Subject) -> str:
    """A hash of the file that a subject is in, and "" where it is part of torch or of this project: what was
    measured of a file that was changed since is not of this subject."""
    file: Any = getattr(subject.namespace, "__file__", None)
    if file is None or not Path(file).is_file():
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Its name, which every system tells in another way."""
    with suppress(Exception):  # of a look-up that meets what it does not know
        import cpuinfo

        found = cpuinfo.get_cpu_info() or {}
        if name := found.get("brand_raw"):
            return str(name)
    with suppress(OSError):
        if numbers := by_numbers(Path("/proc/cpuinfo").read_text()):
            return numbers
    return platform.processor() or "unknown"


def by_numbers(cpuinfo: str) -> str:
    """What Linux says of an ARM processor, to which it gives no name, and "" of others."""
    lines = [[part.strip() for part in line.partition(":")[::2]] for line in cpuinfo.splitlines()]
    kinds = {"CPU implementer": "implementer", "CPU part": "part"}
    return ", ".join(dict.fromkeys(f"{kinds[name]} {value}" for name, value in lines if name in kinds))
