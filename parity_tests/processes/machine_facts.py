"""What numbers are measured with: versions, processor, and what else changes them."""

from __future__ import annotations

import platform

import torch

from torch_loss_parity.processes import machine

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


def facts_of(device: str) -> dict[str, str]:
    """Versions, processor, threads and variables, of this process and a device, by name."""
    facts = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{name: machine.installed(name) for name in PACKAGES},
        "system": machine.system(),
        "processor": machine.processor(),
        "capability": machine.capability(),
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        facts["CUDA"] = str(torch.version.cuda)
    if device.startswith("cuda"):
        facts["GPU"] = machine.gpu(device)
        facts["TF32"] = (
            f"matmul {torch.backends.cuda.matmul.allow_tf32}, cudnn {torch.backends.cudnn.allow_tf32}"
        )
    return facts | machine.variables(PREFIXES)
