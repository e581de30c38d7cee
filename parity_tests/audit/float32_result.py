"""One result of a sweep over float32 inputs, and what other means than blocks say of chosen inputs of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from torch_loss_parity.audit.certify import Truth, chosen_balls, truths
from torch_loss_parity.audit.closed_forms import (
    RELATIVE,
    Values,
    form,
    forms_of,
    of_logits,
    of_probabilities,
)
from torch_loss_parity.audit.errors import Errors, measured
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.audit.intervals import Intervals
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import kinds
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.judge import Finding, judge_quantity, output_shape
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject


def has_closed_form(sweep: Sweep) -> bool:
    """Whether the result and the gradient of the input have one, and so 2**32 of them can be measured."""
    forms = (forms_of(sweep.operator, sweep.target, quantity) for quantity in (FORWARD, "input"))
    return sweep.dtype == "float32" and all(forms)


def closed_forms(sweep: Sweep) -> Callable[[np.ndarray], Values]:
    """What evaluates all closed forms of an operator."""
    return of_probabilities if sweep.is_of_probabilities else of_logits


@dataclass(frozen=True)
class SweepResult:
    """One result of a sweep on a range of inputs, and what other means say of chosen inputs of it."""

    sweep: Sweep
    first: int
    quantity: str
    subject: Subject
    device: str

    def call(self, inputs: np.ndarray) -> tuple[Call, np.ndarray | None]:
        """The call on inputs with these numbers in the range."""
        call = self.sweep.call_on(self.sweep.numbers((inputs + self.first).astype(np.uint32)))
        return call, None if self.quantity == FORWARD else self.sweep.grad_output("1", call, 0)

    def _bound(self, call: Call, upstream: np.ndarray | None, by: Explanation | None = None) -> Rounded:
        changes, function = (by.arithmetic, by.function) if by else (None, None)
        quantities, profile = (self.quantity,), self.subject.profile
        bounds = expected(call, quantities, upstream, profile=profile, changes=changes, function=function)
        return bounds[self.quantity]

    def errors(self, numbers: np.ndarray, observed: np.ndarray) -> Errors:
        """The errors of chosen elements, by their number in the range, as of any other result."""
        of_each = self.sweep.of_each(self.quantity)
        inputs, at = np.unique(numbers // of_each, return_inverse=True)
        flat = at.reshape(-1) * of_each + numbers % of_each
        call, upstream = self.call(inputs)
        true = truths(call, (self.quantity,), upstream)[self.quantity]
        bound = self._bound(call, upstream)
        whole = np.array(true.value, dtype=np.float64).reshape(-1)
        whole[flat] = observed
        _, undecided, wrong = kinds(whole.reshape(true.value.shape), bound, true.format)
        part = true.of(flat)
        errors = measured(
            observed.astype(np.float64), part, undecided.reshape(-1)[flat], wrong.reshape(-1)[flat]
        )
        worst = int(numbers[errors.worst]) + self.first * of_each if errors.worst >= 0 else -1
        return errors.model_copy(update={"worst": worst})

    def try_closed_forms(self, numbers: np.ndarray, observed: np.ndarray) -> int:
        """Have balls look at chosen elements, which blocks took for what closed forms say; how many of them.

        Raises
        ------
        AssertionError
            If one is outside the bound of its closed form.
        """
        of_each = self.sweep.of_each(self.quantity)
        inputs, columns = numbers // of_each, numbers % of_each
        call, upstream = self.call(inputs)
        values = closed_forms(self.sweep)(self.sweep.numbers((inputs + self.first).astype(np.uint32)))
        forms = [
            form(values, name) for name in forms_of(self.sweep.operator, self.sweep.target, self.quantity)
        ]
        every = np.stack([sign * size for sign, size in forms], axis=1)
        shape = output_shape(call) if self.quantity == FORWARD else call.arguments[self.quantity].shape
        source = chosen_balls(call, self.quantity, upstream, shape)
        error = np.abs(every) * RELATIVE + 2.0**-1074
        chosen = np.arange(len(numbers)) * of_each + columns
        truth = Truth(every, error, FORMATS[self.sweep.dtype], source).of(chosen)
        finite = np.flatnonzero(np.isfinite(observed) & np.isfinite(truth.value))
        Intervals(observed.astype(np.float64), truth, finite).certify(np.arange(len(finite)))
        return len(finite)

    def finding(self, inputs: np.ndarray, observed: np.ndarray) -> Finding:
        """The verdict on chosen inputs."""
        call, upstream = self.call(inputs)
        bound = self._bound(call, upstream)
        result = observed[inputs].astype(np.float64).reshape(bound.value.shape)
        return judge_quantity(self.subject, self.device, None, call, self.quantity, result, bound, upstream)

    def allowed(self, inputs: np.ndarray, by: Explanation | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The allowed error of every element of chosen inputs, and its value; what an
        explanation allows, if one is given.
        """
        call, upstream = self.call(inputs)
        bound = self._bound(call, upstream, by)
        shape = len(inputs), self.sweep.of_each(self.quantity)
        return np.broadcast_to(bound.total_error(), bound.value.shape).reshape(shape), np.asarray(
            bound.value
        ).reshape(shape)
