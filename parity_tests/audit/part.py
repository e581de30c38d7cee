"""The part of an audit that one unit of its plan finds, and what all units have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from pydantic import Field

from torch_loss_parity.audit.record import Axis, Figure, Missing, Record
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.profile_files import profile_of
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.promise import EVERYTHING, Promise
from torch_loss_parity.subjects.run_subject import WrongResult


@dataclass(frozen=True)
class Conditions:
    """What every unit of a run has in common; ``profile`` is the name of the one that the subject is judged
    under, or its file, ``source`` a hash of the files of both, for what is kept of an earlier run, and
    ``like`` the subject whose ledger it is judged by, if that is another.
    """

    subject: str
    device: str
    seed: int
    time_limit: float
    profile: str = DEFAULT.name
    source: str = ""
    promise: Promise = EVERYTHING
    like: str = ""

    @property
    def loaded(self) -> Subject:
        """The subject, as it is judged."""
        return replace(loaded(self.subject, self.profile), promise=self.promise, like=self.like)


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


def loaded(name: str, profile: str = DEFAULT.name) -> Subject:
    """A subject, loaded once in each process."""
    return replace(_loaded(name), profile=profile_of(profile))


@cache
def _loaded(name: str) -> Subject:
    return load(name, tuple(OPERATORS))


def attempted(what: str, attempt: Callable[[], Part]) -> Part:
    """What an attempt gives; that the subject raises, or says that it does not offer it, is a part too."""
    try:
        return attempt()
    except NotOffered as error:
        return Part(missing=(Missing(what=what, why=f"not offered: {error}"),))
    except WrongResult as error:
        return Part(missing=(Missing(what=what, why=str(error), failed=True),))
