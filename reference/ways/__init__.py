"""The catalogue of ways: other expressions of the definitions and of their gradients, as people ship them.

See Note [Ways and grades] of `torch_loss_parity.reference.ways.way`. Like the definitions they are evaluated
in every arithmetic: balls show that a way is the same function, the rounding arithmetic says what it costs.
"""

from torch_loss_parity.reference.ways import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    linear_cross_entropy,
    nll_loss,
    rows,
)
from torch_loss_parity.reference.ways.way import GRADES, SHARP, Grade, Way, stored

__all__ = ["ALL", "GRADES", "SHARP", "Grade", "Way", "stored", "ways_of"]

ALL: tuple[Way, ...] = (
    *rows.WAYS,
    *nll_loss.WAYS,
    *cross_entropy.WAYS,
    *binary_cross_entropy.WAYS,
    *binary_cross_entropy_with_logits.WAYS,
    *linear_cross_entropy.WAYS,
)


def ways_of(operator: str) -> tuple[Way, ...]:
    """The ways of an operator, the sharper first.

    Raises
    ------
    ValueError
        If there is none.
    """
    ways = [way for way in ALL if way.operator == operator]
    if not ways:
        known = ", ".join(sorted({way.operator for way in ALL}))
        raise ValueError(f"operator {operator!r} has no ways; those that have are {known}")
    return tuple(sorted(ways, key=lambda way: GRADES.index(way.grade)))
