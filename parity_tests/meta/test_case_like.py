"""Whatever is asked of an operator is a sentence, a call in a dtype, and what is expected of it: drivers and
judging take all of them alike.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.cases.case_like import CaseLike
from torch_loss_parity.claims.transforms.transform_cases import Attempt
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.judge import verify_forward
from torch_loss_parity.operators import DTYPES, OPERATORS, Gap, Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.refusals import Refusal
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import run_subject


def cases_of(operator: Operator, dtype: str) -> Iterator[CaseLike]:
    """Some of every type."""
    case = next(iter(grid(operator, dtype, EFFORTS["quick"], 0)))
    yield case
    yield Attempt(f"plainly: {case}", case, verify_forward)
    yield from (row for row in each(operator.semantics) if dtype in row.dtypes)
    yield from each(operator.refusals)
    if not isinstance(operator.rewritten, Gap):
        yield from operator.rewritten(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_a_call_in_a_dtype_is_one_of_that_operator_and_its_sentence_is_its_own(
    operator: Operator, dtype: str
) -> None:
    cases = list(cases_of(operator, dtype))
    assert len({str(case) for case in cases}) == len(cases)
    for case in cases:
        call = case.call(operator, dtype)
        assert (call.operator, call.dtype) == (operator.name, dtype), case
        for name, value in call.arguments.items():
            assert not isinstance(value, np.generic), case
            if isinstance(value, np.ndarray) and value.dtype == np.float64 and name not in call.dtypes:
                assert FORMATS[dtype].holds(value).all(), case
        run_subject.tensors(call, "cpu", requires_grad=True)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_what_is_expected_is_a_value_of_the_definition_or_what_it_raises(operator: Operator) -> None:
    for case in cases_of(operator, "float64"):
        if isinstance(case, Refusal) and case.torch_alone:
            continue
        wanted = case.expects(operator, "float64")
        if isinstance(wanted, Call):
            assert expected(wanted, (FORWARD,)).keys() == {FORWARD}, case
        else:
            with pytest.raises(wanted):
                operator.forward(**case.call(operator, "float64").arguments)
