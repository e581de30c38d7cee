"""What a subject returns for arguments of several dtypes.

Nothing is imported that judges: this runs where a subject is only observed.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.source import observable
from torch_loss_parity.subjects.run_subject import tensors
from torch_loss_parity.tensors.arrays import widen


@observable
def promote(subject: Subject, call: Call, device: str) -> dict[str, Any]:
    """The ``output`` and its ``dtype``, the ``gradients`` of its sum and their ``dtypes``, and all of them in
    words, as ``said``.
    """
    arguments = tensors(call, device, requires_grad=True)
    leaves = [arguments[name] for name in call.differentiable]
    output = subject.function(call.operator)(**arguments)
    gradients = torch.autograd.grad(output.sum(), leaves) if leaves else ()
    return {
        "output": widen(output),
        "dtype": str(output.dtype),
        "gradients": [widen(gradient) for gradient in gradients],
        "dtypes": [str(gradient.dtype) for gradient in gradients],
        "said": f"{output}, gradients {gradients}",
    }
