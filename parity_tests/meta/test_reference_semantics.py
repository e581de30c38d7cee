"""The definitions have torch's semantics: shapes, nan and infinities, denominators, and what each gradient does there.

Every row of `semantics_table` runs in float64 three times: the definition on NumPy, on torch, and torch.nn.functional. Each must have
the shape and the kinds (nan, inf, -inf, finite) of the definition evaluated in rounding arithmetic, and finite elements may
differ from it by what evaluating these lines in float64 may cost: the bound is zero where nothing can round. Finite inputs on
which torch itself leaves that bound (its with-logits formula cancels) are numbers, not semantics, and are no rows here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version

import reference
from parity_tests.meta.semantics_table import CASES, TORCH_CANCELS, Case
from reference.arithmetic.formats import Arithmetic
from reference.arithmetic.rounding import Rounded

FLOAT64 = Arithmetic.for_dtype("float64")


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.integers(1, 9, shape) / 4)


def from_definition(case: Case, array: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """The value and the closed-form gradients, by name, on arrays made by ``array``."""
    arguments = {k: array(v) if isinstance(v, np.ndarray) else v for k, v in case.arguments.items()}
    with np.errstate(all="ignore"):
        value = getattr(reference, case.operator)(**arguments)
        gradients = getattr(reference, f"{case.operator}_backward")(array(upstream(tuple(value.shape))), **arguments)
    named = gradients._asdict() if hasattr(gradients, "_asdict") else {"input": gradients}
    return {"value": value} | {name: gradient for name, gradient in named.items() if gradient is not None}


def from_torch(case: Case) -> dict[str, Any]:
    """The value and the gradients of torch.nn.functional."""
    arguments = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.arguments.items()}
    leaves = [arguments[name].requires_grad_() for name in case.differentiable]
    value = getattr(torch.nn.functional, case.operator)(**arguments)
    if not case.torch_has_backward:
        return {"value": value.detach()}
    gradients = torch.autograd.grad(value, leaves, torch.tensor(upstream(tuple(value.shape))))
    return {"value": value.detach()} | dict(zip(case.differentiable, gradients, strict=True))


def kinds(array: Any) -> Any:
    """nan, inf and -inf as they are; 0 for every finite element."""
    return np.where(np.isfinite(array), 0.0, array)


def disagreement(found: Any, expected: Rounded) -> str:
    """What is wrong with ``found``; nothing where it is ""."""
    found = np.asarray(found)
    if found.shape != expected.shape:
        return f"has shape {found.shape}, expected {expected.shape}"
    if not np.array_equal(kinds(found), kinds(expected.value), equal_nan=True):
        return f"is {found}, expected {expected.value}"
    finite = np.isfinite(found)
    error, allowed = np.abs(found[finite] - expected.value[finite]), expected.total_error()[finite]
    return "" if np.all(error <= allowed) else f"is {found}, expected {expected.value}: off by {error}, allowed {allowed}"


def allows_little(expected: dict[str, Rounded], case: Case) -> bool:
    """Whether the bounds are 20 bits below the largest number in play, of the 53 that float64 has."""
    arrays = [result.value for result in expected.values()] + [a for a in case.arguments.values() if isinstance(a, np.ndarray)]
    largest = max([1.0, *(np.max(np.abs(a), where=np.isfinite(a), initial=0.0) for a in arrays)])
    return all(np.all(result.total_error() <= 2.0**-20 * largest) for result in expected.values())


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A few elements are not worth a second thread: on a busy machine, waiting for it takes longer than all the rest."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees(case: Case) -> None:
    """Shape and kind of the value and of every gradient agree; finite elements do within the cost of float64."""
    if Version(torch.__version__) < Version(case.since):
        pytest.skip(f"torch {torch.__version__} is older than {case.since}, the oldest that is known to do so")
    expected = from_definition(case, lambda array: Rounded(array, FLOAT64))
    assert allows_little(expected, case)
    assert set(expected) == {"value", *case.differentiable}
    exactly = {"value": case.value, "input": case.gradient}
    evaluations = {"NumPy": from_definition(case, np.asarray), "torch": from_definition(case, torch.tensor), "F": from_torch(case)}
    for evaluation, observed in evaluations.items():
        for name, found in observed.items():
            assert not (wrong := disagreement(found, expected[name])), f"on {evaluation}, {name} {wrong}"
            exact = exactly.get(name)
            same = exact is None or np.array_equal(found, np.broadcast_to(exact, tuple(found.shape)), equal_nan=True)
            assert same, f"on {evaluation}, {name} is {found}, expected exactly {exact}"


FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "the mean divides by the number of rows": ("cross_entropy[weighted mean over indices divides by the weights]", lambda x: x * 2),
    "an ignored row counts": ("nll_loss[all targets ignored, none -> 0.0, gradient 0]", lambda x: x + 1.0),
    "0 where the loss is nan": ("cross_entropy[probability 0 at a -inf logit -> nan, gradient 0]", np.nan_to_num),
    "a large number where the loss is inf": ("cross_entropy[-inf at the target -> inf, gradient finite]", np.nan_to_num),
    "-inf where the loss is inf": ("cross_entropy[-inf at the target -> inf, gradient finite]", np.negative),
    "a dimension too many": ("nll_loss[shape (3,), none]", np.atleast_1d),
    "float32": ("cross_entropy[shape (2, 3), mean]", np.float32),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_detects(fault: str) -> None:
    """The comparison rejects a wrong result."""
    name, wrong = FAULTS[fault]
    case = next(case for case in CASES if str(case) == name)
    expected, right = from_definition(case, lambda array: Rounded(array, FLOAT64)), from_definition(case, np.asarray)["value"]
    assert not disagreement(right, expected["value"])
    assert disagreement(np.asarray(wrong(right)), expected["value"])


@pytest.mark.parametrize(("x", "t"), TORCH_CANCELS)
def test_inf_where_torch_subtracts_infinities(x: float, t: float) -> None:
    """A deliberate difference: torch's (1 - t) x + max(-x, 0) + ... is inf - inf, the loss is inf."""
    assert torch.isnan(torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(x), torch.tensor(t)))
    assert reference.binary_cross_entropy_with_logits(np.asarray(x), np.asarray(t)) == np.inf


@pytest.mark.parametrize("integer", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_every_integer_dtype_is_a_class_index(name: str, integer: str) -> None:
    """A deliberate difference: torch takes int64 and uint8 only."""
    definition = getattr(reference, name)
    input, target = np.asarray([[-0.5, -1.5, -2.5], [-3.0, -0.25, -1.0]]), np.asarray([2, 0])
    for weight in (None, np.asarray([0.5, 2.0, 1.25])):
        assert definition(input, target.astype(integer), weight) == definition(input, target, weight)
