"""The forms of exponentials, probabilities and their logarithms along the classes, from the sharpest to the
one that rounds most.

Each takes an array and a dimension that the caller has checked, as `softmax` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import namespace

Form = Callable[[Any, int], Any]
LN2 = math.log(2)


def in_base_2(x: Any) -> Any:
    """``x / ln 2``, to be an argument of exp2: a product with a rounded constant."""
    return x / LN2


def exp2(xp: Any, x: Any) -> Any:
    """2**x. The quotient and the product with ln 2 cancel exactly, whatever number stands for it."""
    return xp.exp(x * LN2)


def log_probabilities(input: Any, dim: int) -> Any:
    """(x - m) - log sum(exp(x - m)): the sum of a confident row is 1, and what is more than that is lost."""
    xp = namespace(input=input)
    shifted = input - xp.max(input, axis=dim, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=dim, keepdims=True))


def log_sum(input: Any, dim: int) -> Any:
    """m + log sum(exp(x - m))."""
    xp = namespace(input=input)
    largest = xp.max(input, axis=dim, keepdims=True)
    return xp.log(xp.sum(xp.exp(input - largest), axis=dim, keepdims=True)) + largest


def log_probabilities_from_log_sum(input: Any, dim: int) -> Any:
    """x - lse: what is lost of a logarithm beside an offset that the row has in common is lost."""
    return input - log_sum(input, dim)


def log_probabilities_of_logsumexp(input: Any, dim: int) -> Any:
    """x - logsumexp(x): of a row with an infinite logit it is -inf, and nan at that one."""
    xp = namespace(input=input)
    largest = xp.max(input, axis=dim, keepdims=True)
    shift = xp.where(largest - largest == 0, largest, xp.zeros_like(largest))
    return input - (xp.log(xp.sum(xp.exp(input - shift), axis=dim, keepdims=True)) + shift)


def probabilities_of_logsumexp(input: Any, dim: int) -> Any:
    """exp(x - logsumexp(x))."""
    return namespace(input=input).exp(log_probabilities_of_logsumexp(input, dim))


def log_probabilities_by_exp2(input: Any, dim: int) -> Any:
    """x - lse by exp2 and log2: the logits are shifted before they are scaled, which leaves the largest
    exact.
    """
    xp = namespace(input=input)
    largest = xp.max(input, axis=dim, keepdims=True)
    total = xp.sum(exp2(xp, in_base_2(input - largest)), axis=dim, keepdims=True)
    return input - (in_base_2(xp.log(total)) * LN2 + largest)


def probabilities_by_exp2(input: Any, dim: int) -> Any:
    """2**((x - m) / ln 2) over its sum."""
    xp = namespace(input=input)
    exponentials = exp2(xp, in_base_2(input - xp.max(input, axis=dim, keepdims=True)))
    return exponentials / xp.sum(exponentials, axis=dim, keepdims=True)


def log_sum_in_base_2(input: Any, dim: int) -> Any:
    """The base-2 logarithm of the sum of 2**z, with z = x / ln 2."""
    xp = namespace(input=input)
    return log_sum_in_base_2_with(xp, input, xp.max(input, axis=dim, keepdims=True), (dim,))


def log_sum_in_base_2_with(xp: Any, input: Any, shift: Any, axes: tuple[int, ...]) -> Any:
    """The same with another shift than the largest, which may be infinite: a form as `of_rows` takes it."""
    z, largest = in_base_2(input), in_base_2(shift)
    return in_base_2(xp.log(xp.sum(exp2(xp, z - largest), axis=axes, keepdims=True))) + largest


def log_probabilities_in_base_2(input: Any, dim: int) -> Any:
    """(z - lse2) ln 2, with z = x / ln 2: the logits are scaled and rounded before they are shifted."""
    return (in_base_2(input) - log_sum_in_base_2(input, dim)) * LN2


def probabilities_of_logarithms(input: Any, dim: int) -> Any:
    """exp(y) of log-probabilities y."""
    return namespace(input=input).exp(log_probabilities(input, dim))


def probabilities_from_log_sum(input: Any, dim: int) -> Any:
    """exp(x - lse)."""
    return namespace(input=input).exp(log_probabilities_from_log_sum(input, dim))


def probabilities_in_base_2(input: Any, dim: int) -> Any:
    """2**(z - lse2), with z = x / ln 2."""
    return exp2(namespace(input=input), in_base_2(input) - log_sum_in_base_2(input, dim))
