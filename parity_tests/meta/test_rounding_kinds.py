"""Whether a result is finite, infinite or nan is decided where it follows from what is known, and only there.

An operand is given with its bound; where a number inside the bound makes another kind of result, every kind
has to be let pass, as undecided. Where none does, a result of the wrong kind has to fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.reference.arithmetic import rounding_functions as xp
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.formats import FLOAT16, FLOAT32, Arithmetic
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded

INF, NAN = np.inf, np.nan
F32 = Arithmetic.for_dtype("float32")
MAY_OVERFLOW = Rounded([2.0**127], F32, Error(0.0, INF))
NEAR_ZERO = Rounded([2.0**-100], F32, Error(0.0, 2.0**-99))  # either sign, or 0
ZERO_WITHIN_ERROR = Rounded([0.0], F32, Error(0.0, 2.0**-99))


def exact(number: float) -> Rounded:
    return Rounded([number], F32)


def beside(x: Rounded, y: Rounded) -> Rounded:
    """The two elements as a row."""
    return xp.where(Rounded([True, False], F32), x, y)


DOUBTFUL = exact(INF) / MAY_OVERFLOW
UNDECIDED: dict[str, Callable[[], Rounded]] = {
    "infinity over what may overflow": lambda: DOUBTFUL,
    "infinity minus what may overflow": lambda: exact(INF) - MAY_OVERFLOW,
    "infinity times what may be 0": lambda: exact(INF) * NEAR_ZERO,
    "what may be 0 times infinity": lambda: NEAR_ZERO * exact(INF),
    "infinity over what may have either sign": lambda: exact(INF) / NEAR_ZERO,
    "what may be 0 over 0": lambda: NEAR_ZERO / exact(0.0),
    "0 over what may be 0": lambda: exact(0.0) / ZERO_WITHIN_ERROR,
    "a number over what may be 0": lambda: exact(1.0) / ZERO_WITHIN_ERROR,
    "the logarithm of what may be 0": lambda: xp.log(ZERO_WITHIN_ERROR),
    "the exponential of what is undecided": lambda: xp.exp(DOUBTFUL),
    "... of minus that": lambda: xp.exp(-DOUBTFUL),
    "the logarithm of what is undecided": lambda: xp.log(DOUBTFUL),
    "log1p of what is undecided": lambda: xp.log1p(DOUBTFUL),
    "1 over what is undecided": lambda: exact(1.0) / DOUBTFUL,
    "what is undecided plus 1": lambda: DOUBTFUL + exact(1.0),
    "what is undecided times 0": lambda: DOUBTFUL * exact(0.0),
    "its magnitude": lambda: abs(DOUBTFUL),
    "the larger of it and a number": lambda: xp.maximum(DOUBTFUL, exact(1.0)),
    "what is chosen of it": lambda: xp.where(exact(1.0) > 0, DOUBTFUL, exact(1.0)),
    "it, stored": lambda: store(replaced_storage(DOUBTFUL)),
    "a sum in which it is": lambda: xp.sum(beside(DOUBTFUL, exact(1.0)), axis=0, keepdims=True),
    "the maximum of a row in which it is": lambda: xp.max(
        beside(DOUBTFUL, exact(1.0)), axis=0, keepdims=True
    ),
}
DECIDED: dict[str, tuple[Callable[[], Rounded], float]] = {
    "infinity over a number": (lambda: exact(INF) / Rounded([3.0], F32, Error(0.1)), INF),
    "infinity minus a number": (lambda: exact(INF) - Rounded([3.0], F32, Error(0.1, 1.0)), INF),
    "infinity times a number": (lambda: exact(-INF) * Rounded([3.0], F32, Error(0.1, 1.0)), -INF),
    "infinity minus infinity": (lambda: exact(INF) - exact(INF), NAN),
    "0 over 0": (lambda: exact(0.0) / exact(0.0), NAN),
    "a number over 0": (lambda: Rounded([3.0], F32, Error(0.1)) / exact(0.0), INF),
    "nan over what may overflow": (lambda: exact(NAN) / MAY_OVERFLOW, NAN),
    "nan times what may be 0": (lambda: exact(NAN) * NEAR_ZERO, NAN),
    "nan plus what is undecided": (lambda: exact(NAN) + DOUBTFUL, NAN),
    "a sum of nan and what is undecided": (
        lambda: xp.sum(beside(DOUBTFUL, exact(NAN)), axis=0, keepdims=True),
        NAN,
    ),
    "a number over infinity, times infinity": (
        lambda: (Rounded([3.0], F32, Error(0.1)) / exact(INF)) * exact(INF),
        NAN,
    ),
    "the logarithm of 0": (lambda: xp.log(exact(0.0)), -INF),
    "the exponential of minus infinity": (lambda: xp.exp(exact(-INF)), 0.0),
    "the larger of infinity and what may overflow": (
        lambda: xp.maximum(exact(INF), Rounded([3.0], F32, Error(0.0, 1.0))),
        INF,
    ),
    "infinity, stored": (lambda: store(replaced_storage(exact(INF))), INF),
}


def replaced_storage(x: Rounded) -> Rounded:
    return Rounded(x.value, replace(x.arithmetic, storage=FLOAT16), x.error)


@pytest.mark.parametrize("what", UNDECIDED)
def test_a_kind_that_does_not_follow_is_not_asked_for(what: str) -> None:
    bound = UNDECIDED[what]()
    for observed in (NAN, 1.0):
        verdict = judge(np.asarray([observed]), bound, FLOAT32)
        assert verdict.passes
        assert verdict.undecided == 1


@pytest.mark.parametrize("what", DECIDED)
def test_a_kind_that_follows_is_asked_for(what: str) -> None:
    make, kind = DECIDED[what]
    bound = make()
    for observed in (NAN, INF, -INF, 0.0, 1.0):
        verdict = judge(np.asarray([observed]), bound, FLOAT32)
        assert not verdict.undecided
        assert verdict.passes == (observed == kind or (np.isnan(observed) and np.isnan(kind)))


def test_an_infinite_mean_over_a_count_that_overflows_in_storage_may_be_nan() -> None:
    """What torch returns for float16: the losses are infinite together, and so is the number of rows, 65520
    and more.
    """
    rows = 70000
    arguments = {
        "input": np.tile([0.0, -INF], (rows, 1)),
        "target": np.ones(rows, np.int64),
        "reduction": "mean",
    }
    call = Call("cross_entropy", arguments, "float16", "float16")
    strict, weaker = (
        expected(call, (FORWARD,), changes=changes)[FORWARD] for changes in (None, {"total": "storage"})
    )
    assert judge(np.asarray(NAN), strict, FLOAT16).fraction == INF
    assert judge(np.asarray(NAN), weaker, FLOAT16).passes
    assert not judge(np.asarray(1.0), strict, FLOAT16).passes
