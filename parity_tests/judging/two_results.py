"""Two results of one call, and the truth: who is nearer to it?

    from torch_loss_parity import compare

    print(compare(mine, torch.log_softmax(x, -1), "log_softmax", x, dim=-1))

Two implementations that disagree do not say which of them is right. Here each is held against the definition,
within what rounding allows in the dtype that it is returned in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import expected
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.given_call import (
    anyone,
    bound_arguments,
    call_of,
    numbers_of,
    operator_named,
    wrong_arguments,
)
from torch_loss_parity.judging.judge import judge_quantity
from torch_loss_parity.judging.log_probabilities import CLIP, LogProbabilities, clip_range, log_probabilities

ANYONE = anyone()


@dataclass(frozen=True)
class Standing:
    """How one of the results stands.

    Attributes
    ----------
    dtype : str
        What it was returned in.
    verdict : Verdict
        Against the truth, within what rounding allows in that dtype.
    nearer : float
        The share of elements in which it is nearer to the truth than the other result.
    way : str
        The way that explains it, with its grade, where the definition does not.
    """

    dtype: str
    verdict: Verdict
    nearer: float
    way: str = ""

    def __str__(self) -> str:
        verdict = self.verdict
        said = "within what rounding allows" if verdict.passes else "WRONG: more than rounding allows"
        error = f"worst {verdict.ulps:.4g} ulp, {verdict.fraction:.4g} of what is allowed"
        by = f", by {self.way}" if self.way else ""
        return f"{self.dtype:<8}  {error}; nearer in {self.nearer:.1%}; {verdict.reason or said}{by}"


@dataclass(frozen=True)
class Compared:
    """Two results of one call beside the truth; true where both are within what rounding allows.

    Attributes
    ----------
    operator : str
    elements : int
    a, b : Standing
    equal : float
        The share of elements that are the same number in both.
    apart : float
        The largest difference between the two, in ulps of the coarser of their dtypes.
    log_probabilities : LogProbabilities, optional
        How far they are apart as log-probabilities, where they are such.
    """

    operator: str
    elements: int
    a: Standing
    b: Standing
    equal: float
    apart: float
    log_probabilities: LogProbabilities | None = None

    @property
    def nearer(self) -> str:
        """Which is nearer to the truth in more of the elements: "a", "b" or "both"."""
        difference = self.a.nearer - self.b.nearer
        return "both" if difference == 0 else "a" if difference > 0 else "b"

    def __bool__(self) -> bool:
        return self.a.verdict.passes and self.b.verdict.passes

    def __str__(self) -> str:
        both = "; the difference is rounding, and no defect" if self and self.equal < 1 else ""
        return "\n".join(
            [
                f"{self.operator}, {self.elements} elements, against the truth:",
                f"  a  {self.a}",
                f"  b  {self.b}",
                f"  the same in {self.equal:.1%} of them, apart by at most {self.apart:.4g} ulp{both}",
                *([str(self.log_probabilities)] if self.log_probabilities else []),
            ]
        )

    __repr__ = __str__


def compare(
    a: Any, b: Any, operator: str, *arguments: Any, clip: Sequence[float] = CLIP, **options: Any
) -> Compared:
    """Compare two results of one call with each other and with the truth.

    Parameters
    ----------
    a, b : tensor or array
        What two implementations returned, in any of the dtypes that the suite knows, on any device.
    operator : str
        The name of the operator.
    *arguments, **options
        Those of the call, as torch.nn.functional takes them.
    clip : two numbers
        Of results that are log-probabilities, the range of ratios exp(a - b) that is asked about; see
        `torch_loss_parity.judging.log_probabilities`.

    Raises
    ------
    ValueError
        If the operator or a dtype is unknown, an argument is refused, or ``clip`` is no range around 1.
    TypeError
        If these are no arguments of the operator.
    """
    record, clipped = operator_named(operator), clip_range(clip)
    given = bound_arguments(record, arguments, options)
    results = {"a": numbers_of("a", a), "b": numbers_of("b", b)}
    calls = {name: call_of(record, given, dtype) for name, (_, dtype) in results.items()}
    with wrong_arguments():
        findings = {name: _judge(calls[name], results[name][0]) for name in results}
    (of_a, dtype_of_a), (of_b, dtype_of_b) = results.values()
    if of_a.shape != of_b.shape:
        raise ValueError(f"a is of shape {of_a.shape}, and b of shape {of_b.shape}")
    finest = min(calls.values(), key=lambda call: format_of(call, FORWARD).unit_roundoff)
    coarsest = max(calls.values(), key=lambda call: format_of(call, FORWARD).unit_roundoff)
    value = np.asarray(
        expected(finest, (FORWARD,), profile=ANYONE.profile)[FORWARD].nearest, dtype=np.float64
    )
    with np.errstate(invalid="ignore"):
        off_a, off_b = np.abs(of_a - value), np.abs(of_b - value)
        apart = np.abs(of_a - of_b) / format_of(coarsest, FORWARD).spacing(value)
    same = (of_a == of_b) | (np.isnan(of_a) & np.isnan(of_b))
    return Compared(
        operator,
        of_a.size,
        _standing(dtype_of_a, findings["a"], off_a < off_b),
        _standing(dtype_of_b, findings["b"], off_b < off_a),
        _share(same),
        float(np.max(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)), initial=0.0)),
        log_probabilities(finest, of_a, of_b, clipped),
    )


def _standing(dtype: str, finding: Finding, nearer: np.ndarray) -> Standing:
    return Standing(dtype, finding.verdict, _share(nearer), str(finding.way or ""))


def _share(of: np.ndarray) -> float:
    return float(np.mean(of)) if of.size else 1.0


def _judge(call: Call, observed: np.ndarray) -> Finding:
    bound = expected(call, (FORWARD,), profile=ANYONE.profile)[FORWARD]
    return judge_quantity(ANYONE, "cpu", None, call, FORWARD, observed, bound, None, entries=())
