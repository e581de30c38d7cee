"""The part of an audit that one unit of its plan finds, and what all units have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import Field

from torch_loss_parity.audit.record import Axis, Figure, Missing, Record
from torch_loss_parity.ledger.environment import Environment, ran_elsewhere
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes.watchdog import Ended, NotReturned
from torch_loss_parity.reference.arithmetic.profile_files import profile_of
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.declined import NotObserved, NotOffered
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.promise import EVERYTHING, Promise
from torch_loss_parity.subjects.run_subject import WrongResult

TORCH = "torch"


@dataclass(frozen=True)
class Conditions:
    """What every unit of a run has in common; ``profile`` is the name of the one that the subject is judged
    under, or its file, ``source`` a hash of the files of both, for what is kept of an earlier run, and
    ``like`` the subject whose ledger it is judged by, if that is another. ``observed`` is the file that
    stands for the subject, if it ran elsewhere, and ``beside`` the one that then stands for torch.
    """

    subject: str
    device: str
    seed: int
    time_limit: float
    profile: str = DEFAULT.name
    source: str = ""
    promise: Promise = EVERYTHING
    like: str = ""
    observed: str = ""
    beside: str = ""

    @property
    def loaded(self) -> Subject:
        """The subject, as it is judged."""
        subject = recorded(self.observed) if self.observed else loaded(self.subject)
        return replace(subject, profile=profile_of(self.profile), promise=self.promise, like=self.like)

    @property
    def torch(self) -> Subject | None:
        """torch, to be measured beside a subject that is another: of the machine on which that ran."""
        if self.subject == TORCH:
            return None
        if self.observed:
            return recorded(self.beside) if self.beside else None
        return loaded(TORCH)

    @property
    def subjects(self) -> dict[str, Subject]:
        """What is measured, by its name: the subject, then torch where that is another."""
        torch = self.torch
        return {self.subject: self.loaded} | ({} if torch is None else {TORCH: torch})


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


@cache
def recorded(path: str) -> Subject:
    """What a file holds of a subject, read once in each process, which then judges it by the ledger of where
    it was observed.
    """
    source = Recorded(Path(path))
    environment = source.header["environment"]
    ran_elsewhere(Environment.of(environment), environment["torch_version"])
    return Subject(source.header["subject"], source, source.header["imports"])


def attempted(what: str, attempt: Callable[[], Part]) -> Part:
    """What an attempt gives; that the subject raises, or says that it does not offer it, is a part too, and
    so is what a file says, or does not, of a subject that ran elsewhere.
    """
    try:
        return attempt()
    except NotObserved as error:
        return Part(missing=(Missing(what=what, why=str(error)),))
    except (NotReturned, Ended) as error:
        return Part(missing=(Missing(what=what, why=str(error), failed=True),))
    except NotOffered as error:
        return Part(missing=(Missing(what=what, why=f"not offered: {error}"),))
    except WrongResult as error:
        return Part(missing=(Missing(what=what, why=str(error), failed=True),))
