"""What can be put under test: anything that offers functions named as in torch.nn.functional."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.profile_files import ProfileError, profile_of
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.subjects import builtin, torch_in_chunks
from torch_loss_parity.subjects.compiled import compiled
from torch_loss_parity.subjects.declined import LIMITS, NotOffered, OutsideThePromise, is_declined, reason_of
from torch_loss_parity.subjects.observing.source import Source
from torch_loss_parity.subjects.promise import EVERYTHING, Promise, together
from torch_loss_parity.subjects.written_promise import (
    WITHOUT_AN_INDEX,
    PromiseError,
    by_position,
    may_say,
    must_take,
    of_mapping,
    of_signature,
    of_text,
    parameters_of,
    replaced,
    taken_of,
)


class SubjectError(ValueError):
    """The named subject cannot be put under test; the message says what can."""


class OffersNothing(SubjectError):
    """The subject has nothing that could be tested."""


@dataclass(frozen=True)
class Subject:
    """An implementation under test.

    Attributes
    ----------
    name : str
        As it was asked for.
    namespace : object
        Holds the functions; takes and returns torch tensors and differentiates through autograd.
    imports : str
        The line that a reproduction script begins with; it binds ``subject``.
    profile : Profile
        What the arithmetic that it runs on may do; a module says so by ``PROFILE = "triton"``.
    promise : Promise
        Which calls it answers; a module says so by ``PROMISES``, see
        `torch_loss_parity.subjects.written_promise`.
    like : str
        Another subject, of which it is made, and whose known divergences are its own; empty where there is
        none.
    helpers : frozenset of str
        Functions that have the name of an operator which is not asked for, and do not take what torch's
        takes: it does not offer those.
    """

    name: str
    namespace: Any
    imports: str
    profile: Profile = DEFAULT
    promise: Promise = EVERYTHING
    like: str = ""
    helpers: frozenset[str] = frozenset()

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with this package, and is not somebody's own."""
        return self.name in BUILTIN or self.name.startswith((FAULT, RIGHT, "torch_loss_parity."))

    @property
    def is_elsewhere(self) -> bool:
        """Whether what it returns is not computed here, but looked up or planned."""
        return isinstance(self.namespace, Source)

    @property
    def judged_as(self) -> str:
        """The subject whose ledger it is judged by."""
        return self.like or self.name

    def import_of(self, operator: str) -> str:
        """The line that a script begins with that calls ``operator``."""
        by_operator = IMPORTS.get(self.name)
        return by_operator(operator) if by_operator else self.imports

    @property
    def compiles(self) -> bool:
        """Whether a case costs a compilation, so that a run is to have few of them; a subject says so by
        ``COMPILES = True``.
        """
        return bool(getattr(self.namespace, "COMPILES", False))

    def offers(self, operator: str) -> bool:
        return operator not in self.helpers and callable(getattr(self.namespace, operator, None))

    def lacks(self, operator: str) -> str:
        """Says that there is no such function, where a test would call it."""
        return f"{self.name} has no {operator}"

    def excludes(self, reason: str) -> bool:
        """Whether what was declined, for a reason, is nothing that the subject promises: of a function that
        it has not, or outside its promise."""
        return reason.startswith(self.lacks("")) or self.promise.excludes(reason)

    def given(self, call: Call) -> Call:
        """The call as the function is called: without the arguments that it does not take."""
        function = None if self.name in COMPLETE else getattr(self.namespace, call.operator, None)
        if function is None:
            return call
        return replace(call, arguments=taken_of(call.operator, call.arguments, parameters_of(function)))

    def function(self, operator: str) -> Callable[..., Any]:
        """The subject's function; of any but torch's own, a `NotImplementedError` comes out as
        `NotOffered`. It is not called outside its promise, nor with arguments that it does not take.
        """
        function: Callable[..., Any] = getattr(self.namespace, operator)
        if self.name in COMPLETE:
            return function
        limited = self.promise != EVERYTHING
        # A signature costs more than a small call, of what is no function of Python.
        taken = parameters_of(function) if limited or operator in WITHOUT_AN_INDEX else None

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if limited:
                given = {**dict(zip(by_position(operator), arguments, strict=False)), **options}
                if outside := self.promise.outside(operator, given):
                    raise OutsideThePromise(outside)
            options = taken_of(operator, options, taken)
            try:
                return function(*arguments, **options)
            except NotImplementedError as error:
                raise NotOffered(f"{operator}: {reason_of(error)}") from error

        return call

    def declines(self, error: BaseException) -> bool:
        """Whether an exception says that the subject does not offer what it was asked for."""
        return self.name not in COMPLETE and is_declined(error)

    @contextmanager
    def declining(self) -> Iterator[None]:
        """What is raised within to say that something is not offered, by a backward pass too, comes out as
        `NotOffered`; anything else as it is.
        """
        try:
            yield
        except NotOffered:
            raise
        except Exception as error:
            if self.declines(error):
                raise NotOffered(reason_of(error)) from error
            raise


COMPLETE = ("torch", "torch.nn")  # whatever they do not offer is missing
FAULT = "fault:"  # ... and the name of a planted one
RIGHT = "right:"  # ... and the name of a right kernel
BUILTIN = {
    "torch": ("import torch.nn.functional as subject", builtin.functional),
    "torch.nn": (
        "from torch_loss_parity.subjects.builtin import modules; subject = modules()",
        builtin.modules,
    ),
    "torch.compile": (
        "from torch_loss_parity.subjects.compiled import compiled; subject = compiled()",
        compiled,
    ),
    "reference": ("from torch_loss_parity import reference as subject", builtin.definitions),
}

# What autograd does not do with compiled code, in torch's own words.
PROMISED = {"torch.compile": Promise(may_lack=("double_backward", "transforms"))}

# Where the line depends on the operator: torch and the reference have some elsewhere than others.
IMPORTS = {"torch": builtin.import_of_function, "reference": builtin.import_of_definition}


def load(
    name: str,
    operators: tuple[str, ...],
    profile: str | None = None,
    promise: str | None = None,
    like: str = "",
    chosen: tuple[str, ...] = (),
) -> Subject:
    """Find a subject by name: a built-in one, a path to a ``.py`` file, or a dotted module.

    Parameters
    ----------
    profile : str, optional
        The name or the file of the profile that it is judged under, whatever its module says.
    promise : str, optional
        What it promises beside what its module says, and in place of what has the same name there, see
        `torch_loss_parity.subjects.written_promise.of_text`.
    like : str
        The subject whose ledger it is judged by, if that is another.
    chosen : tuple of str
        The operators that are asked for, all of them if none: a function that has the name of another may
        take what it likes.

    Raises
    ------
    SubjectError
        If there is no such subject, it cannot be imported, its ``PROFILE`` or ``PROMISES`` are none, or it
        has a function that cannot be called as torch's.
    OffersNothing
        If it has none of ``operators``.
    ProfileError, PromiseError
        If the profile or the promise that is asked for is none.
    """
    subject = _of_name(name, operators)
    subject = replace(subject, helpers=_helpers(subject, chosen))
    promised = _promise(subject, of_text(promise or ""))
    own_profile = _own_profile(subject) if profile is None else profile_of(profile)
    return replace(subject, profile=own_profile, promise=promised, like=like)


def promise_of_signatures(functions: Mapping[str, Callable[..., Any]]) -> Promise:
    """What follows from the arguments that functions take, by operator.

    Raises
    ------
    PromiseError
        If one cannot be called as torch's.
    """
    limits = {operator: of_signature(operator, function) for operator, function in functions.items()}
    return Promise(options={operator: options for operator, options in limits.items() if options})


def _helpers(subject: Subject, chosen: tuple[str, ...]) -> frozenset[str]:
    """The functions that only have the name of an operator, where others are ``chosen``."""

    def is_another(operator: str) -> bool:
        try:
            of_signature(operator, getattr(subject.namespace, operator))
        except PromiseError:
            return True
        return False

    beside = [name for name in OPERATORS if chosen and name not in chosen and subject.offers(name)]
    return frozenset(filter(is_another, beside))


def _promise(subject: Subject, asked: Mapping[str, Any]) -> Promise:
    """What a subject promises, where ``asked`` replaces what its module says."""
    beside = of_mapping(asked)
    if subject.name.startswith((FAULT, RIGHT)):  # with derivatives of their own, written for eager mode
        own = of_mapping(subject.namespace.PROMISES)
        return together([Promise(may_lack=tuple(LIMITS)), own, beside])
    if subject.name in BUILTIN:
        for name in filter(subject.offers, OPERATORS):
            must_take(name, getattr(subject.namespace, name), beside)
        return together([PROMISED.get(subject.name, EVERYTHING), beside])
    written = getattr(subject.namespace, "PROMISES", {})
    try:
        of_mapping(written)
    except PromiseError as error:
        raise SubjectError(f"PROMISES of {subject.name!r} has {error}") from error
    said = replaced(written, asked)
    own = together([may_say(said), of_mapping(said)])
    offered = {name: getattr(subject.namespace, name) for name in OPERATORS if subject.offers(name)}
    try:
        for name, function in offered.items():
            must_take(name, function, own)
        return together([promise_of_signatures(offered), own]).of(offered)
    except PromiseError as error:
        raise SubjectError(f"{subject.name}: {error}") from error


def _own_profile(subject: Subject) -> Profile:
    own = getattr(subject.namespace, "PROFILE", None)
    if own is None:
        return DEFAULT
    try:
        return profile_of(own if isinstance(own, str) else repr(own))
    except ProfileError as error:
        raise SubjectError(f"PROFILE of {subject.name!r} is {error}") from error


def _of_name(name: str, operators: tuple[str, ...]) -> Subject:
    if name in BUILTIN:
        imports, make = BUILTIN[name]
        return Subject(name, make(), imports)
    if name.startswith(torch_in_chunks.PREFIX):
        return _in_chunks(name)
    if name.startswith(FAULT):
        return _fault(name.removeprefix(FAULT))
    if name.startswith(RIGHT):
        return _right(name.removeprefix(RIGHT))
    if name.endswith(".py"):
        namespace, imports = (
            _from_file(name),
            (f"import runpy, types; subject = types.SimpleNamespace(**runpy.run_path({name!r}))"),
        )
    else:
        namespace, imports = (
            _from_module(name),
            (f"import importlib; subject = importlib.import_module({name!r})"),
        )
    subject = Subject(name, namespace, imports)
    if not any(subject.offers(operator) for operator in operators):
        raise OffersNothing(f"{name!r} offers none of the functions {', '.join(operators)}")
    return subject


def _fault(name: str) -> Subject:
    from torch_loss_parity.faults import FAULTS

    if name not in FAULTS:
        raise SubjectError(f"there is no fault {name!r}; choose from {', '.join(FAULTS)}")
    return _in_place_of_one(FAULT + name, FAULTS[name])


def _in_chunks(name: str) -> Subject:
    try:
        namespace = torch_in_chunks.in_chunks(name.removeprefix(torch_in_chunks.PREFIX))
    except ValueError as error:
        raise SubjectError(str(error)) from error
    imports = f"from torch_loss_parity.subjects import load; subject = load({name!r}, ()).namespace"
    return Subject(name, namespace, imports)


def _right(name: str) -> Subject:
    from torch_loss_parity.faults.right import RIGHT_KERNELS

    if name not in RIGHT_KERNELS:
        raise SubjectError(f"there is no right kernel {name!r}; choose from {', '.join(RIGHT_KERNELS)}")
    return _in_place_of_one(RIGHT + name, RIGHT_KERNELS[name])


def _in_place_of_one(name: str, recorded: Any) -> Subject:
    """The definitions as kernels, but for the operator that a fault or a right kernel implements."""
    from torch_loss_parity.faults.right import definition

    imports = f"from torch_loss_parity.subjects import load; subject = load({name!r}, ()).namespace"
    functions = {**definition.RIGHT, recorded.operator: recorded.function, "PROMISES": recorded.promises}
    return Subject(name, SimpleNamespace(**functions), imports)


def _choices() -> str:
    return (
        f"choose {', '.join(BUILTIN)}, {torch_in_chunks.PREFIX}POLICY,CHUNKS, {FAULT}NAME, {RIGHT}NAME, "
        f"a path to a .py file or a dotted module"
    )


def _from_file(name: str) -> Any:
    path = Path(name)
    if not path.is_file():
        raise SubjectError(f"{name!r} is not a file; {_choices()}")
    spec = importlib.util.spec_from_file_location(f"subject_{path.stem}", path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SubjectError(
            f"{name!r} cannot be imported: {type(error).__name__}: {error}{_hint(path, error)}"
        ) from error
    return module


def _hint(path: Path, error: Exception) -> str:
    """What to do about a file of a package, which imports what lies beside it."""
    if not isinstance(error, ImportError) or "relative import" not in str(error):
        return ""
    dotted = ".".join(path.with_suffix("").parts[-2:])
    return f"; a file of a package is named as a dotted module, such as {dotted}, where it can be imported"


def _from_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SubjectError(f"{name!r} cannot be imported ({error}); {_choices()}") from error
    except ValueError as error:
        raise SubjectError(f"{name!r} is not the name of a module; {_choices()}") from error
