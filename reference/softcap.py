r"""Logits that are capped softly.

.. math::

    \operatorname{softcap}(x, s) = s \tanh(x / s), \qquad
    \frac{\partial}{\partial x} \operatorname{softcap}(x, s) = 1 - \tanh^2(x / s)
    = \frac{4 e^{-2|x / s|}}{(1 + e^{-2|x / s|})^2}

No logit leaves [-s, s], and those far within hardly change (Gemma Team, "Gemma 2", sec. 2). The quotient of
exponentials keeps the slope of a logit beyond several caps, where 1 - tanh^2 is what is left of two nearly
equal numbers.
"""

from __future__ import annotations

from typing import Any

from torch_loss_parity.reference.arguments import namespace


def softcapped(input: Any, softcap: float) -> Any:
    """The logits, none of them larger than ``softcap``."""
    return softcap * namespace(input=input).tanh(input / softcap)


def softcap_slope(input: Any, softcap: float) -> Any:
    """The derivative of `softcapped`, of each logit."""
    e = namespace(input=input).exp(-2 * abs(input / softcap))
    return 4 * e / ((1 + e) * (1 + e))
