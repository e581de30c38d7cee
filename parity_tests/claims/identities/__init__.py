"""Identities that need no reference: relations between results of the same operators, each with a bound that
is derived.

`identities` gives them all, a record each. An identity is written once and evaluated twice: by the subject,
and by the definitions in the rounding arithmetic, which says how far rounding may drive its two sides apart.
"""

from __future__ import annotations

from functools import cache

from torch_loss_parity.claims.identities import (
    of_classes,
    of_elements,
    of_linear_classes,
    of_losses,
    of_rows,
)
from torch_loss_parity.claims.identities.record import Identity, Variant, of_module

__all__ = [
    "Identity",
    "Variant",
    "identities",
    "of_classes",
    "of_elements",
    "of_linear_classes",
    "of_losses",
    "of_rows",
]


@cache
def identities() -> tuple[Identity, ...]:
    """Every identity, in the order in which they are tried."""
    modules = (of_rows, of_classes, of_elements, of_losses, of_linear_classes)
    return tuple(identity for module in modules for identity in of_module(module))
