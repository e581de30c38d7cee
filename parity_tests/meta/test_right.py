"""The right kernels are right, whatever the suite thinks of them: they agree with the definition to a few
ulps on ordinary inputs, and cover what the collection claims to cover.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import grad_output_of, output_shape
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.right import GRADES, RIGHT_KERNELS, RightKernel, record
from torch_loss_parity.subjects import Subject, SubjectError, load, run_subject

ULPS = 64  # of the largest element of a result
KERNELS = pytest.mark.parametrize("kernel", RIGHT_KERNELS.values(), ids=str)


def ordinary_calls(operator: str) -> list[Call]:
    """Calls in which every two options meet, on numbers of moderate size: the first distribution of an
    operator, in which nothing is known to lose digits.
    """
    known = OPERATORS[operator]
    cases = grid(known, "float64", EFFORTS["quick"], 0)
    calls = [known.call(replace(case, values=next(iter(known.values)))) for case in cases]
    return [call for call in calls if call.output_dtype == "float64"]


def results(subject: Subject, call: Call) -> dict[str, np.ndarray]:
    """The result of a call and its gradients."""
    upstream = grad_output_of(call, output_shape(call), np.random.default_rng(0))
    return dict(run_subject.results(subject, call, "cpu", upstream))


def error_in_ulps(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest error, in ulps of the largest number that is expected; infinite where one is finite and the
    other is not.
    """
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True):
        return np.inf
    if not finite.any():
        return 0.0
    largest = np.abs(expected[finite]).max()
    return float(np.abs(actual[finite] - expected[finite]).max() / np.spacing(largest))


def test_there_are_right_kernels_of_every_operator_and_each_says_who_ships_it() -> None:
    assert len(RIGHT_KERNELS) >= 50
    by_operator = Counter(kernel.operator for kernel in RIGHT_KERNELS.values())
    assert all(by_operator[operator] >= 5 for operator in OPERATORS)
    for kernel in RIGHT_KERNELS.values():
        assert kernel.grade in (*GRADES, None), kernel
        assert kernel.dtypes, kernel
        assert set(kernel.dtypes) <= set(DTYPES), kernel
        assert re.fullmatch(r"([\w.-]+/[\w.-]+( [\d.]+)?|well known|this project): .+", kernel.ships), kernel
        assert kernel.sentence.endswith("."), kernel


@KERNELS
def test_a_right_kernel_agrees_with_the_definition_to_a_few_ulps(kernel: RightKernel) -> None:
    dtype = "float64" if "float64" in kernel.dtypes else "float32"
    definition = load("torch_loss_parity.right.definition", (kernel.operator,))
    subject = load(f"right:{kernel.name}", (kernel.operator,))
    worst = 0.0
    for call in ordinary_calls(kernel.operator):
        if dtype == "float32":
            call = replace(call, dtype=dtype, output_dtype=dtype)
        expected, actual = results(definition, call), results(subject, call)
        scale = np.finfo(dtype).eps / np.finfo("float64").eps
        for quantity in expected:
            worst = max(worst, error_in_ulps(actual[quantity], expected[quantity]) / scale)
    assert worst <= ULPS


def test_a_right_kernel_that_is_not_there_is_refused_with_the_choices() -> None:
    with pytest.raises(SubjectError, match=r"there is no right kernel 'zero'; choose from .*two-softplus"):
        load("right:zero", tuple(OPERATORS))


@pytest.mark.parametrize(
    ("ships", "grade", "doc"), [("", "sharp", "Right."), ("a/b: c", "blunt", "Right."), ("a/b: c", None, "")]
)
def test_a_right_kernel_that_is_not_described_is_refused(ships: str, grade: str | None, doc: str) -> None:
    def some_new_kernel() -> None: ...

    some_new_kernel.__doc__ = doc
    with pytest.raises(ValueError, match="right kernel some-new-kernel: it needs an operator, who ships it"):
        record.composed("softmax", ships=ships, grade=grade)(some_new_kernel)
    assert "some-new-kernel" not in RIGHT_KERNELS
