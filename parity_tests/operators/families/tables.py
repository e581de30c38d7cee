"""Shapes and widths that sizes and regions of every family are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from torch_loss_parity.operators.facets import Options, Region, Shape

# The sizes of a record: lengths around some powers of two, a vocabulary, a long reduction.
AROUND_SOME_POWERS = tuple(2**k + d for k in (3, 5, 7, 8, 10) for d in (-1, 0, 1))
VOCABULARY, LONG_REDUCTION = 131072, 65536
# The regions of the domain.
WIDTHS = range(1, 301)
AROUND_POWERS = tuple(2**k + d for k in range(1, 11) for d in (-1, 0, 1))
MULTIPLES = (
    768,
    1000,
)  # of blocks that are no powers of two: of 96, 192, 256, 384; of 100, 125, 200, 250, 500
WIDE = (*(n for n in AROUND_POWERS if n > WIDTHS[-1]), *MULTIPLES)
VOCABULARIES = (32000, 50257, 131072, 262144)
MANY_ROWS = 100003  # a prime: no block size divides it
LONG = 300
LONG_SHAPES = ((LONG, 2, 3), (2, LONG, 3), (2, 3, LONG))
REDUCED = ({"reduction": "none"}, {"reduction": "mean"}, {"reduction": "sum"})
EVERY_SHAPE = "every shape up to five dimensions"
EVERY_WIDTH = "every width from 1 to 300"
AROUND = "widths around powers of two"
EXTREME = "extreme values"


def every_shape(least: int, class_dim: bool) -> tuple[Shape, ...]:
    """Every shape of up to five dimensions of size 1 or 3, and those with one empty dimension among twos."""
    full = [shape for dims in range(least, 6) for shape in product((1, 3), repeat=dims)]
    empty = [tuple(0 if i == at else 2 for i in range(dims)) for dims in range(1, 6) for at in range(dims)]
    # No class, no target.
    has_class = [shape for shape in empty if not class_dim or (len(shape) > 1 and shape[1])]
    return (*full, *has_class)


def region(name: str, placed: Sequence[tuple[Shape, Options]], **more: Any) -> Region:
    """A region of shapes that have options of their own."""
    return Region(name, [shape for shape, _ in placed], [options for _, options in placed], **more)


def mixed(*named: tuple[str, str, Options]) -> Mapping[str, list[Options]]:
    """Options by the dtype of the case: (dtypes of the case, the option that names the other dtype, options
    besides).
    """
    by_dtype: dict[str, list[Options]] = {}
    for cases, other, options in named:
        argument, dtype = other.split("=")
        for dtype_of_case in cases.split(","):
            by_dtype.setdefault(dtype_of_case, []).extend(
                {f"{argument}_dtype": dtype, **options, **reduced} for reduced in REDUCED
            )
    return by_dtype
