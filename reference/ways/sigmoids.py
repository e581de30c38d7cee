"""Forms of the sigmoid and of softplus, log(1 + exp(x)), for ways of binary_cross_entropy_with_logits. Each
takes a namespace and an array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.binary_cross_entropy_with_logits import softplus
from torch_loss_parity.reference.ways.row_forms import LN2, exp2, in_base_2

Elementwise = Callable[[Any, Any], Any]  # of a namespace and an array


def sigmoid_by_tanh(xp: Any, x: Any) -> Any:
    """1/2 + tanh(x / 2) / 2: beside 1/2 a sigmoid near 0 is lost. tanh(|x| / 2) is (1 - e) / (1 + e), with
    e = exp(-|x|).
    """
    e = xp.exp(-abs(x))
    half = (1 - e) / (1 + e) * 0.5
    return xp.where(x < 0, -half, half) + 0.5


def sigmoid_by_exp2(xp: Any, x: Any) -> Any:
    """1 / (1 + 2**(-x / ln 2)), and of what does not overflow."""
    e = exp2(xp, in_base_2(-abs(x)))
    return xp.where(x < 0, e, xp.ones_like(e)) / (1 + e)


def softplus_by_exp2(xp: Any, x: Any) -> Any:
    """max(x, 0) + ln 2 log2(1 + 2**(-|x| / ln 2)): a logarithm near 1 loses what log1p keeps."""
    tail = in_base_2(xp.log(1 + exp2(xp, in_base_2(-abs(x))))) * LN2
    return tail + xp.maximum(x, xp.zeros_like(x))


def softplus_in_base_2(xp: Any, x: Any) -> Any:
    """ln 2 log2(1 + 2**z), with z = x / ln 2: the logit is scaled, and its softplus scaled back."""
    z = in_base_2(x)
    tail = in_base_2(xp.log1p(exp2(xp, -abs(z))))
    return (xp.maximum(z, xp.zeros_like(z)) + tail) * LN2


def sigmoid_of_softplus(xp: Any, x: Any) -> Any:
    """exp(x - softplus(x)): where x is well above 0 the two are nearly equal, and each is rounded. At an
    infinite logit it is 1.
    """
    difference, zeros = x - softplus(xp, x), xp.zeros_like(x)
    return xp.exp(xp.where(x - x == 0, difference, xp.where(x > 0, zeros, difference)))
