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

from torch_loss_parity.audit.operator_facets import every_number, targets_of
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.operators import OPERATORS, Gap
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


def form(values: Values, name: str) -> tuple[float, Any]:
    """The sign and the size of a closed form."""
    if name in values:
        return 1.0, values[name]
    return -1.0, values[name.removeprefix("-")]


def forms_of(operator: str, target: str, quantity: str) -> tuple[str, ...]:
    """The closed forms of the elements that belong to one number, by name; none if the record has none."""
    chosen = targets_of(operator).get(target)
    return () if chosen is None or isinstance(chosen.forms, Gap) else chosen.forms.get(quantity, ())


def has_pairs(operator: str, quantity: str) -> bool:
    """Whether a result of the pairs (x, 0) and (0, x) has a closed form, for any upstream gradient."""
    record, facet = OPERATORS[operator], every_number(operator)
    if not record.family.has_rows or isinstance(facet, Gap) or not forms_of(operator, "", quantity):
        return False
    return quantity == FORWARD or record.targets_classes or not isinstance(facet.gradient, Gap)


def of_pairs(operator: str, x: Any, quantity: str, upstream: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """A result of the pairs (x, 0) and (0, x), see Note [What is exhausted], with a bound on its error; nan
    where x is nan or the record says that it is undefined. It has a row for each x.

    It is evaluated in what ``x`` is, float64 or double-double. The gradient of a loss of each pair is linear
    in its upstream gradient; that of other results is in the record of the operator.
    """
    unit_roundoff = FUNCTION_ROUNDOFF if isinstance(x, DoubleDouble) else 2.0**-53
    facet = every_number(operator)
    assert not isinstance(facet, Gap)
    with np.errstate(all="ignore"):
        for undefined in facet.undefined_at:
            x = np.where(x == undefined, np.nan, x)
        values = of_logits(x)
        if quantity != FORWARD and not isinstance(facet.gradient, Gap):
            assert upstream is not None
            value, size = facet.gradient(values, upstream)
        else:
            signed = [form(values, name) for name in forms_of(operator, "", quantity)]
            value = np.stack([sign * size for sign, size in signed], axis=1)
            if quantity != FORWARD:
                assert upstream is not None
                value = value.reshape(-1, 2) * upstream[:, None]
            size = np.abs(value)
        # Of the difference and the products with the upstream gradient three roundings at most.
        bound = (size * ((ROUNDOFFS + 4) * unit_roundoff) + 2.0**-1070).astype(np.float64)
        error = np.where(np.isfinite(value), bound, 0.0)
    return value.reshape(len(x), -1), error.reshape(len(x), -1)
