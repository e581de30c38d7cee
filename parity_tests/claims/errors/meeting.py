"""How a subject meets malformed arguments.

Nothing is imported that judges: this runs where a subject is only observed.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.source import observable
from torch_loss_parity.subjects.run_subject import by_position_and_name, tensors


@observable
def meet(subject: Subject, call: Call, device: str, *, ordinary: Call, ends_cuda: bool) -> dict[str, Any]:
    """What a subject makes of malformed arguments, between two ordinary calls.

    Parameters
    ----------
    ordinary : Call
        What nobody refuses.
    ends_cuda : bool
        Whether a GPU would not be of use afterwards: it is not to be asked there.

    Returns
    -------
    dict
        ``types`` of what it raises, by name, the nearest first, and its ``text``; what it ``returned``, in
        words; the names of arguments that it ``changed``; whether the second ordinary call returned
        ``otherwise``.
    """
    function = subject.function(call.operator)
    arguments = tensors(call, device, requires_grad=True)
    before_the_call = {
        name: bits(value) for name, value in arguments.items() if isinstance(value, torch.Tensor)
    }
    plain = tensors(ordinary, device)
    before = bits(function(**plain))
    positional, named = by_position_and_name(arguments)
    types: list[str] = []
    text = returned = ""
    try:
        returned = str(function(*positional, **named))
    except Exception as error:
        types, text = [kind.__name__ for kind in type(error).__mro__], str(error)
    return {
        "types": types,
        "text": text,
        "returned": returned,
        "changed": [name for name, was in before_the_call.items() if bits(arguments[name]) != was],
        "otherwise": bits(function(**plain)) != before,
    }


def bits(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Everything about a tensor's numbers; nan and the sign of zero included."""
    host = tensor.detach().cpu()
    return (
        tuple(host.shape),
        host.dtype,
        host.numel() and host.contiguous().flatten().view(torch.uint8).numpy().tobytes(),
    )
