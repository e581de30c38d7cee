"""Wrong implementations, each with one planted fault: what a pass is worth is what would have failed.

``pytest parity_tests --subject fault:NAME`` puts one under test, ``python -m parity_tests.campaign`` all of them.
"""

from parity_tests.faults import (
    behaviour,
    denominators,
    ignoring,
    memory,
    precision,
    stability,
    structure,
    targets,
    upstream,
)
from parity_tests.faults.record import FAULTS, KINDS, Fault

__all__ = [
    "FAULTS",
    "KINDS",
    "Fault",
    "behaviour",
    "denominators",
    "ignoring",
    "memory",
    "precision",
    "stability",
    "structure",
    "targets",
    "upstream",
]
