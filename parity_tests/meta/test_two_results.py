"""Two results of one call are told apart by the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity import compare
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.tensors.arrays import TORCH_DTYPES

X = torch.linspace(-3, 3, 60, dtype=torch.float64).reshape(6, 10).sin()
INDICES = torch.arange(6)
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "softmax": ((X,), {"dim": 1}),
    "log_softmax": ((X,), {"dim": -1}),
    "logsumexp": ((X,), {"dim": 0, "keepdim": True}),
    "nll_loss": ((X, INDICES), {"reduction": "sum"}),
    "cross_entropy": ((X, INDICES), {"label_smoothing": 0.1, "reduction": "none"}),
    "binary_cross_entropy": ((X.sigmoid(), X.abs()), {}),
    "binary_cross_entropy_with_logits": ((X, X.abs()), {"pos_weight": X[0].abs()}),
    "linear_cross_entropy": ((X, X, INDICES), {"reduction": "none"}),
}


def in_dtype(arguments: Any, dtype: torch.dtype) -> Any:
    """Real arguments in a dtype."""
    return [each.to(dtype) if each.is_floating_point() else each for each in arguments]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("operator", list(CALLS))
def test_torch_and_a_result_that_is_off_are_told_apart(operator: str, dtype: str) -> None:
    assert set(CALLS) == set(OPERATORS)
    arguments, options = CALLS[operator]
    given = in_dtype(arguments, TORCH_DTYPES[dtype])
    if "pos_weight" in options:
        options = {"pos_weight": options["pos_weight"].to(TORCH_DTYPES[dtype])}
    function = getattr(torch if operator == "logsumexp" else F, operator)
    right = function(*given, **options)
    off = right * (1 + (1e-3 if dtype == "float32" else 1e-12))
    comparison = compare(right, off, operator, *given, **options)
    assert comparison.a.verdict.passes
    assert not comparison.b.verdict.passes
    assert not comparison
    assert (comparison.nearer, comparison.elements, comparison.equal) == ("a", right.numel(), 0.0)
    assert comparison.apart > 1000
    assert "WRONG: more than rounding allows" in str(comparison)
    same = compare(right, right.numpy(), operator, *given, **options)
    assert same
    assert (same.nearer, same.equal, same.apart) == ("both", 1.0, 0.0)


def test_two_roundings_are_no_defect() -> None:
    x = X.float() * 8
    rounded = x.double().log_softmax(-1).float()
    comparison = compare(x.log_softmax(-1), rounded, "log_softmax", x, -1)
    assert comparison
    assert comparison.nearer == "b"
    # How many ulps each is off, the CPU decides; across a power of two they are of twice the size.
    assert comparison.apart <= 2 * (comparison.a.verdict.ulps + comparison.b.verdict.ulps)
    assert "the difference is rounding, and no defect" in str(comparison)


def test_each_is_held_against_the_dtype_that_it_is_returned_in() -> None:
    x = X.to(torch.bfloat16)
    comparison = compare(x.softmax(-1), x.float().softmax(-1), "softmax", x, -1)
    assert comparison
    assert (comparison.a.dtype, comparison.b.dtype, comparison.nearer) == ("bfloat16", "float32", "b")


def test_what_is_not_finite_is_told() -> None:
    x = X.float() * 100
    wrong = x.exp() / x.exp().sum(-1, keepdim=True)  # nan, where exp overflows
    comparison = compare(wrong, x.softmax(-1), "softmax", x, -1)
    assert comparison.b.verdict.passes
    assert not comparison.a.verdict.passes
    assert comparison.apart == np.inf


def nearly(value: float) -> object:
    """Equal but for float64's roundings: eight at most (logarithms, products, a sum), in sums whose terms are
    at most four times as large as they.
    """
    return pytest.approx(value, rel=8 * 4 * 2.0**-53, abs=0.0)


def test_log_probabilities_are_compared_in_the_units_of_who_matches_two_of_them() -> None:
    """By hand: two rows of two tokens; one is as it was, in the other 1/2 is 1/4 and 3/4."""
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    a = x.log_softmax(-1)
    b = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log()
    apart = compare(a, b, "log_softmax", x, dim=-1).log_probabilities
    assert apart is not None
    assert apart.largest == nearly(np.log(2))
    assert apart.mean == nearly((np.log(2) + np.log(1.5)) / 4)
    # Expected under a: 1/2 log(2) + 1/2 log(2/3) = log(4/3) / 2. The other way round it is another number.
    assert apart.largest_divergence == nearly(np.log(4 / 3) / 2)
    assert apart.divergence == nearly(np.log(4 / 3) / 4)
    assert (apart.clip, apart.within) == ((0.8, 1.2), 0.5)  # the ratios are 1, 1, 2 and 2/3
    other = compare(b, a, "log_softmax", x, dim=-1, clip=(0.4, 1.6)).log_probabilities
    assert other is not None
    assert other.largest_divergence == nearly(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert other.within == 1.0  # 1, 1, 1/2 and 3/2
    text = str(compare(a, b, "log_softmax", x, dim=-1))
    assert "log-probabilities differ by at most 0.6931, by 0.2747 on average" in text
    assert "KL divergence of b from a, expected under a: 0.07192 nats a row, at most 0.1438" in text
    assert "exp(a - b) lies between 0.8 and 1.2 in 50.0000% of them" in text


def test_probabilities_and_losses_of_tokens_are_compared_as_log_probabilities_and_nothing_else_is() -> None:
    x, target = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 1, -100])
    p = x.softmax(-1)
    q = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]], dtype=torch.float64)
    as_logarithms = compare(p, q, "softmax", x, dim=-1).log_probabilities
    assert as_logarithms is not None
    assert as_logarithms.largest_divergence == nearly(np.log(4 / 3) / 2)
    losses = torch.tensor([np.log(2), np.log(2), 0.0])
    moved = torch.tensor(
        [np.log(2), np.log(2) + np.log(1.5), 0.0]
    )  # b is minus the loss, so a - b is log(1.5)
    tokens = compare(losses, moved, "cross_entropy", x, target, reduction="none").log_probabilities
    assert tokens is not None
    assert tokens.divergence is None
    assert tokens.largest == nearly(np.log(1.5))
    assert tokens.within == 0.5  # the ignored one is left out
    mean = F.cross_entropy(x, target)
    assert compare(mean, mean, "cross_entropy", x, target).log_probabilities is None
    assert compare(x.logsumexp(-1), x.logsumexp(-1), "logsumexp", x, -1).log_probabilities is None


def test_what_is_impossible_for_both_is_the_same() -> None:
    x = torch.tensor([[0.0, -np.inf]])
    y = x.log_softmax(-1)
    apart = compare(y, y, "log_softmax", x, dim=-1).log_probabilities
    assert apart is not None
    assert (apart.largest, apart.divergence, apart.within) == (0.0, 0.0, 1.0)
    without = compare(torch.tensor([[-1.0, -1.0]]), y, "log_softmax", x, dim=-1).log_probabilities
    assert without is not None
    assert (without.largest, without.divergence, without.within) == (np.inf, np.inf, 0.0)


@pytest.mark.parametrize("clip", [(1.2, 0.8), (0.8,), "0.8", 0.2, (1.1, 1.2)])
def test_a_range_of_ratios_lies_around_1(clip: Any) -> None:
    with pytest.raises(
        ValueError, match=r"clip is .*; it must be two numbers around 1, such as \(0.8, 1.2\)"
    ):
        compare(X, X, "log_softmax", X, dim=-1, clip=clip)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((X, X, "relu", X), ValueError, "operator is 'relu'; choose from softmax"),
        (
            (X.int(), X, "softmax", X, 1),
            ValueError,
            f"a is of dtype int32; it must be one of {', '.join(DTYPES)}",
        ),
        ((X, X[0], "softmax", X, 1), ValueError, r"a is of shape \(6, 10\), and b of shape \(10,\)"),
        ((X, X, "softmax", X), TypeError, "missing a required argument: 'dim'"),
        ((X, X, "softmax", X.int(), 1), ValueError, "input must be a tensor or an array of one of float16"),
    ],
)
def test_a_wrong_call_names_what_is_allowed(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        compare(*arguments)
