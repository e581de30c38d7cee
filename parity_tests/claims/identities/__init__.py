"""Identities that need no reference: relations between results of the same operators, each with a bound that
is derived.

`IDENTITIES` holds them all, a record each. An identity is written once and evaluated twice: by the subject,
and by the definitions in the rounding arithmetic, which says how far rounding may drive its two sides apart.
"""

from torch_loss_parity.claims.identities import of_classes, of_elements, of_losses, of_rows
from torch_loss_parity.claims.identities.record import IDENTITIES, Identity, Variant

__all__ = ["IDENTITIES", "Identity", "Variant", "of_classes", "of_elements", "of_losses", "of_rows"]
