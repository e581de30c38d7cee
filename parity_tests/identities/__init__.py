"""Identities that need no reference: relations between results of the same operators, each with a bound that is derived.

`IDENTITIES` holds them all, a record each. An identity is written once and evaluated twice: by the subject, and by the definitions in
the rounding arithmetic, which says how far rounding may drive its two sides apart.
"""

from parity_tests.identities import of_classes, of_elements, of_losses, of_rows
from parity_tests.identities.record import IDENTITIES, Identity, Variant

__all__ = ["IDENTITIES", "Identity", "Variant", "of_classes", "of_elements", "of_losses", "of_rows"]
