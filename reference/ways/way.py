"""A way: another expression of what a definition or its gradient computes, as people ship it.

Note [Ways and grades]
    A bound belongs to one order of operations, the promise is about a function. Beside each definition, in
    the best form that is known, stand ways: the same function in other forms, which round differently. A
    result is right if the definition or one way explains all of it. The grade says what a form keeps:

        sharp       stays within `SHARP` times the definition's bound on the whole domain
        textbook    what the field ships; loses digits in a region that has a name
        lossy       loses what a user would miss: a result that becomes 0, infinite or nan

    The order of the factors of a product, the order of a sum and the reciprocal of a divisor make no way:
    the arithmetic charges for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch_loss_parity.reference.arithmetic.formats import StoredLike

Grade = Literal["sharp", "textbook", "lossy"]
GRADES: tuple[Grade, ...] = ("sharp", "textbook", "lossy")
SHARP = 8.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """Another expression of an operator's result or of its gradients.

    Attributes
    ----------
    name : str
        What it does, in a few words or symbols; the ledger and reports call it so.
    operator : str
        Whose result or gradients it computes.
    gives : {"result", "gradients"}
        What ``function`` returns: it has the signature of the definition or of its derivative.
    function : callable
        In the array API, as the definitions are.
    grade : {"sharp", "textbook", "lossy"}
    loses : str
        Where it is less accurate than the definition, and what is lost; empty for a sharp one.
    ships : str
        Who computes it so.
    by_autograd : bool
        Of a result: whether it is also composed of elementary operations and differentiated by autograd.
    in_half_precision : bool
        Whether it differs from the definition in half precision alone: what it costs is measured there.
    open : str
        Why it is right although it is another function: what the documentation leaves open. It differs from
        the definition by a constant that is rounded elsewhere. Empty of every other way.
    """

    name: str
    operator: str
    gives: Literal["result", "gradients"]
    function: Callable[..., Any]
    grade: Grade
    loses: str
    ships: str
    by_autograd: bool = False
    in_half_precision: bool = False
    open: str = ""

    def __post_init__(self) -> None:
        if self.grade not in GRADES:
            raise ValueError(f"grade of way {self.name!r} is {self.grade!r}; it must be one of {GRADES}")
        if bool(self.loses) == (self.grade == "sharp"):
            raise ValueError(
                f"way {self.name!r} is {self.grade} and loses {self.loses!r}; a sharp way loses nothing, "
                f"and every other says where it does"
            )

    def __str__(self) -> str:
        return f"{self.name} ({self.grade})"


def stored(array: Any, *, like: StoredLike = "result") -> Any:
    """The array as it comes back from memory, in the format of the result: what is kept for the backward; or
    in that of the gradient, or of the input.

    In rounding arithmetic that is one more rounding; everywhere else the array itself.
    """
    store = getattr(array, "stored", None)
    return array if store is None else store(like)
