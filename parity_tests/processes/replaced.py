"""What a subject is judged with, and whether it is still what it was: functions, classes and constants of
this package, of torch, NumPy, pytest and Python.

Note [A judge that is replaced]
    A subject runs in the process that judges it, and Python lets it replace whatever it finds there:
    `torch.equal` by a function that says yes, the verdict by one that passes. So what judges is noted before
    a subject is loaded, and looked at after every call (`unchanged`: what makes the verdict on it) and after
    every test (`looked_at`: all that was noted), but for PyTorch's own functions. Nothing that is replaced is
    put back: of what comes after it no verdict is worth anything, and each test says so.

    This is no wall. Whoever rewrites the caller's variables, or this module and what it has noted, is not
    seen. Where that is to be feared, a subject is run in another process than its judge: ``torch-loss-parity
    observe``, and ``torch-loss-parity judge`` on the file.
"""

from __future__ import annotations

import sys
from builtins import all as all_of  # what looks is not what may be replaced
from builtins import map as each_of
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from operator import is_, itemgetter
from types import FunctionType, ModuleType
from typing import Any

OWN = "torch_loss_parity"
# Of this package, what makes a verdict; after every call these are looked at.
JUDGING = tuple(f"{OWN}.{name}" for name in ("judging.comparison", "judging.judge", "tensors.arrays"))
# Wrong implementations, and what is planted in them, change as they like.
NOT_OWN = (f"{OWN}.faults",)
OTHERS = (
    "builtins",
    "math",
    "numpy",
    "torch",
    "torch.autograd",
    "torch.nn.functional",
    "torch.testing",
    "pytest",
    "_pytest.outcomes",
    "_pytest.python",
    "_pytest.reports",
    "_pytest.runner",
)
CLASSES = {"torch": ("Tensor",)}  # of other packages: those whose methods are looked at
# What a package replaces of its own accord when a part of it is loaded: torch's compiler wraps it.
OF_ITS_OWN_ACCORD = ("torch.manual_seed",)


class Replaced(AssertionError):
    """Something that judges is not what it was before a subject was loaded."""


@dataclass(frozen=True)
class Names:
    """What names mean in a namespace.

    Attributes
    ----------
    space : mapping
        The namespace, as it is now.
    said : str
        How it is called in a message; ends in what stands before a name.
    meant : mapping
        What the names meant.
    """

    space: Mapping[Any, Any]
    said: str
    meant: Mapping[Any, Any]

    @cached_property
    def _get(self) -> Callable[[Mapping[Any, Any]], Any]:
        return (
            itemgetter(*self.meant) if len(self.meant) > 1 else lambda space: [space[n] for n in self.meant]
        )

    @cached_property
    def _values(self) -> list[Any]:
        return list(self.meant.values())

    def changed(self) -> list[str]:
        """The names that mean something else now."""
        try:
            if all_of(each_of(is_, self._get(self.space), self._values)):
                return []
        except KeyError:  # one is gone
            pass
        return [
            f"{self.said}{name}" for name, value in self.meant.items() if self.space.get(name) is not value
        ]


@dataclass
class Noted:
    """What was found in namespaces, and is still to be there.

    Attributes
    ----------
    spaces : list of Names
    codes : mapping
        Of each function its code and its defaults, as a function can be given those of another.
    """

    spaces: list[Names] = field(default_factory=list)
    codes: dict[FunctionType, tuple[Any, Any]] = field(default_factory=dict)

    def changed(self) -> list[str]:
        """What is another one now."""
        others = [name for space in self.spaces for name in space.changed()]
        for function, (code, defaults) in self.codes.items():
            if function.__code__ is not code or function.__defaults__ is not defaults:
                others.append(f"{function.__module__}.{function.__qualname__}")
        return others

    def note(self, module: ModuleType) -> None:
        """Note what a module of this package, or of another, judges with."""
        own, said = _is_own(module.__name__), f"{module.__name__}."
        meant = {
            name: value
            for name, value in vars(module).items()
            if said + name not in OF_ITS_OWN_ACCORD
            and (_does_something(value) or (own and _is_constant(name)))
        }
        self.spaces.append(Names(vars(module), said, meant))
        for name, value in meant.items():
            here = own and getattr(value, "__module__", "") == module.__name__
            if isinstance(value, type) and (here or name in CLASSES.get(module.__name__, ())):
                self._note_class(value, f"{said}{name}.")
            elif own and type(value) is dict:
                self.spaces.append(Names(value, f"{said}{name}: ", dict(value)))
            elif here:
                self._note_code(value)

    def _note_class(self, kind: type, said: str) -> None:
        meant = {
            name: value
            for name, value in vars(kind).items()
            if _does_something(value) or isinstance(value, property | cached_property)
        }
        self.spaces.append(Names(vars(kind), said, meant))
        for value in meant.values():
            self._note_code(getattr(value, "fget", value))

    def _note_code(self, value: Any) -> None:
        while value is not None:
            if isinstance(value, FunctionType):
                self.codes[value] = value.__code__, value.__defaults__
            value = getattr(value, "__wrapped__", None) or getattr(value, "__func__", None)


def _does_something(value: Any) -> bool:
    return callable(value) or isinstance(value, ModuleType | staticmethod | classmethod)


def _is_constant(name: str) -> bool:
    return name.lstrip("_").isupper()


def _is_own(name: str) -> bool:
    return name.partition(".")[0] == OWN


@dataclass
class Originals:
    """What the modules that are loaded judge with, but for those of the subject itself.

    Parameters
    ----------
    subject : str
        The name of its module, if it is one of this package.
    """

    subject: str = ""
    all: Noted = field(default_factory=Noted)
    judging: Noted = field(default_factory=Noted)
    seen: set[str] = field(default_factory=set)
    modules: int = 0
    inherited: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Note what has been loaded since the last look."""
        if len(sys.modules) == self.modules:
            return
        self.modules = len(sys.modules)
        for name, module in list(sys.modules.items()):
            if name not in self.seen and isinstance(module, ModuleType) and self._judges(name):
                self.seen.add(name)
                self.all.note(module)
                if name == "torch":
                    others = {each for kind in module.Tensor.__mro__[1:] for each in vars(kind)}
                    self.inherited = others - vars(module.Tensor).keys()
                if name in JUDGING:
                    self.judging.note(module)

    def _judges(self, name: str) -> bool:
        if name in OTHERS:
            return True
        return _is_own(name) and name != self.subject and not name.startswith(NOT_OWN)

    def changed(self) -> list[str]:
        """What is another one than it was, or hides what it was."""
        return [*self.all.changed(), *self._hidden()]

    def _hidden(self) -> Iterator[str]:
        """Methods of a tensor that are inherited from C, and that a method in Python has been put before."""
        if tensor := getattr(sys.modules.get("torch"), "Tensor", None):
            yield from (f"torch.Tensor.{name}" for name in self.inherited & vars(tensor).keys())


_noted: list[Originals] = []  # of runs within runs, the innermost last
_looked_at: list[Originals] = []  # while a subject is judged


def begin(subject: str = "") -> None:
    """Note what judges; a subject is loaded after this."""
    _noted.append(Originals(subject))
    _noted[-1].look()


def end() -> None:
    """What was noted last is noted no more."""
    _noted.pop()


@contextmanager
def looked_at() -> Iterator[None]:
    """A subject is judged within, by what was noted last.

    Raises
    ------
    Replaced
        If that is not what it was.
    """
    _looked_at.append(_noted[-1])
    _noted[-1].look()
    try:
        yield
    finally:
        originals = _looked_at.pop()
        if changed := originals.changed():
            raise Replaced(_said(changed))


def unchanged() -> None:
    """Look at what makes a verdict, while a subject is judged.

    Raises
    ------
    Replaced
        If it is not what it was.
    """
    if _looked_at and (changed := _looked_at[-1].judging.changed()):
        raise Replaced(_said(changed))


def _said(changed: list[str]) -> str:
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return f"the subject has replaced {shown}, which judges it; no verdict from here on is worth anything"
