"""What stands in the place of a subject's functions: a source of what they returned, or of what to ask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Any, TypeVar, cast

from torch_loss_parity.cases.case import Call
from torch_loss_parity.subjects.declined import NotObserved
from torch_loss_parity.subjects.observing.encoding import NoData, key_of

ROOT = "torch_loss_parity."
Drive = TypeVar("Drive", bound=Callable[..., Any])


@dataclass(frozen=True)
class Request:
    """What a subject is to do.

    Attributes
    ----------
    drive : str
        The function that drives it, as in ``package.module:name`` below the root.
    call : Call
        The arguments.
    given : mapping
        What the function takes besides: an upstream gradient, a direction, ...
    """

    drive: str
    call: Call
    given: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The digest of all that it is."""
        return key_of((self.drive, self.call, dict(sorted(self.given.items()))))

    def run(self, subject: Any, device: str) -> Any:
        """What the subject makes of it.

        Raises
        ------
        ValueError
            If there is no such function.
        """
        module, _, name = self.drive.partition(":")
        drive = getattr(import_module(ROOT + module), name, None)
        if not hasattr(drive, "drives"):
            raise ValueError(f"nothing that drives a subject is called {self.drive!r}")
        return cast(Any, drive)(subject, self.call, device, **self.given)


class Source:
    """The functions of a subject that is not here.

    Attributes
    ----------
    _operators : collection of str
        Those that it offers.
    """

    _operators: Collection[str] = ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name not in self._operators:
            raise AttributeError(name)

        def unseen(*arguments: Any, **options: Any) -> Any:
            raise NotObserved(f"a call of {name} in a way that is not written down")

        return unseen

    def answer(self, request: Request) -> Any:
        """What the subject returned, or raised.

        Raises
        ------
        NotObserved
            If nothing is known of it.
        """
        try:
            key = request.key
        except NoData as error:
            raise NotObserved(str(error)) from error
        return self._answer(key, request)

    def _answer(self, key: str, request: Request) -> Any:
        raise NotImplementedError


def observable(drive: Drive) -> Drive:
    """A function ``(subject, call, device, ...)`` that drives a subject, answered by a `Source` where one
    stands for the subject.

    What it takes and returns is data: arrays, calls, numbers, words, and containers of them.
    """
    rest = list(signature(drive).parameters)[3:]
    name = f"{drive.__module__.removeprefix(ROOT)}:{drive.__name__}"

    @wraps(drive)
    def driven(subject: Any, call: Call, device: str, *positional: Any, **named: Any) -> Any:
        source = subject.namespace
        if isinstance(source, Source):
            return source.answer(Request(name, call, {**dict(zip(rest, positional, strict=False)), **named}))
        return drive(subject, call, device, *positional, **named)

    driven.__dict__["drives"] = name
    return cast(Drive, driven)
