"""What a subject promises: which calls it answers. Cases are drawn inside; what lies outside is not asked.

A module says so by ``PROMISES``, the command line by ``--promise``, and Python by ``verify(promise=)``:

    PROMISES = {
        "target": "indices", "weight": None, "reduction": ("mean", "sum"),  # arguments of any operator
        "ndim": 2,  # dimensions of ``input``
        "dtypes": ("float32", "bfloat16"),
        "claims": ("forward", "gradients", "semantics"),  # kinds of claim
        "mixed_dtypes": False,  # arguments of other dtypes than that of ``input``
        "double_backward": False, "forward_mode": False, "transforms": False,  # of torch.func
        "result_dtype": "float32",  # of losses of half precision, too
        "cross_entropy": {"label_smoothing": 0.0},  # of one operator
    }

A signature is a promise too: an argument that a function does not take is never given.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.operators.promised import Limits, inside, is_among
from torch_loss_parity.operators.semantics import GIVEN
from torch_loss_parity.subjects.declined import LIMITS, OUTSIDE, missing_in

TENSORS = ("input", "target", "linear_weight", "linear_bias", "weight", "pos_weight")
KINDS_OF_TARGET = ("indices", "probabilities")
IGNORED = "ignored"  # whether rows are ignored; no argument, but which targets there are
BY_POSITION = ("input", "linear_weight", "target")
MIXED = "mixed_dtypes"
SWITCHES = (MIXED, *LIMITS)  # what is promised unless it is False


class PromiseError(ValueError):
    """A promise that cannot be understood; the message says what can be promised."""


@dataclass(frozen=True)
class Promise:
    """What a subject promises; what it does not name it promises in full.

    Attributes
    ----------
    options : mapping of str to mapping of str to tuple
        By operator: the values of its arguments.
    ndim : mapping of str to tuple of int
        By operator: the numbers of dimensions of ``input``.
    dtypes, claims : tuple of str
    without : tuple of str
        Of `SWITCHES`, what it does not offer.
    result_dtype : str
        The narrowest dtype of a result.
    """

    options: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    ndim: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = DTYPES
    claims: tuple[str, ...] = KINDS
    without: tuple[str, ...] = ()
    result_dtype: str = ""

    def limits(self, operator: str) -> Limits:
        """Where the cases of an operator may lie."""
        return Limits(self.options.get(operator, {}), self.ndim.get(operator, ()), self.result_dtype)

    def operator(self, record: Operator) -> Operator:
        """The operator, its cases drawn inside the promise."""
        return inside(record, self.limits(record.name))

    def outside(self, operator: str, arguments: Mapping[str, Any]) -> str:
        """Why a call lies outside, in a few words; empty where it lies inside.

        Parameters
        ----------
        arguments : mapping
            Tensors, or arrays of NumPy, by name; what is left out has its default.
        """
        limits = self.limits(operator)
        reasons = [
            f"{name}={_shown(name, arguments.get(name))}"
            for name in limits.options
            if name != IGNORED and name in arguments and not self._holds(operator, name, arguments[name])
        ]
        ndim = getattr(arguments.get("input"), "ndim", None)
        if limits.ndim and ndim is not None and ndim not in limits.ndim:
            reasons.append(f"an input of {ndim} dimensions")
        return ", ".join(reasons)

    def excludes(self, reason: str) -> bool:
        """Whether what a subject declined, for a reason, is nothing that it promises."""
        return OUTSIDE in reason or missing_in(reason) in self.without

    def outside_call(self, call: Call) -> str:
        """As `outside`, of a call whose arrays are at hand: of which rows are ignored too."""
        if MIXED in self.without and call.dtypes:
            return ", ".join(f"{name} of {dtype}" for name, dtype in call.dtypes.items())
        promised = self.limits(call.operator).options.get(IGNORED)
        target, ignore_index = call.arguments.get("target"), call.arguments.get("ignore_index", -100)
        if promised == ("none",) and getattr(target, "dtype", None) is not None:
            assert target is not None
            if target.dtype.kind in "iu" and bool((target == ignore_index).any()):
                return "ignored rows"
        return self.outside(call.operator, call.arguments)

    def _holds(self, operator: str, name: str, value: Any) -> bool:
        promised = self.limits(operator).options[name]
        if name == "target":
            return is_among(_kind_of_target(value), promised)
        if name == "reduction" and value not in OPERATORS[operator].options.get(name, ()):
            return True  # what nobody offers is to be refused
        return is_among(GIVEN if name in TENSORS and value is not None else value, promised)

    def of(self, operators: Iterable[str]) -> Promise:
        """The promise without what it says of other operators."""
        names = tuple(operators)
        options = {name: each for name, each in self.options.items() if name in names}
        return replace(self, options=options, ndim={k: v for k, v in self.ndim.items() if k in names})

    def __str__(self) -> str:
        """What is promised, in one line; empty where all is."""
        parts: dict[str, list[str]] = {}  # what is said, and of which operators
        for operator, options in self.options.items():
            for name, values in options.items():
                parts.setdefault(f"{name}={'|'.join(map(str, values))}", []).append(operator)
        for operator, numbers in self.ndim.items():
            parts.setdefault(f"ndim={'|'.join(map(str, numbers))}", []).append(operator)
        several = len({operator for operators in parts.values() for operator in operators}) > 1
        said = [f"{text} ({', '.join(operators)})" if several else text for text, operators in parts.items()]
        return ", ".join([*said, *self._of_all()])

    def _of_all(self) -> list[str]:
        parts = []
        if self.dtypes != DTYPES:
            parts.append(f"dtypes={'|'.join(self.dtypes)}")
        if self.claims != KINDS:
            parts.append(f"claims={'|'.join(self.claims)}")
        parts += [f"{name}=False" for name in self.without]
        if self.result_dtype:
            parts.append(f"result_dtype={self.result_dtype}")
        return parts


EVERYTHING = Promise()


def _kind_of_target(target: Any) -> str:
    dtype = getattr(target, "dtype", None)
    real = dtype.is_floating_point if isinstance(dtype, torch.dtype) else getattr(dtype, "kind", "") in "fO"
    return KINDS_OF_TARGET[1] if real else KINDS_OF_TARGET[0]


def _shown(name: str, value: Any) -> Any:
    if name == "target":
        return _kind_of_target(value)
    return GIVEN if name in TENSORS and value is not None else value


def of_text(text: str) -> dict[str, Any]:
    """A promise as ``--promise`` writes it: ``target=indices,reduction=mean|sum,cross_entropy.weight=None``.

    Raises
    ------
    PromiseError
        If a part is no ``NAME=VALUE``.
    """
    given: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, values = part.partition("=")
        if not equals or not name or not values:
            raise PromiseError(f"{part!r}; it must be NAME=VALUE, or NAME=VALUE|VALUE")
        operator, _, argument = name.strip().rpartition(".")
        into = given.setdefault(operator, {}) if operator else given
        into[argument] = tuple(_literal(value.strip()) for value in values.split("|"))
    return given


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def of_mapping(given: Any) -> Promise:
    """A promise as ``PROMISES`` writes it; see the head of this module.

    Raises
    ------
    PromiseError
        If it names what is nothing that can be promised.
    """
    if not isinstance(given, Mapping):
        raise PromiseError(f"{given!r}; it must be a mapping of names to values")
    options: dict[str, dict[str, tuple[Any, ...]]] = {}
    ndim: dict[str, tuple[int, ...]] = {}
    whole: dict[str, tuple[str, ...]] = {}
    without: tuple[str, ...] = ()
    anywhere = {name for operator in OPERATORS for name in promisable(operator)}
    for name, value in given.items():
        if name in OPERATORS:
            if not isinstance(value, Mapping):
                raise PromiseError(f"{name}: {value!r}; it must be a mapping of arguments to values")
            for argument, values in value.items():
                _into(options, ndim, name, argument, _several(values))
        elif name in ("dtypes", "claims", "result_dtype"):
            known = KINDS if name == "claims" else DTYPES
            whole[name] = tuple(_several(value))
            for each in whole[name]:
                if each not in known:
                    raise PromiseError(f"{name}={each!r}; choose from {', '.join(known)}")
        elif name in SWITCHES:
            if not isinstance(value := _several(value)[0], bool):
                raise PromiseError(f"{name}={value!r}; choose from True, False")
            without += () if value else (name,)
        elif name in anywhere:
            for operator in OPERATORS:
                if name in promisable(operator) and name not in given.get(operator, {}):
                    _into(options, ndim, operator, name, _several(value))
        else:
            choices = (*sorted(anywhere), "dtypes", "claims", "result_dtype", *SWITCHES, *OPERATORS)
            raise PromiseError(f"{name!r}, which is nothing to promise; choose from {', '.join(choices)}")
    result_dtype = whole.pop("result_dtype", ("",))[0]
    return Promise(options, ndim, **whole, without=without, result_dtype=result_dtype)


def promisable(operator: str) -> tuple[str, ...]:
    """What of a call of an operator may be promised."""
    record = OPERATORS[operator]
    names = [name for name in inspect.signature(record.forward).parameters if name != "input"]
    return (*names, *((IGNORED,) if IGNORED in record.options else ()), "ndim")


def _into(
    options: dict[str, dict[str, tuple[Any, ...]]],
    ndim: dict[str, tuple[int, ...]],
    operator: str,
    name: str,
    values: Sequence[Any],
) -> None:
    if name not in (known := promisable(operator)):
        raise PromiseError(f"{operator}.{name}, which is no argument; choose from {', '.join(known)}")
    if name == "ndim":
        if not all(isinstance(each, int) and each >= 0 for each in values):
            raise PromiseError(f"{operator}.ndim={values!r}; it must be numbers of dimensions")
        ndim[operator] = tuple(values)
        return
    if name == "target" and (wrong := [each for each in values if each not in KINDS_OF_TARGET]):
        raise PromiseError(f"{operator}.target={wrong[0]!r}; choose from {', '.join(KINDS_OF_TARGET)}")
    if name == "reduction" and (wrong := [e for e in values if e not in OPERATORS[operator].options[name]]):
        choices = ", ".join(OPERATORS[operator].options[name])
        raise PromiseError(f"{operator}.reduction={wrong[0]!r}; choose from {choices}")
    if name in TENSORS and name != "target" and (wrong := [e for e in values if e not in (None, GIVEN)]):
        raise PromiseError(f"{operator}.{name}={wrong[0]!r}; choose from None, {GIVEN}")
    options.setdefault(operator, {})[name] = tuple(values)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


def together(promises: Iterable[Promise]) -> Promise:
    """What all of several promises hold: the later one has the last word of an argument."""
    whole = EVERYTHING
    for each in promises:
        operators = dict.fromkeys((*whole.options, *each.options))
        whole = Promise(
            {name: {**whole.options.get(name, {}), **each.options.get(name, {})} for name in operators},
            {**whole.ndim, **each.ndim},
            tuple(dtype for dtype in whole.dtypes if dtype in each.dtypes),
            tuple(kind for kind in whole.claims if kind in each.claims),
            (*whole.without, *each.without),
            each.result_dtype or whole.result_dtype,
        )
    return whole


def of_signature(operator: str, function: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """What follows from the arguments that a function takes: what it does not take has its default.

    Raises
    ------
    PromiseError
        If it cannot be called as torch's function is.
    """
    taken = parameters_of(function)
    if taken is None:
        return {}
    wanted = inspect.signature(OPERATORS[operator].forward).parameters
    first = by_position(operator)
    positional = [
        each for each in taken.values() if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    placed = {each.name for each in positional[: len(first)]}
    missing = [name for name in wanted if name not in first and name not in taken]
    problems = []
    if len(positional) < len(first):
        problems.append(f"it takes {len(positional)} by position")
    problems += [f"it takes no {name}" for name in missing if wanted[name].default is wanted[name].empty]
    problems += [
        f"it requires {name}"
        for name, each in taken.items()
        if name not in placed and name not in wanted and each.default is each.empty
    ]
    if problems:
        raise PromiseError(
            f"{operator}{inspect.signature(function)} cannot be called as {operator}{_signature(operator)}: "
            + "; ".join(problems)
        )
    limits: dict[str, tuple[Any, ...]] = {name: (wanted[name].default,) for name in missing}
    if "ignore_index" in missing:
        limits[IGNORED] = ("none",)
    return limits


def by_position(operator: str) -> list[str]:
    """The arguments that people give an operator by position."""
    wanted = inspect.signature(OPERATORS[operator].forward).parameters
    return [name for name in BY_POSITION if name in wanted]


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The arguments that a function takes by name or position; None where it may take any, or does not
    tell."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    if any(each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL) for each in parameters.values()):
        return None
    return parameters


def _signature(operator: str) -> str:
    parameters = inspect.signature(OPERATORS[operator].forward).parameters.values()
    plain = [each.replace(annotation=each.empty) for each in parameters]
    return str(inspect.Signature(plain))
