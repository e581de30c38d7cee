"""An operator that the suite does not have, in one file: definition, derivative, record, and a planted fault.

mse_loss. `test_invented_operator` names this file in ``TORCH_LOSS_PARITY_OPERATORS`` and runs everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy import inf, nan

from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.facets import SINGLE, Autocast, Compiled, Domain, Gap, Layouts, Modules
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import bits, elements, workloads
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.record import Operator, as_given, of_input
from torch_loss_parity.operators.refusals import X, refusal
from torch_loss_parity.operators.semantics import row
from torch_loss_parity.reference.arguments import check_real, check_reduction, check_same_shape, namespace
from torch_loss_parity.reference.reduction import reduce, reduce_backward

NAME = "mse_loss"
WHY = "it was invented for a test"


class Gradients(NamedTuple):
    """The gradient with respect to each argument."""

    input: Any
    target: Any


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """The square of the difference of input and target."""
    xp = namespace(input=input, target=target)
    check_reduction(reduction)
    check_real(xp, "input", input)
    check_same_shape(input, target)
    difference = input - target
    return reduce(xp, difference * difference, reduction, _size(input))


def mse_loss_backward(grad_output: Any, input: Any, target: Any, reduction: str = "mean") -> Gradients:
    """Twice the difference, times what reaches each element."""
    gradient = 2 * reduce_backward(grad_output, reduction, _size(input)) * (input - target)
    return Gradients(gradient, -gradient)


def _size(input: Any) -> int:
    size = 1
    for length in input.shape:
        size *= length
    return size


def draw(case: Case) -> dict[str, Any]:
    """Input, target and reduction."""
    return {
        "input": real(case, "input", case.values, case.shape),
        "target": real(case, "target", "normal", case.shape),
        "reduction": case.option["reduction"],
    }


OPERATOR = Operator(
    name=NAME,
    family=elements.ELEMENTS,
    forward=mse_loss,
    backward=mse_loss_backward,
    function="torch.nn.functional.mse_loss",
    draw=draw,
    differentiable=elements.differentiable,
    # Without the mean: torch refuses forward mode over its gradient ("ZeroTensors are immutable").
    options={"reduction": ("sum", "none")},
    ways=Gap("the definition is the one form that anyone ships"),
    second_order=Gap("the derivative of the gradient is a constant"),
    extensions={},
    reconcile=as_given,
    output_dtype=of_input,
    result_shape=elements.result_shape,
    values={name: distributions.BINARY_LOGITS[name] for name in ("normal", "wide")},
    shapes=((5,), (7, 3), (3, 33, 2), (2, 9, 2, 3, 2), (1, 1), (0, 4)),
    sizes=(((255,), {}), ((4096,), {})),
    domain=Domain(
        values={name: distributions.BINARY_LOGITS[name] for name in ("nearly_equal", "wide")},
        marked="equal_but_one",
        masked=Gap(WHY),
        options={},
        dtypes=Gap(WHY),
        copies={"forward": 3, "gradients": 5},
    ),
    semantics=(
        row("equal -> 0", input=[1.0, 2.0], target=[1.0, 2.0], reduction="sum", value=0.0, gradient=0.0),
        row("nan -> nan", input=[nan, 0.0], target=[0.0, 0.0], reduction="none", value=[nan, 0.0]),
        row("inf -> inf", input=[inf, 0.0], target=[0.0, 0.0], reduction="none", value=[inf, 0.0]),
    ),
    promotions=Gap(WHY),
    refusals=(
        refusal("reduction 'average'", ValueError, "reduction is 'average'", X, X, reduction="average"),
    ),
    layouts=Layouts(
        result="kept",
        views=(((9,), {}), ((7, 35), {"reduction": "none"}), ((3, 5, 4), {}), ((2, 5, 3, 4), {})),
    ),
    identities=Gap(WHY),
    bits=bits.of_elements(bits.logits, weights=()),
    rewritten=Gap(WHY),
    clamps=False,
    autocast=Autocast(cpu=SINGLE, cuda=SINGLE),
    modules=Modules(name="MSELoss", of_images=Gap(WHY)),
    compiled=(Compiled((4, 9), "normal", {}),),
    sample_inputs=Gap(WHY),
    log_probabilities=Gap(WHY),
    audit=Audited(
        telling=("normal", "wide"),
        scales=(),
        base={"reduction": "none"},
        paths=({"reduction": "sum"},),
        probabilities=(),
        shortened=Gap("there are no rows"),
        every_number=Gap(WHY),
    ),
    workload=Workload(
        values="normal",
        options={},
        variants={},
        exponentials=(0, 0),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.target,
        scipy=Gap(WHY),
    ),
)


def faults() -> None:
    """Plant one: the gradient is half of what it should be."""
    from torch_loss_parity.faults.record import whole

    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, loss: torch.Tensor) -> torch.Tensor:
            return loss.clone()

        @staticmethod
        def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
            return grad_output / 2

    @whole(NAME, "UPG", "torch-loss-parity: invented for a test", "gradients")
    def an_invented_gradient_is_halved(input: torch.Tensor, target: torch.Tensor, **options: Any) -> Any:
        """The gradient is half of what it should be."""
        return Halved.apply(torch.nn.functional.mse_loss(input, target, **options))
