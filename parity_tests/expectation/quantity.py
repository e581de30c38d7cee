"""What of a call is compared: its result, a gradient, or the derivative of either in a direction.

The ledger, a finding and a report call a quantity by its name, which `str` gives and `Quantity.parse` takes:

    forward                   the result
    A                         the gradient with respect to the argument A
    jvp along A               the derivative of the result in a direction of the argument A
    gradient of B along A     the derivative of B's gradient in a direction of the argument A
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from torch_loss_parity.cases.case import Call
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format

FORWARD = "forward"


@dataclass(frozen=True)
class Quantity:
    """The result of a call, or the gradient with respect to the argument ``of``; with ``along``, the
    derivative of that in a direction of the argument ``along``.
    """

    along: str = ""
    of: str = ""

    def __str__(self) -> str:
        if not self.along:
            return self.of or FORWARD
        return f"gradient of {self.of} along {self.along}" if self.of else f"jvp along {self.along}"

    @classmethod
    def parse(cls, name: str) -> Quantity:
        """The quantity of a name.

        Raises
        ------
        ValueError
            If ``name`` is no quantity's.
        """
        return _parsed(name)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that it takes a derivative with respect to."""
        return tuple(name for name in dict.fromkeys((self.along, self.of)) if name)

    def dtype_in(self, call: Call) -> str:
        """The dtype that it is stored in: a gradient in that of its argument, else that of the result."""
        return call.dtype_of(self.of or FORWARD)


@cache
def _parsed(name: str) -> Quantity:
    match name.split():
        case ["forward"]:
            return Quantity()
        case ["jvp", "along", along]:
            return Quantity(along)
        case ["gradient", "of", of, "along", along]:
            return Quantity(along, of)
        case [of]:
            return Quantity(of=of)
    raise ValueError(
        f"{name!r} is neither {FORWARD!r}, an argument, 'jvp along A' nor 'gradient of B along A'"
    )


def format_of(call: Call, quantity: str) -> Format:
    """The format that a quantity of a call is stored in."""
    return FORMATS[Quantity.parse(quantity).dtype_in(call)]
