"""The facet of a record that the audit reads: what is measured of an operator, and by which means.

Note [Closed forms by name]
    `torch_loss_parity.audit.closed_forms` evaluates softplus and sigmoid of a logit, and the logarithms of a
    probability, with a bound that is derived once. A record says by name which of them each number of a
    result is: "softplus(x)", "-sigmoid(-x)".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators.facets import Gap, Options

Values = Mapping[str, Any]
SUMMED, AVERAGED = "summed", "averaged"


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What the audit measures of an operator.

    Attributes
    ----------
    telling : tuple of str
        The distributions that are met at every length where only some are, the most telling first.
    scales : tuple of str
        Distributions that only the audit meets: a range of scales, where there are rows of logits.
    base : options
        What is measured at every length.
    paths : tuple of options
        What chooses another path.
    probabilities : tuple of str
        The arguments whose numbers lie within [0, 1]: a search stays there.
    shortened : Shortened or Gap
        How a row becomes shorter before ball arithmetic evaluates it.
    every_number : EveryNumber or Gap
        What all numbers of a format are tried as.
    features : tuple of int
        Where logits are products, the lengths of the sums that they are, beside that of ``base``.
    logits : callable, optional
        The rows of logits of a call, where they are not its input; one row shares what they are made with
        with all others, and none is climbed from alone.
    """

    telling: tuple[str, ...]
    scales: tuple[str, ...]
    base: Options
    paths: tuple[Options, ...]
    probabilities: tuple[str, ...]
    shortened: Shortened | Gap
    every_number: EveryNumber | Gap
    features: tuple[int, ...] = ()
    logits: Callable[[Call], np.ndarray] | None = None


@dataclass(frozen=True, kw_only=True)
class Shortened:
    """That rows are independent, and that a row depends on its logits through the sum of their exponentials:
    m equal logits x weigh as much as one logit x + log m.

    Attributes
    ----------
    holds : callable
        Whether that is so, for a call.
    upstream : str
        What the upstream gradient of numbers that are put together becomes: `SUMMED`, or `AVERAGED` where
        their probability weighs it.
    """

    holds: Callable[[Call], bool]
    upstream: str


@dataclass(frozen=True, kw_only=True)
class EveryNumber:
    """What every number of a format is tried as; of a probability, every number of [0, 1].

    Attributes
    ----------
    inputs : str
        What they are: completes "every float16 ...".
    place : callable
        The arrays of a call, by argument, for numbers and the values of a target; all that belongs to one
        number comes one after the other.
    targets : mapping of str to Target
        By name; an empty name where no target is chosen.
    undefined_at : tuple of float
        The infinite numbers at which the results of their pairs are nan.
    gradient : callable or Gap
        The gradient of the pairs (x, 0) and (0, x) in closed form, for any upstream gradient: takes the
        values of the closed forms and the upstream gradient, a pair a row, and returns the gradient and
        the size of what it is a difference of.
    """

    inputs: str
    place: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
    targets: Mapping[str, Target]
    undefined_at: tuple[float, ...]
    gradient: Callable[[Values, np.ndarray], tuple[Any, Any]] | Gap


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of target that every number is tried with.

    Attributes
    ----------
    values : tuple of float
        The numbers of the argument ``target``, if it takes numbers.
    options : options
        Those of the call, which are passed to it if they are arguments.
    forms : mapping of str to tuple of str, or Gap
        Of "forward" and of the gradient of ``input`` for an upstream gradient of 1 (of 1 and 0 for a pair):
        the elements that belong to one number, each a closed form with its sign; see Note [Closed forms by
        name].
    """

    values: tuple[float, ...]
    options: Options
    forms: Mapping[str, tuple[str, ...]] | Gap
