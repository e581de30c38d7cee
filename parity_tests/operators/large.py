"""Calls that are large: for wide rows, and for many, kernels have a path of their own, with vectors that want
an aligned address, offsets of their own, and memory that is used twice.

Their numbers are asked for by claims of numbers. What else holds of a call is tried on small ones, and on
these.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.dealing import hand
from torch_loss_parity.operators.facets import Options, Shape
from torch_loss_parity.operators.record import Operator

# More than most kernels treat as few, and no multiple of a block or of a vector: the second row begins at no
# aligned address. Wide rows are averaged, as in training; of many, each has a loss.
LARGE: tuple[tuple[Shape, Options], ...] = (
    ((2, 4099), {"reduction": "mean", "dim": -1}),
    ((1031, 7), {"reduction": "none", "dim": -1, "ignored": "some"}),
)


def large(operator: Operator, dtype: str, dtypes: Sequence[str], base_seed: int) -> list[Case]:
    """The large calls of a dtype: ``dtypes`` take turns at them, one alone has all."""
    turns = range(2 * len(LARGE))[hand(operator.name, dtype, dtypes, base_seed)]
    cases = []
    for number in sorted({turn % len(LARGE) for turn in turns}):
        shape, options = LARGE[number]
        offered = {name: value for name, value in options.items() if value in operator.options.get(name, ())}
        cases.append(operator.case(dtype, shape, next(iter(operator.values)), offered, base_seed + number))
    return cases
