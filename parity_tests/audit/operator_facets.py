"""What the record of an operator says for the audit, found by the operator's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch_loss_parity.audit.record import Missing
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.facets_audit import Audited, EveryNumber, Target


def audited(operator: str) -> Audited:
    """What is measured of an operator.

    Raises
    ------
    ValueError
        If its record says that nothing is.
    """
    facet = OPERATORS[operator].audit
    if isinstance(facet, Gap):
        raise ValueError(f"{operator} is not audited: {facet.why}")
    return facet


def is_audited(operator: str) -> bool:
    return not isinstance(OPERATORS[operator].audit, Gap)


def every_number(operator: str) -> EveryNumber | Gap:
    """What all numbers of a format are tried as."""
    facet = OPERATORS[operator].audit
    return facet if isinstance(facet, Gap) else facet.every_number


def targets_of(operator: str) -> dict[str, Target]:
    """The targets that every number is tried with, by name; none where numbers are not tried."""
    facet = every_number(operator)
    return {} if isinstance(facet, Gap) else dict(facet.targets)


def gaps(operators: Iterable[str]) -> Iterator[Missing]:
    """What operators do not have for an audit, by name."""
    for name in dict.fromkeys(operators):
        facet, tried = OPERATORS[name].audit, every_number(name)
        if isinstance(facet, Gap):
            yield Missing(what=name, why=f"not audited: {facet.why}")
        elif isinstance(tried, Gap):
            yield Missing(what=f"every number there is, {name}", why=tried.why)
        if not isinstance(facet, Gap) and facet.logits is not None:
            yield Missing(
                what=f"a search for the worst of {name}", why="rows share the layer they are made with"
            )
