"""The upstream gradient that a case draws for the result of its call, and the shape of that."""

from __future__ import annotations

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS


def grad_output_of(call: Call, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random upstream gradient, never a constant: the gradient of softmax is blind to one."""
    return FORMATS[call.output_dtype].round(np.asarray(rng.normal(0, 1, shape)))


def upstream_gradient(call: Call, case: Case) -> np.ndarray:
    """The upstream gradient that a case draws for the result of its call."""
    return grad_output_of(call, output_shape(call), case.generator("grad_output"))


def output_shape(call: Call) -> tuple[int, ...]:
    """The shape of the result of a call."""
    return OPERATORS[call.operator].result_shape(call.arguments)
