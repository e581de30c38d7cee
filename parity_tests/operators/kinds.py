"""The kinds of claim: what is asked of every operator.

A kind is checked by one file of tests, which bears its name. Every operator has cases of every kind, or a
`Gap` that says why not; see Note [Facets] in `torch_loss_parity.operators.record`.
"""

from __future__ import annotations

from torch_loss_parity.operators.facets import Gap
from torch_loss_parity.operators.record import Operator

# What is telling and cheap comes first: in this order they run.
KINDS = (
    "forward",
    "gradients",
    "semantics",
    "errors",
    "domain",
    "hygiene",
    "layouts",
    "modes",
    "identities",
    "transforms",
    "bits",
    "sample inputs",
)
# What a verdict speaks of, and the kinds that it sums up. What is of no kind of these is of "numbers".
AREAS = {
    "numbers": ("forward", "gradients", "domain", "modes", "identities", "transforms", "sample inputs"),
    "meaning": ("semantics",),
    "refusals": ("errors",),
    "conduct": ("hygiene", "layouts", "bits"),
}
# The facet without which an operator has no cases of a kind; the other kinds draw theirs.
FACET_OF = {
    "semantics": "semantics",
    "errors": "refusals",
    "identities": "identities",
    "bits": "bits",
    "sample inputs": "sample_inputs",
}


def area_of(kind: str) -> str:
    """Which part of the verdict a kind of claim belongs to."""
    return next((area for area, kinds in AREAS.items() if kind in kinds), next(iter(AREAS)))


def gap(operator: Operator, kind: str) -> Gap | None:
    """Why an operator has no cases of a kind; None where it has some."""
    facet = getattr(operator, FACET_OF[kind]) if kind in FACET_OF else None
    return facet if isinstance(facet, Gap) else None
