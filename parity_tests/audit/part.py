"""The part of an audit that one unit of its plan finds, and what all units have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from pydantic import Field

from torch_loss_parity.audit.record import Axis, Figure, Missing, Record
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult


@dataclass(frozen=True)
class Conditions:
    """What every unit of a run has in common; ``source`` is a hash of the subject's file, for what is kept of
    an earlier run.
    """

    subject: str
    device: str
    seed: int
    time_limit: float
    source: str = ""


class Part(Record):
    """What a unit found."""

    figures: tuple[Figure, ...] = ()
    axes: tuple[Axis, ...] = ()
    missing: tuple[Missing, ...] = ()
    swept: str = ""  # a part of a sweep, as JSON
    times: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Part:
        """Several as one."""
        return cls(
            figures=tuple(figure for part in parts for figure in part.figures),
            axes=tuple(axis for part in parts for axis in part.axes),
            missing=tuple(missing for part in parts for missing in part.missing),
            swept=next((part.swept for part in parts if part.swept), ""),
            times={name: seconds for part in parts for name, seconds in part.times.items()},
        )


@cache
def loaded(name: str) -> Subject:
    """The subject, loaded once in each process."""
    return load(name, tuple(OPERATORS))


def attempted(what: str, attempt: Callable[[], Part]) -> Part:
    """What an attempt gives; that the subject raises, or says that it does not offer it, is a part too."""
    try:
        return attempt()
    except NotOffered as error:
        return Part(missing=(Missing(what=what, why=f"not offered: {error}"),))
    except WrongResult as error:
        return Part(missing=(Missing(what=what, why=str(error), failed=True),))
