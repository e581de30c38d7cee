"""A check that whoever gets a result can do with it what he does with torch's: write into it, and view it as
one row. torch documents neither, and code that runs after a loss relies on both.

Along another dimension than the last, kernels move it to the end and back again: what they return then is
no row, and people know it.
"""

from __future__ import annotations

import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.hygiene.conduct import of_one_class, probes
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings


def a_result_can_be_written_to_and_viewed(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Each of its elements has memory of its own, of one class too, where all may be equal; of contiguous
    arguments it is contiguous.
    """
    every = probes(operator, dtype, settings, tally)
    for probe in (*every, of_one_class(operator, dtype, settings, tally)):
        for wanted in ((), None):
            refused = _refused(probe.start(wanted).output, row=_is_a_row(probe.call))
            tally.count(not refused)
            assert not refused, (
                f"{probe.case}: {'without gradients, ' if wanted == () else ''}the result of contiguous "
                f"arguments {refused}\n{probe.script(SHOWN)}"
            )


def _is_a_row(call: Call) -> bool:
    """Whether no dimension has to be moved."""
    return call.arguments.get("dim", -1) in (-1, call.arguments["input"].ndim - 1)


def _refused(result: torch.Tensor, *, row: bool) -> str:
    """What cannot be done with a result, and why."""
    where = f"its shape is {tuple(result.shape)}, its strides are {result.stride()}"
    try:
        result.detach().add_(1)
    except RuntimeError as error:
        return f"cannot be written to, {where}: {error}"
    return "" if result.is_contiguous() or not row else f"cannot be viewed as one row, {where}"


SHOWN = (
    "for wanted in ((), differentiable):",
    "    result = run(mine, grad_output, wanted)[2][0].detach()",
    "    print('shape', tuple(result.shape), 'strides', result.stride())",
    "    result.view(-1)",
    "    result.add_(1)",
)
