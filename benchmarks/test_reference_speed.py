"""The definitions of softmax and log_softmax on NumPy cost no more than SciPy's, and agree with them.

Timing is off unless asked for with ``pytest benchmarks --benchmark-enable``; each function then runs once, on a few numbers.
`benchmarks.against_scipy` measures the quotients more closely.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import reference
from benchmarks.against_scipy import SHAPE, logits
from parity_tests.verdict import judge
from reference.arithmetic.formats import FLOAT64, Arithmetic
from reference.arithmetic.rounding import Rounded

scipy_special: ModuleType = pytest.importorskip(
    "scipy.special", reason="SciPy, of the dev dependencies, is what the speed is compared with"
)

IMPLEMENTATIONS = {"reference": reference, "scipy": scipy_special}
FEW = (5, 33)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_of_a_language_model(benchmark: Any, name: str, implementation: str) -> None:
    """Whichever function ran, its first rows are within what evaluating the definition in float64 may cost."""
    function: Callable[..., Any] = getattr(IMPLEMENTATIONS[implementation], name)
    shape = SHAPE if benchmark.enabled else FEW
    benchmark.group = f"{name} {'x'.join(map(str, shape))} float64"
    x = logits(shape)
    output = benchmark(function, x, -1)
    rows = FEW[0]
    expected = getattr(reference, name)(Rounded(x[:rows], Arithmetic.for_dtype("float64")), -1)
    verdict = judge(output[:rows], expected, FLOAT64)
    assert verdict.passes, verdict
    assert verdict.elements == rows * shape[1]
    assert verdict.undecided == 0
