"""Sums of exponentials in one pass, rescaled whenever the largest so far grows, need no way of their own.

They stay within the definition's bound, or that of a way that is there, in blocks at any length and number by
number, also where nearly every number is a new largest.

In blocks that holds of an exp that is off by all that the arithmetic allows, always to the same side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.judge import judge_quantity
from torch_loss_parity.operators import DTYPES
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Arithmetic
from torch_loss_parity.subjects import Subject

Tensor = torch.Tensor
Exp = Callable[[Tensor], Tensor]
ANYONE = Subject("anyone", None, "")
STEPS = (2.0**-24, 1e-5, 1e-3, 0.1, 0.7, 3.0)


def growing_rows(length: int) -> Iterator[np.ndarray]:
    """Rows in which every number is the largest so far: in even steps, in random ones; and a sorted one."""
    rng = np.random.default_rng(0)
    for step in STEPS:
        yield (np.arange(length) - length) * step
        yield np.cumsum(rng.exponential(step, length)) - length * step
    yield np.sort(rng.normal(0, 3, length))


def off_by(ulps: float, format: str) -> Exp:
    """An exp that is too large by so many ulps wherever it is not 1."""
    relative = 2 * ulps * FORMATS[format].unit_roundoff
    return lambda z: torch.where(z == 0, z.exp(), (z.double().exp() * (1 + relative)).to(z.dtype))


def online(x: Tensor, width: int, exp: Exp) -> tuple[Tensor, Tensor]:
    """The largest and the sum of the exponentials below it."""
    largest = torch.full_like(x[..., :1], -math.inf)
    sum = torch.zeros_like(largest)
    for block in x.split(width, -1):
        after = torch.maximum(largest, block.amax(-1, keepdim=True))
        at = torch.where(after == -math.inf, torch.zeros_like(after), after)  # nothing was summed yet
        sum = sum * exp(largest - at) + exp(block - at).sum(-1, keepdim=True)
        largest = after
    return largest, sum


def results(x: Tensor, width: int, exp: Exp) -> dict[str, Tensor]:
    largest, sum = online(x, width, exp)
    return {
        "softmax": exp(x - largest) / sum,
        "log_softmax": (x - largest) - sum.log(),
        "logsumexp": (largest + sum.log()).squeeze(-1),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("length", "width", "ulps"),
    [(5, 1, 0.0), (257, 1, 0.0), (1000, 32, 0.0), (32768, 128, 0.0), (1000, 32, 2.5), (257, 32, 2.5)],
)
def test_an_online_sum_is_right(length: int, width: int, ulps: float, dtype: str) -> None:
    assert ulps + 0.5 <= Arithmetic.exp_ulps
    wide = "float64" if dtype == "float64" else "float32"
    exp = off_by(ulps, wide) if ulps else torch.exp
    for row in growing_rows(length):
        x = FORMATS[dtype].round(np.asarray(row)[None])
        given = torch.from_numpy(x).to(getattr(torch, wide))
        for operator, result in results(given, width, exp).items():
            call = Call(operator, {"input": x, "dim": 1}, dtype, dtype, ("input",))
            bound = expected(call, (FORWARD,))[FORWARD]
            observed = result.to(getattr(torch, dtype)).double().numpy()
            finding = judge_quantity(ANYONE, "cpu", None, call, FORWARD, observed, bound, None)
            assert finding.verdict.passes, (operator, row[:4], finding.verdict)


def test_blocks_that_are_not_rescaled_are_wrong() -> None:
    x = np.arange(1000)[None] * 2.0**-14
    given = torch.from_numpy(x).float()
    sums = [(block - block.amax()).exp().sum() for block in given.split(32, -1)]
    wrong = (given.amax(-1) + torch.stack(sums).sum().log()).double().numpy()
    call = Call("logsumexp", {"input": x, "dim": 1}, "float32", "float32", ("input",))
    bound = expected(call, (FORWARD,))[FORWARD]
    assert not judge_quantity(ANYONE, "cpu", None, call, FORWARD, wrong, bound, None).verdict.passes
