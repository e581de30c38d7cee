"""Wrong implementations, each with one planted fault: what a pass is worth is what would have failed.

``pytest parity_tests --subject fault:NAME`` puts one under test, ``torch-loss-parity campaign`` all
of them.
"""

from torch_loss_parity.faults import (
    behaviour,
    between_calls,
    blind_spots,
    buffers,
    cheats,
    denominators,
    dimensions,
    elsewhere,
    given_tensors,
    ignoring,
    large_calls,
    linear_cross_entropy,
    linear_cross_entropy_gradients,
    logsumexp,
    memory,
    paths,
    places,
    precision,
    rare_arguments,
    softcap,
    stability,
    structure,
    surroundings,
    targets,
    together,
    upstream_gradient,
    z_loss,
)
from torch_loss_parity.faults.record import FAULTS, KINDS, Fault
from torch_loss_parity.operators import ADDED

__all__ = [
    "FAULTS",
    "KINDS",
    "Fault",
    "behaviour",
    "between_calls",
    "blind_spots",
    "buffers",
    "cheats",
    "denominators",
    "dimensions",
    "elsewhere",
    "given_tensors",
    "ignoring",
    "large_calls",
    "linear_cross_entropy",
    "linear_cross_entropy_gradients",
    "logsumexp",
    "memory",
    "paths",
    "places",
    "precision",
    "rare_arguments",
    "softcap",
    "stability",
    "structure",
    "surroundings",
    "targets",
    "together",
    "upstream_gradient",
    "z_loss",
]

for module in ADDED:
    getattr(module, "faults", lambda: None)()
