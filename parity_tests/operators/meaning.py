"""What the documentation of torch.nn.functional says of a corner of an operator's domain, where numbers alone
do not: what it decides, and what it leaves open.

Note [What the documentation decides]
    The documentation of an operator is a formula and some words. At a corner the words come first ("does not
    contribute to the input gradient"), then the formula, its limits included: log 0 is -inf. Where torch does
    something else, the definition does what is decided, and torch is in the ledger.

    Where the formula is indeterminate (0/0, inf/inf, inf - inf, 0 inf) there is no number, and whoever
    returns one has made it up: nan is decided. So is nan where a nan goes in.

    What is left open is which of several equal formulas is meant, where one is indeterminate and another is
    not. An infinite factor in front of a difference is infinite; multiplied into each of its terms it is
    inf - inf. Both are right there: the row says of which quantities (`Meaning.open`), and the report says
    which one a subject does. A way of the catalogue that has other infinities than the definition is right
    for the same reason; it has a name already. What autograd makes of a way, line by line, has none: its nan
    is told as a meaning. torch is asked for what it is known to do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """What the documentation says of a corner.

    Attributes
    ----------
    says : str
        What it decides, or what it leaves open, and why.
    open : tuple of str
        "forward", and arguments, of their gradients: nan is right there too wherever the definition, or a
        way, is infinite.
    """

    says: str
    open: tuple[str, ...] = ()


INDETERMINATE = Meaning("the formula is 0/0, inf/inf, inf - inf or 0 inf, so nan; a number is made up")
NAN = Meaning("what is computed from nan is nan")
LIMIT = Meaning("the formula has a limit there: log 0 is -inf, exp(-inf) is 0")
LIMIT_WITHOUT_SLOPE = Meaning("the formula has a limit there; that of its gradient is inf - inf, so nan")
OVERFLOW = Meaning("the true value is beyond the largest number of the format")

# --- classes ------------------------------------------------------------------------------------------------

IGNORED = Meaning("a row whose target is ignore_index does not contribute to the gradient, whatever it holds")
NO_ROWS = Meaning("a mean over nothing is 0/0: nan; what does not contribute to it has a gradient of 0")
OF_NO_CLASSES = Meaning("smoothing shares 1 among no classes: 1/0 times an empty sum is 0 inf, so nan")
ITS_WEIGHT = Meaning("a row is multiplied by the weight of its class, and by no other")
EVERY_WEIGHT = Meaning("smoothing takes the weight of every class: what is computed from nan is nan")
INFINITE_WEIGHT = Meaning("an infinite weight makes an infinite loss; a mean over it is inf/inf, so nan")
INFINITE_WEIGHT_OF_A_DIFFERENCE = Meaning(
    "an infinite weight makes an infinite loss; times p - 1 it is an infinite gradient, times p and times 1 "
    "it is inf - inf",
    open=("input",),
)
CANCELLING_WEIGHTS = Meaning(
    "the mean divides by a total weight of 0: the sum of the losses over it is infinite, each loss over it "
    "may add up to inf - inf",
    open=("forward",),
)
CANCELLING_WEIGHTS_OF_A_DIFFERENCE = Meaning(
    "the mean divides by a total weight of 0: a sum of losses over it, or a difference p - t, is infinite; "
    "each of the terms over it may be inf - inf",
    open=("forward", "input"),
)
NO_WEIGHT = Meaning(
    "the mean divides by a total weight of 0: the losses of the classes, which are 0, are 0/0 over it; with "
    "what smoothing adds they are not 0, and infinite",
    open=("forward", "input"),
)

TIMES_ZERO = Meaning(
    "an ignored row does not contribute to the loss; the gradient of a layer is a product with the input, in "
    "which 0 times nan or an infinity is nan"
)

# --- elements -----------------------------------------------------------------------------------------------

CLAMPED = Meaning(
    "log is clamped at -100: in the loss, which stays finite, and in the gradient of the input; of the "
    "target's gradient nothing is said, and what torch does is asked of all"
)
INFINITE_WEIGHT_OF_A_SLOPE = Meaning(
    "an infinite weight times a slope is infinite; times each term of a slope that is a difference it is "
    "inf - inf",
    open=("input", "target"),
)
INFINITE_WEIGHT_OF_A_LOSS = Meaning(
    "an infinite weight times a loss or a slope is infinite; times each term, where these are differences, "
    "it is inf - inf",
    open=("forward", "input", "target"),
)
LABEL = Meaning(
    "a term times 0 is 0 inf, so nan; where the target is 0 or 1 it may as well pick one term, and leave out "
    "the other: a way"
)
