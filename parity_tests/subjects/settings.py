"""The settings of a run, checked: what the pytest options mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, Effort
from torch_loss_parity.processes import devices
from torch_loss_parity.reference.arithmetic.profile_files import ProfileError
from torch_loss_parity.subjects import OffersNothing, Subject, load
from torch_loss_parity.subjects.written_promise import PromiseError

# Times as long may a case take of a subject that compiles: one case has dozens of views, each a program of
# its own.
TO_COMPILE = 10


class WrongOption(ValueError):
    """An option has a value that is not allowed; the message names the choices."""


class NothingToTest(ValueError):
    """The subject offers or promises nothing of what a run is to test."""


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on."""

    subject: Subject
    device: str
    dtypes: tuple[str, ...]
    effort_name: str
    seed: int
    time_limit: float = 60.0
    operators: tuple[str, ...] = ()  # all of them unless some were asked for

    @property
    def effort(self) -> Effort:
        return EFFORTS[self.effort_name]

    @classmethod
    def of(
        cls,
        subject: str,
        device: str,
        dtype: str,
        effort: str,
        seed: int,
        time_limit: float | None = None,
        operator: str | None = None,
        profile: str | None = None,
        promise: str | None = None,
        like: str | None = None,
    ) -> Settings:
        """Check the options and load the subject.

        Raises
        ------
        WrongOption
            If the dtype, the operator, the effort, the device, the profile or the promise is unknown, the
            device is not there, or no time is allowed.
        NothingToTest
            If the subject promises nothing of what is asked.
        SubjectError
            If the subject cannot be put under test.
        """
        __tracebackhide__ = True
        dtypes = tuple(part.strip() for part in dtype.split(","))
        for name in dtypes:
            _among("--dtype", name, DTYPES)
        _among("--effort", effort, EFFORTS)
        operators = tuple(part.strip() for part in operator.split(",")) if operator else ()
        for name in operators:
            _among("--operator", name, OPERATORS)
        if time_limit is not None and not time_limit > 0:
            raise WrongOption(f"--time-limit is {time_limit:g}; it must be a positive number of seconds")
        if like is not None:
            _among("--like", like, LIKE)
        try:
            loaded = load(subject, tuple(OPERATORS), profile, promise, like or "", operators)
        except ProfileError as error:
            raise WrongOption(f"--profile is {error}") from error
        except PromiseError as error:
            raise WrongOption(f"--promise has {error}") from error
        except OffersNothing as error:
            raise NothingToTest(str(error)) from error
        if operators and not any(loaded.offers(name) for name in operators):
            raise NothingToTest(f"{subject} has no {' and no '.join(operators)}")
        promised = tuple(name for name in dtypes if name in loaded.promise.dtypes)
        if not promised:
            raise NothingToTest(f"{subject} promises none of {dtype}: {loaded.promise}")
        asked = [name for name in operators or OPERATORS if loaded.offers(name)]
        if nothing := [why for name in asked if (why := loaded.promise.nothing_of(name))]:
            raise NothingToTest(f"{subject}: {'; '.join(nothing)}")
        if time_limit is None:
            time_limit = EFFORTS[effort].time_limit * (TO_COMPILE if loaded.compiles else 1)
        return cls(loaded, _device(device), promised, effort, seed, time_limit, operators)


LIKE = ("torch", "torch.compile")  # what the ledger knows divergences of, and others are made of
SETTINGS = pytest.StashKey[Settings]()  # where pytest's configuration keeps them


def _among(option: str, value: str, choices: Iterable[str]) -> None:
    __tracebackhide__ = True
    if value not in choices:
        raise WrongOption(f"{option} is {value!r}; choose from {', '.join(choices)}")


def _device(name: str) -> str:
    __tracebackhide__ = True
    there = devices.there()
    if name not in there:
        raise WrongOption(f"--device is {name!r}; on this machine there is {', '.join(there)}")
    return name
