"""Where numbers come from: versions, processor, and what else changes them."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from parity_tests.subjects import Subject

PACKAGES = ("numpy", "python-flint", "hypothesis", "pydantic")
PREFIXES = ("ATEN_", "OMP_", "KMP_", "GOMP_", "MKL_", "ONEDNN_", "DNNL_", "OPENBLAS_", "TORCH", "PYTORCH_", "CUDA_", "CUBLAS_", "XLA_")
CAPABILITY = "ATEN_CPU_CAPABILITY"
CAPABILITIES = ("default", "avx2", "avx512")  # each holds what is before it


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
        found["TF32"] = f"matmul {torch.backends.cuda.matmul.allow_tf32}, cudnn {torch.backends.cudnn.allow_tf32}"
    return found | {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIXES)}


def capabilities() -> tuple[str, tuple[str, ...], Mapping[str, str]]:
    """The capability in force, the others that torch can be told to keep to, and why it cannot be told the rest."""
    in_force = torch.backends.cpu.get_cpu_capability()
    name = in_force.lower().replace("no ", "")
    if name not in CAPABILITIES:
        return in_force, (), dict.fromkeys(CAPABILITIES, f"torch works with {in_force} on this processor")
    place = CAPABILITIES.index(name)
    known = f"{CAPABILITY} is set to {os.environ[CAPABILITY]}" if CAPABILITY in os.environ else f"this processor has {in_force} at most"
    return name, CAPABILITIES[:place], dict.fromkeys(CAPABILITIES[place + 1 :], f"{known}, as far as torch can use it")


def source(subject: Subject) -> str:
    """A hash of the file that a subject is in, and "" where it is part of torch or of this project: what was measured of a file that
    was changed since is not of this subject."""
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
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "processor model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
