"""A mode: a way to make a subject compute quantities of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.subjects import Subject

Observe = Callable[[Subject, Call, str, np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Mode:
    """A way to make a subject compute quantities of a call: under a transform, from views of its arguments,
    ...

    Attributes
    ----------
    name : str
        Completes the sentence "is right ...": "from transposed views", "under torch.inference_mode".
    observe : callable
        Takes (subject, call, device, grad_output) and returns what the subject computes of each quantity, by
        its name, widened.
    applies : callable
        Whether the mode makes sense for a call.
    along : str
        The argument in whose direction it takes derivatives; empty where it takes none.
    steps : Steps
        How a script computes the same.
    """

    name: str
    observe: Observe
    applies: Callable[[Call], bool] = lambda call: True
    along: str = ""
    steps: Steps = field(kw_only=True)

    def __str__(self) -> str:
        return f"{self.name} along {self.along}" if self.along else self.name
