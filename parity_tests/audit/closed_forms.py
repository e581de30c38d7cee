"""The operators of one or two logits in closed form, in float64 with a bound that is derived by hand.

Note [Closed forms]
    A loss of one logit, or of the two logits x and 0, is softplus(x) = log(1 + e^x) or softplus(-x), and its
    gradients and probabilities are sigmoid(x) = 1 / (1 + e^-x), sigmoid(-x) and their product. With E =
    e^-|x|,

        softplus(-|x|) = log1p(E),  softplus(|x|) = |x| + log1p(E),  sigmoid(|x|) = 1 / (1 + E),
        sigmoid(-|x|) = E / (1 + E),

    in which nothing cancels. With exp and log1p within 3 and 2 ulps, as `Arithmetic` assumes (6 u and 4 u; u
    = 2**-53), and log1p no worse conditioned than 1 on [0, 1], the relative errors are at most 6 u for E, 10
    u for log1p(E), 11 u for the sum, 3 + 1 + 1 u for the reciprocal (an error of E counts at most half in 1 +
    E), 12 u for the quotient, and 18 u for the product of both sigmoids: below 20 u = ``RELATIVE``
    throughout, second order included, and the smallest number of float64 where E has none. Of probabilities,
    -log(x) and -log1p(-x) are within 6 u, x - t is one rounding, x (1 - x) two, and the quotient one more. An
    error in ulps of float32 is then known to 2**24 RELATIVE < 2**-24 ulps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.reference.arithmetic.double_double import FUNCTION_ROUNDOFF, DoubleDouble
from torch_loss_parity.reference.binary_cross_entropy import LOG_CLAMP, SMALLEST_VARIANCE

ROUNDOFFS = 20
RELATIVE = ROUNDOFFS * 2.0**-53
Values = Mapping[str, np.ndarray]


def of_logits(x: Any) -> Values:
    """The closed forms of finite logits, see Note [Closed forms]; all of them are positive, or underflow."""
    size = np.abs(x)
    small = np.exp(-size)
    log = np.log1p(small)
    reciprocal = 1 / (1 + small)
    other = small * reciprocal
    negative = np.signbit(x)
    return {
        "softplus(x)": np.maximum(x, 0.0) + log,
        "softplus(-x)": np.maximum(-x, 0.0) + log,
        "sigmoid(x)": np.where(negative, other, reciprocal),
        "sigmoid(-x)": np.where(negative, reciprocal, other),
        "product": other * reciprocal,
    }


def of_probabilities(x: np.ndarray) -> Values:
    """The losses of probabilities and the sizes of their gradients."""
    variance = np.maximum(x * (1 - x), SMALLEST_VARIANCE)
    with np.errstate(divide="ignore"):
        return {
            "-log(x)": np.minimum(-np.log(x), -LOG_CLAMP),
            "-log(1-x)": np.minimum(-np.log1p(-x), -LOG_CLAMP),
            "x/variance": x / variance,
            "(1-x)/variance": (1 - x) / variance,
        }


# The elements of a result that belong to one input, each a closed form with its sign.
FORMS: Mapping[tuple[str, str, str], tuple[str, ...]] = {
    ("binary_cross_entropy_with_logits", "0", FORWARD): ("softplus(x)",),
    ("binary_cross_entropy_with_logits", "1", FORWARD): ("softplus(-x)",),
    ("binary_cross_entropy_with_logits", "0", "input"): ("sigmoid(x)",),
    ("binary_cross_entropy_with_logits", "1", "input"): ("-sigmoid(-x)",),
    ("binary_cross_entropy", "0", FORWARD): ("-log(1-x)",),
    ("binary_cross_entropy", "1", FORWARD): ("-log(x)",),
    ("binary_cross_entropy", "0", "input"): ("x/variance",),
    ("binary_cross_entropy", "1", "input"): ("-(1-x)/variance",),
    ("softmax", "", FORWARD): ("sigmoid(x)", "sigmoid(-x)", "sigmoid(-x)", "sigmoid(x)"),
    ("softmax", "", "input"): ("product", "-product", "product", "-product"),
    ("log_softmax", "", FORWARD): ("-softplus(-x)", "-softplus(x)", "-softplus(x)", "-softplus(-x)"),
    ("log_softmax", "", "input"): ("sigmoid(-x)", "-sigmoid(-x)", "sigmoid(x)", "-sigmoid(x)"),
    ("cross_entropy", "", FORWARD): ("softplus(-x)", "softplus(x)", "softplus(x)", "softplus(-x)"),
    ("cross_entropy", "", "input"): (
        *("-sigmoid(-x)", "sigmoid(-x)", "sigmoid(x)", "-sigmoid(x)"),
        *("-sigmoid(x)", "sigmoid(x)", "sigmoid(-x)", "-sigmoid(-x)"),
    ),
}


def form(values: Values, name: str) -> tuple[float, Any]:
    """The sign and the size of a closed form."""
    if name in values:
        return 1.0, values[name]
    return -1.0, values[name.removeprefix("-")]


def of_pairs(operator: str, x: Any, claim: str, upstream: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """A result of the pairs (x, 0) and (0, x), see Note [What is exhausted], with a bound on its error; nan
    where x is nan or inf.

    It is evaluated in what ``x`` is, float64 or double-double.

    With p = sigmoid, the gradients are p_0 p_1 (g_0 - g_1) for softmax and g_0 p_1 - g_1 p_0 for log_softmax,
    where the two products may cancel, and their negatives for the second class; for cross_entropy g times
    that for an upstream gradient of 1.
    """
    unit_roundoff = FUNCTION_ROUNDOFF if isinstance(x, DoubleDouble) else 2.0**-53
    with np.errstate(all="ignore"):
        values = of_logits(np.where(x == np.inf, np.nan, x))
        if claim == FORWARD or operator == "cross_entropy":
            signed = [form(values, name) for name in FORMS[operator, "", claim]]
            value = np.stack([sign * size for sign, size in signed], axis=1)
            if claim != FORWARD:
                assert upstream is not None
                value = value.reshape(-1, 2) * upstream[:, None]
            size = np.abs(value)
        else:
            assert upstream is not None
            g = upstream.reshape(-1, 2, 2)
            if operator == "softmax":
                first = values["product"][:, None] * (g[:, :, 0] - g[:, :, 1])
                size = np.abs(first)
            else:
                of_x, of_zero = values["sigmoid(x)"], values["sigmoid(-x)"]
                own, other = np.stack([of_zero, of_x], axis=1), np.stack([of_x, of_zero], axis=1)
                first, size = (
                    g[:, :, 0] * own - g[:, :, 1] * other,
                    np.abs(g[:, :, 0] * own) + np.abs(g[:, :, 1] * other),
                )
            value, size = np.stack([first, -first], axis=2), np.stack([size, size], axis=2)
        # Of the difference and the products with the upstream gradient three roundings at most.
        bound = (size * ((ROUNDOFFS + 4) * unit_roundoff) + 2.0**-1070).astype(np.float64)
        error = np.where(np.isfinite(value), bound, 0.0)
    shape = (-1,) if operator == "cross_entropy" and claim == FORWARD else (-1, 2)
    return value.reshape(shape), error.reshape(shape)
