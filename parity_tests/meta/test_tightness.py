"""The bounds are tight: what torch computes comes to more than a twentieth of each, and stays inside.

A bound that nothing approaches is sound and notices nothing. So for every operator, dtype and claim the worst
error / allowed over a few fixed cases is neither tiny nor above 1, by the bound that decides: where the
ledger knows a divergence, that of its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from torch_loss_parity import subjects
from torch_loss_parity.cases.case import Case
from torch_loss_parity.judging.judge import Finding, verify_forward, verify_gradients
from torch_loss_parity.operators import DTYPES, OPERATORS

TORCH = subjects.load("torch", tuple(OPERATORS))
SHAPES = ((4, 5), (1, 1000))
APPROACHED = 1 / 20  # a bound twenty times wider than anything that is seen would be a guess again


def cases(name: str, dtype: str) -> Iterator[Case]:
    operator = OPERATORS[name]
    options = {"reduction": "none"} if "reduction" in operator.options else {}
    if name == "nll_loss":
        options["weight"] = "positive"  # without it, nothing rounds and nothing is allowed
    for shape in SHAPES:
        for values in list(operator.values)[:3]:
            yield operator.case(dtype, shape, values, options, 0)


@pytest.mark.parametrize("verify", [verify_forward, verify_gradients], ids=["forward", "gradient"])
@pytest.mark.parametrize("of_dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_the_worst_error_is_more_than_a_twentieth_of_the_bound_and_inside_it(
    name: str, of_dtype: str, verify: Callable[..., Iterator[Finding]]
) -> None:
    findings = [
        finding
        for case in cases(name, of_dtype)
        for finding in verify(TORCH, case)
        if finding.quantity in ("forward", "input")
    ]
    assert len(findings) == len(SHAPES) * 3
    assert APPROACHED < max(finding.verdict.fraction for finding in findings) <= 1
