"""Dual numbers give derivatives: of the definitions, and of the gradients.

Shown three times, with no number that anybody chose as a tolerance, for every operator and option, in the
quantities of `torch_loss_parity.expectation.second_order`:

*Mean value theorem, on balls.* phi(s) = sum(w F(x + s v)), with F the forward result or a closed-form
gradient, has a difference quotient that is one of the values of its derivative on the segment; on balls that
cover the segment, <w, tangent of F> encloses them all. A derivative that is wrong by more than the radii is
proved wrong.

*torch's own modes through the definition, in float64.* Forward mode and double backward apply the chain rule
to the definition line by line, and for a closed-form gradient know nothing of it. Duals in rounding
arithmetic say what float32 may cost, which is 2**29 times the room that float64 needs.

*The lines in float32.* Duals over float32 arrays stay within the bound that Duals over rounding arithmetic
derive, around the certified value.

Each check rejects planted faults in the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, cast

import flint
import numpy as np
import pytest

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.modes.second_order import SECOND_ORDER
from torch_loss_parity.expectation import second_order
from torch_loss_parity.expectation.expectation import (
    certified,
    expected,
    upstream_gradient,
)
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference import binary_cross_entropy_with_logits, nll_loss, softmax
from torch_loss_parity.reference.arithmetic import dual, dual_functions
from torch_loss_parity.reference.arithmetic.balls import balls, precision
from torch_loss_parity.reference.arithmetic.dual import Dual
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.binary_cross_entropy_with_logits import sigmoid, softplus
from torch_loss_parity.subjects import load

BITS, STEP = 256, -40  # enclosures are about 2**STEP wide, and 2**-BITS is nothing beside that
# Away from clamps; else "normal".
SMOOTH = {
    "binary_cross_entropy": "uniform_probabilities",
    "nll_loss": "log_probabilities",
    "linear_cross_entropy": "products",
}


def cases_of(name: str) -> Iterator[Case]:
    """Small cases in which every pair of options meets, with values at which nothing is clamped, tied or
    zero.
    """
    operator = OPERATORS[name]
    for case in grid(operator, "float32", EFFORTS["quick"], 5):
        shape = case.shape if 0 < prod(case.shape) < 128 else (2,) * len(case.shape)
        smooth = {"dtype": None, "ignored": "some"} | (
            {"target": "soft"} if operator.acts_on_elements else {}
        )
        option = {k: smooth.get(k, v) if v != "none" else v for k, v in case.option.items()}
        drawn = operator.case("float32", shape, SMOOTH.get(name, "normal"), option, case.seed)
        with np.errstate(all="ignore"):
            # A mean over no row at all is nan.
            if np.all(np.isfinite(operator.forward(**operator.call(drawn).arguments))):
                yield drawn


@dataclass(frozen=True, eq=False)
class Probe:
    """Where derivatives are taken: an upstream gradient and a direction."""

    grad_output: np.ndarray
    direction: np.ndarray


def probed(case: Case, along: str) -> tuple[Call, str, Probe]:
    call = OPERATORS[case.operator].call(case)
    call = replace(call, arguments={name: value for name, value in call.arguments.items() if name != "dtype"})
    grad_output = upstream_gradient(call, case)
    return call, along, Probe(grad_output, second_order.direction_of(call, case, along))


def quantities_of(call: Call, along: str) -> tuple[Quantity, ...]:
    return (Quantity(along), *(Quantity(along, of) for of in call.differentiable))


def probes_of(name: str) -> Iterator[tuple[str, Call, str, Probe]]:
    for case in cases_of(name):
        for along in OPERATORS[name].call(case).differentiable:
            yield f"{case} along {along}", *probed(case, along)


ELEMENTWISE = [name for name, operator in OPERATORS.items() if operator.acts_on_elements]
operators = pytest.mark.parametrize("name", OPERATORS)


# --- mean value theorem -------------------------------------------------------------------------------------


def total(array: Any) -> flint.arb:
    return sum(np.asarray(array, dtype=object).reshape(-1), flint.arb(0))


def mean_value_holds(call: Call, quantity: Quantity, probe: Probe) -> tuple[bool, bool]:
    """Whether the quotient is in the enclosure; and whether the enclosure could tell: it is below 2**-20 of
    what was added up.
    """
    operator = OPERATORS[call.operator]
    with precision(BITS):
        arguments = {k: balls(a) if isinstance(a, np.ndarray) else a for k, a in call.arguments.items()}
        g, v, h = balls(probe.grad_output), balls(probe.direction), flint.arb(2) ** STEP
        start = arguments[quantity.along]
        end = np.asarray(start + h * v, dtype=object)
        covering = np.asarray(np.frompyfunc(lambda a, b: a.union(b), 2, 1)(start, end), dtype=object)

        def function(point: Any) -> Any:
            at = arguments | {quantity.along: point}
            if not quantity.of:
                return operator.forward(**at)
            gradients = operator.backward(g, **at)
            return getattr(gradients, quantity.of) if isinstance(gradients, tuple) else gradients

        there, here = np.asarray(function(end), dtype=object), np.asarray(function(start), dtype=object)
        w = balls(np.random.default_rng(2).standard_normal(there.shape))
        at = arguments | {quantity.along: covering}
        tangent = second_order.derivative(call.operator, quantity, v, g, at)
        terms = np.asarray(w * tangent, dtype=object)
        slope, quotient = total(terms), total(w * (there - here)) / h
        return bool(slope.overlaps(quotient)), bool(slope.rad() <= total(abs(terms)) * flint.arb(2) ** -20)


@operators
def test_mean_value_theorem(name: str) -> None:
    for described, call, along, probe in probes_of(name):
        for quantity in quantities_of(call, along):
            holds, tight = mean_value_holds(call, quantity, probe)
            assert tight, f"{quantity} of {described}"
            assert holds, f"{quantity} of {described}"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_jvp_of_an_elementwise_loss_is_also_the_derivative_of_its_forward(name: str) -> None:
    """`second_order.jvp` takes the closed-form gradient there; the definition on Duals says the same, away
    from the clamps.
    """
    for described, call, along, probe in probes_of(name):
        with precision(BITS):
            arguments = {k: balls(a) if isinstance(a, np.ndarray) else a for k, a in call.arguments.items()}
            duals = {
                k: Dual(a, balls(probe.direction) if k == along else None) if hasattr(a, "shape") else a
                for k, a in arguments.items()
            }
            forward = np.asarray(dual.tangent_of(OPERATORS[name].forward(**duals)), dtype=object)
            closed = np.asarray(
                second_order.jvp(name, along, balls(probe.direction), arguments), dtype=object
            )
            assert all(a.overlaps(b) for a, b in zip(forward.reshape(-1), closed.reshape(-1), strict=True)), (
                described
            )


@pytest.mark.parametrize("of_the_family_of", ["binary_cross_entropy", "softmax"])
def test_a_reduction_that_no_other_operator_has_is_part_of_the_derivative(
    of_the_family_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kl_div with batchmean divides by the rows: so does its jvp, by the gradient and by Duals alike."""

    def kl_div(input: Any, target: Any) -> Any:
        xp = input.__array_namespace__() if hasattr(input, "__array_namespace__") else np
        return xp.sum(target * (xp.log(target) - input)) / input.shape[0]

    def kl_div_backward(grad_output: Any, input: Any, target: Any) -> Any:
        return -(grad_output / input.shape[0]) * target

    record = replace(
        OPERATORS["binary_cross_entropy"],
        name="kl_div",
        forward=kl_div,
        backward=kl_div_backward,
        family=OPERATORS[of_the_family_of].family,
        result_shape=lambda arguments: (),
    )
    monkeypatch.setitem(cast(dict[str, Any], OPERATORS), "kl_div", record)
    rng = np.random.default_rng(4)
    target, direction = rng.uniform(0.1, 1.0, (2, 3)), rng.standard_normal((2, 3))
    arguments = {"input": rng.standard_normal((2, 3)), "target": target}
    call = Call("kl_div", arguments, "float64", "float64", ("input",))
    bound = expected(call, ("jvp along input",), np.ones(()), direction)["jvp along input"]
    truth = -np.sum(target * direction) / 2
    assert abs(bound.value - truth) <= bound.total_error()
    assert bound.total_error() < 2.0**-40 * abs(truth)


# --- torch through the definition, in float64; the lines in float32 -----------------------------------------


def by_torch(call: Call, along: str, probe: Probe) -> bool:
    """Whether every mode of torch through the definition agrees, in float64, to within what
    float32 may cost.
    """
    in_float64 = replace(call, dtype="float64", output_dtype="float64")
    g, v, bounds = probe.grad_output, probe.direction, dict[str, Rounded]()
    for mode in SECOND_ORDER:
        observed = mode.along(along, v).observe(load("reference", ()), in_float64, "cpu", g)
        for name, result in observed.items():
            if name not in bounds:
                bounds |= expected(call, (name,), g, v)
            bound = bounds[name]
            if not np.all(np.abs(result - bound.value) <= bound.total_error()):
                return False
    return True


def in_float32(call: Call, along: str, probe: Probe) -> bool:
    """Whether evaluating the same lines in float32 stays within the derived bound around the
    certified value.
    """
    arguments = {
        k: a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for k, a in call.arguments.items()
    }
    g, v = probe.grad_output.astype(np.float32), probe.direction.astype(np.float32)
    for quantity in quantities_of(call, along):
        name = str(quantity)
        bound = expected(call, (name,), probe.grad_output, probe.direction)[name]
        truth = certified(call, name, probe.grad_output, bound, probe.direction)
        assert truth is not None
        with np.errstate(all="ignore"):
            derivative = second_order.derivative(call.operator, quantity, v, g, arguments)
        assert np.asarray(derivative).dtype == np.float32
        if not np.all(np.abs(derivative - truth.value) <= truth.total_error()):
            return False
    return True


@pytest.mark.whole_runs
@operators
def test_modes_of_torch_through_the_definition(name: str) -> None:
    for described, call, along, probe in probes_of(name):
        assert by_torch(call, along, probe), described


@pytest.mark.whole_runs
@operators
def test_the_lines_in_float32_stay_within_their_bound(name: str) -> None:
    for described, call, along, probe in probes_of(name):
        assert in_float32(call, along, probe), described


# --- rules --------------------------------------------------------------------------------------------------


def test_a_constant_has_no_tangent() -> None:
    """What does not depend on the direction is charged with nothing, and a masked -inf is not multiplied by
    zero.
    """
    x = Dual(np.asarray([[0.0, -np.inf]]))
    assert softmax(x, 1).tangent is None
    assert nll_loss(x, Dual(np.asarray([0]))).tangent is None
    masked = softmax(Dual(x.primal, np.asarray([[1.0, 1.0]])), 1)
    assert masked.tangent.tolist() == [[0.0, 0.0]]


def test_branches_take_the_same_side_of_a_kink() -> None:
    """softplus'(0) = 1/2 and sigmoid'(0) = 1/4, though the branches that they are written in have kinks
    there.
    """
    for sign in (1.0, -1.0):
        zero = Dual(np.asarray([0.0, -0.0]), np.asarray([sign, sign]))
        assert softplus(dual_functions, zero).tangent.tolist() == [sign / 2] * 2
        assert sigmoid(dual_functions, zero).tangent.tolist() == [sign / 4] * 2
    loss = binary_cross_entropy_with_logits(Dual(np.asarray(0.0), np.asarray(1.0)), Dual(np.asarray(1.0)))
    assert loss.tangent.tolist() == -0.5


def test_a_constant_operand_is_broadcast_with_its_tangent() -> None:
    total_ = dual_functions.sum(Dual(np.ones(3), np.ones(3)) + Dual(np.zeros((2, 3))))
    assert total_.tangent is not None
    assert total_.tangent.tolist() == 6.0


def test_a_quantity_is_named_and_read_back() -> None:
    for quantity in (Quantity(), Quantity(of="input"), Quantity("input"), Quantity("target", "input")):
        assert Quantity.parse(str(quantity)) == quantity
    names = [str(each) for each in (Quantity(), Quantity(of="input"), Quantity("input"))]
    assert names == ["forward", "input", "jvp along input"]
    with pytest.raises(ValueError, match="is neither"):
        Quantity.parse("derivative of input")


# --- planted faults -----------------------------------------------------------------------------------------


def tangent(change: Callable[..., Any], method: str, owner: Any) -> Callable[..., Dual]:
    """The rule ``method`` with another tangent where it has one: ``change`` of the right one and the
    operands.
    """
    right = getattr(owner, method)

    def wrong(*operands: Any, **named: Any) -> Dual:
        result = right(*operands, **named)
        return result if result.tangent is None else Dual(result.primal, change(result.tangent, *operands))

    return wrong


def _left_only(t: Any, x: Dual, y: Any) -> Any:
    y = dual.coerce(y)
    return t if x.tangent is None or y.tangent is None else x.tangent * y.primal + 0 * t


def _plus(t: Any, x: Dual, y: Any) -> Any:
    y = dual.coerce(y)
    return t if y.tangent is None else t + 2 * (x.primal / y.primal) * y.tangent / y.primal


def _not_divided(t: Any, x: Dual, y: Any) -> Any:
    return t * dual.coerce(y).primal


FAULTS: list[tuple[str, Any, str, Callable[..., Any], str]] = [
    ("a product loses a term", Dual, "__mul__", _left_only, "softmax"),
    ("a quotient has the wrong sign", Dual, "__truediv__", _plus, "softmax"),
    ("a quotient is not divided", Dual, "__truediv__", _not_divided, "softmax"),
    ("a difference has the wrong sign", Dual, "__sub__", lambda t, x, y: -t, "cross_entropy"),
    ("a minus is dropped", Dual, "__neg__", lambda t, x: -t, "cross_entropy"),
    ("exp has the derivative of x", dual_functions, "exp", lambda t, x: x.tangent, "softmax"),
    ("log has the derivative of x", dual_functions, "log", lambda t, x: x.tangent, "binary_cross_entropy"),
    (
        "log1p has the derivative of log",
        dual_functions,
        "log1p",
        lambda t, x: x.tangent / x.primal,
        "binary_cross_entropy",
    ),
    (
        "abs has the derivative of x",
        Dual,
        "__abs__",
        lambda t, x: x.tangent,
        "binary_cross_entropy_with_logits",
    ),
    ("a sum forgets a thousandth", dual_functions, "sum", lambda t, x: t * (1 - 2.0**-10), "softmax"),
    ("where takes the other branch", dual_functions, "where", lambda t, c, x, y: 0 * t, "nll_loss"),
    ("maximum has no derivative", dual_functions, "maximum", lambda t, x, y: 0 * t, "binary_cross_entropy"),
    (
        "taking along an axis forgets the tangent",
        dual_functions,
        "take_along_axis",
        lambda t, x, i: 0 * t,
        "nll_loss",
    ),
    ("a reshaped tangent is doubled", dual_functions, "reshape", lambda t, x, shape: 2 * t, "cross_entropy"),
]


@pytest.mark.parametrize(
    ("sentence", "owner", "method", "change", "name"), FAULTS, ids=[fault[0] for fault in FAULTS]
)
def test_detects(
    monkeypatch: pytest.MonkeyPatch,
    sentence: str,
    owner: Any,
    method: str,
    change: Callable[..., Any],
    name: str,
) -> None:
    """Some case of the operator is rejected by the mean value theorem, and some by torch's modes."""
    monkeypatch.setattr(owner, method, tangent(change, method, owner))
    assert not all(
        mean_value_holds(call, quantity, probe)[0]
        for _, call, along, probe in probes_of(name)
        for quantity in quantities_of(call, along)
    )
    assert not all(by_torch(call, along, probe) for _, call, along, probe in probes_of(name))
