"""The definition means what torch means: shapes, nan and infinities, denominators, and what each gradient
does there.

Every row of the facet ``semantics`` of an operator's record on NumPy and on torch, in float64: shape and
kinds (nan, inf, -inf, finite) are those of the definition in rounding arithmetic, finite elements differ by
what evaluating these lines in float64 may cost, and what the row states comes out exactly.
`torch_loss_parity.claims.semantics.checks` asks the same of torch, and of any subject, in every
dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity import reference
from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.semantics.checks import stated_value
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.semantics import Row
from torch_loss_parity.reference.arithmetic.formats import Arithmetic
from torch_loss_parity.reference.arithmetic.rounding import Rounded

FLOAT64 = Arithmetic.for_dtype("float64")
ROWS = {
    f"{operator.name}: {row.sentence}": (operator, row)
    for operator in OPERATORS.values()
    for row in each(operator.semantics)
}
ASKED = [
    pytest.param(operator, row, id=name)
    for name, (operator, row) in ROWS.items()
    if "float64" in row.dtypes and "dtype" not in row.arguments
]


def from_definition(operator: Operator, row: Row, array: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """The value and the closed-form gradients, by quantity, on arrays made by ``array``."""
    call = row.expects(operator, "float64")
    arguments = {k: array(v) if isinstance(v, np.ndarray) else v for k, v in call.arguments.items()}
    with np.errstate(all="ignore"):
        value = operator.forward(**arguments)
        grad_output = array(np.array(row.grad_output(tuple(value.shape))))
        gradients = operator.backward(grad_output, **arguments)
    named = gradients._asdict() if hasattr(gradients, "_asdict") else {"input": gradients}
    return {FORWARD: value} | {name: gradient for name, gradient in named.items() if gradient is not None}


def kinds(array: Any) -> Any:
    """nan, inf and -inf as they are; 0 for every finite element."""
    return np.where(np.isfinite(array), 0.0, array)


def disagreement(actual: Any, expected: Rounded) -> str:
    """What is wrong with ``found``; nothing where it is ""."""
    actual = np.asarray(actual)
    if actual.shape != expected.shape:
        return f"has shape {actual.shape}, expected {expected.shape}"
    with np.errstate(over="ignore"):
        value = expected.value.astype(np.float64)  # what overflows it is infinite
    if not np.array_equal(kinds(actual), kinds(value), equal_nan=True):
        return f"is {actual}, expected {value}"
    finite = np.isfinite(actual)
    error, allowed = (
        np.abs(actual[finite] - value[finite]),
        np.broadcast_to(expected.total_error(), actual.shape)[finite],
    )
    return (
        ""
        if np.all(error <= allowed)
        else (f"is {actual}, expected {value}: off by {error}, allowed {allowed}")
    )


def allows_little(expected: dict[str, Rounded], call: Call) -> bool:
    """Whether the bounds are 20 bits below the largest number in play, of the 53 that float64 has; or nothing
    holds.
    """
    arrays = [result.nearest for result in expected.values()]
    arrays += [argument for argument in call.arguments.values() if isinstance(argument, np.ndarray)]
    largest = max([1.0, *(np.max(np.abs(a), where=np.isfinite(a), initial=0.0) for a in arrays)])
    bounds = [result.total_error() for result in expected.values()]
    return all(np.all((bound <= 2.0**-20 * largest) | np.isinf(bound)) for bound in bounds)


@pytest.mark.parametrize(("operator", "row"), ASKED)
def test_agrees(operator: Operator, row: Row) -> None:
    """Shape and kind of the value and of every gradient agree; finite elements do within the cost
    of float64.
    """
    call = row.call(operator, "float64")
    expected = from_definition(operator, row, lambda array: Rounded(array, FLOAT64))
    assert allows_little(expected, call)
    assert set(expected) == {FORWARD, *call.differentiable}
    for library, observed in {
        "NumPy": from_definition(operator, row, np.asarray),
        "torch": from_definition(operator, row, torch.tensor),
    }.items():
        for quantity, actual in observed.items():
            assert not (wrong := disagreement(actual, expected[quantity])), (
                f"on {library}, {quantity} {wrong}"
            )
            exact = stated_value(
                row, "float64", quantity, row.grad_output(expected[FORWARD].shape), expected[quantity]
            )
            same = exact is None or np.array_equal(actual, exact, equal_nan=True)
            assert same, f"on {library}, {quantity} is {actual}, expected exactly {exact}"


FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "the mean divides by the number of rows": (
        "cross_entropy: weighted mean over indices divides by the weights",
        lambda x: x * 2,
    ),
    "an ignored row counts": ("nll_loss: all targets ignored, none -> 0, gradient 0", lambda x: x + 1.0),
    "0 where the loss is nan": (
        "cross_entropy: probability 0 at a -inf logit -> nan, gradient 0 and of the target inf",
        np.nan_to_num,
    ),
    "a large number where the loss is inf": (
        "cross_entropy: -inf at the target -> inf, gradient finite",
        np.nan_to_num,
    ),
    "-inf where the loss is inf": ("cross_entropy: -inf at the target -> inf, gradient finite", np.negative),
    "a dimension too many": ("nll_loss: shape (3,), none", np.atleast_1d),
    "float32": ("cross_entropy: shape (2, 3), mean", np.float32),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_detects(fault: str) -> None:
    """The comparison rejects a wrong result."""
    name, wrong = FAULTS[fault]
    operator, row = ROWS[name]
    expected, right = (
        from_definition(operator, row, lambda array: Rounded(array, FLOAT64)),
        from_definition(operator, row, np.asarray)[FORWARD],
    )
    assert not disagreement(right, expected[FORWARD])
    assert disagreement(np.asarray(wrong(right)), expected[FORWARD])


NEGATIVE_ZEROS = (
    "cross_entropy: all-zero probabilities -> -0.0, gradient 0",
    "binary_cross_entropy: input 1, target 1 -> -0.0, gradient of the target -inf",
)


@pytest.mark.parametrize("name", NEGATIVE_ZEROS)
def test_the_sign_of_a_zero_is_written_down(name: str) -> None:
    """torch returns -0.0 there.

    Nobody promises it, and sums that start at 0.0 do not: no verdict depends on the sign.
    """
    operator, row = ROWS[name]
    arguments = row.call(operator, "float64").arguments
    tensors = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    result = getattr(torch.nn.functional, operator.name)(**tensors)
    assert result == 0
    assert torch.signbit(result)
    assert from_definition(operator, row, np.asarray)[FORWARD] == 0


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_two_rows_have_the_same_sentence(operator: str) -> None:
    names = [row.sentence for row in each(OPERATORS[operator].semantics)]
    assert len(names) == len(set(names)), [name for name in set(names) if names.count(name) > 1]


def test_a_row_that_is_not_for_every_dtype_says_why() -> None:
    with pytest.raises(ValueError, match="1 and 2: say why"):
        Row(sentence="1 and 2", arguments={}, dtypes=("float64",))
    with pytest.raises(ValueError, match="say why"):
        Row(sentence="1 and 2", arguments={}, reason="none")
    assert Row(sentence="1 and 2", arguments={}).dtypes == DTYPES


@pytest.mark.parametrize(
    "integer", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_every_integer_dtype_is_a_class_index(name: str, integer: str) -> None:
    """A deliberate difference: torch takes int64 and uint8 only."""
    definition = getattr(reference, name)
    input, target = np.asarray([[-0.5, -1.5, -2.5], [-3.0, -0.25, -1.0]]), np.asarray([2, 0])
    for weight in (None, np.asarray([0.5, 2.0, 1.25])):
        assert definition(input, target.astype(integer), weight) == definition(input, target, weight)
