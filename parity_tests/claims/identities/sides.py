"""The two sides of an identity, as a subject computes them.

Nothing is imported that judges: this runs where a subject is only observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.identities import identities
from torch_loss_parity.claims.identities.functions import CallFailed, Observed
from torch_loss_parity.claims.identities.record import Identity
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.answer import of_exception
from torch_loss_parity.subjects.observing.source import observable


def sides_of(
    identity: Identity, subject: Subject, call: Call, device: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``pairs`` that an identity of the operator of ``call`` yields in its dtype; or of the first call in
    which the subject raises, the ``call`` and what it ``raised``.
    """
    try:
        pairs = identity.pairs(Observed(call.operator, call.dtype, subject, device), inputs)
    except CallFailed as failed:
        return {"call": failed.call, "raised": of_exception(failed.__cause__ or failed)}
    return {"pairs": [list(pair) for pair in pairs]}


@observable
def sides(
    subject: Subject, call: Call, device: str, *, identity: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """`sides_of` the identity of a name."""
    operator = OPERATORS[call.operator]
    (named,) = (each for each in identities() if each.name == identity and each.speaks_of(operator))
    return sides_of(named, subject, call, device, inputs)
