"""How a promise is written, and read: by a mapping, by a text, and by the signature of a function.

A module says so by ``PROMISES``, the command line by ``--promise``, and Python by ``verify(promise=)``:

    PROMISES = {
        "target": "indices",  # or "probabilities"; of the binary losses "hard" or "soft"
        "weight": None, "reduction": ("mean", "sum"),  # arguments of any operator
        "ndim": 2,  # dimensions of ``input``
        "gradients": "input",  # of which arguments; None: of none, results alone
        "dtypes": ("float32", "bfloat16"),
        "claims": ("forward", "gradients", "semantics"),  # kinds of claim
        "mixed_dtypes": False,  # arguments of other dtypes than that of ``input``
        "double_backward": False, "forward_mode": False, "transforms": False,  # of torch.func
        "autocast": False,
        "result_dtype": "float32",  # of losses of half precision, too
        "cross_entropy": {"label_smoothing": 0.0},  # of one operator
        "linear_cross_entropy": {"z_loss": (1e-4, 0.1)},  # what torch's function does not take
    }

A signature is a promise too: an argument that a function does not take is never given. What torch's function
does not take either is given to those who promise it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any

from torch.autograd import Function
from torch.nn import Module

from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.operators.record import GRADIENTS
from torch_loss_parity.operators.semantics import GIVEN
from torch_loss_parity.reference.arguments import check_label_smoothing, check_softcap, check_z_loss
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX
from torch_loss_parity.subjects.declined import LIMITS
from torch_loss_parity.subjects.promise import IGNORED, SWITCHES, TENSORS, Promise, kinds_of_target

BY_POSITION = ("input", "linear_weight", "target")
WITHOUT_AN_INDEX = ("linear_cross_entropy",)  # whose ``ignore_index`` may be None
WHOLE_NUMBERS = ("dim", "ignore_index")
CHOSEN = ("reduction", "keepdim", IGNORED)  # what has few values, all of them in the record
RULES = {"label_smoothing": check_label_smoothing, "z_loss": check_z_loss, "softcap": check_softcap}
ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # kinds of what takes any argument


class PromiseError(ValueError):
    """A promise that cannot be understood; the message says what can be promised."""


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
    gradients: dict[str, tuple[str, ...]] = {}
    whole: dict[str, tuple[str, ...]] = {}
    without: tuple[str, ...] = ()
    anywhere = {name for operator in OPERATORS for name in promisable(operator)}
    for name, value in given.items():
        if name in OPERATORS:
            if not isinstance(value, Mapping):
                raise PromiseError(f"{name}: {value!r}; it must be a mapping of arguments to values")
            for argument, values in value.items():
                _into(options, ndim, gradients, name, argument, _several(f"{name}.{argument}", values))
        elif name in ("dtypes", "claims", "result_dtype"):
            known = KINDS if name == "claims" else DTYPES
            whole[name] = _several(name, value)
            for each in whole[name]:
                if each not in known:
                    raise PromiseError(f"{name}={each!r}; choose from {', '.join(known)}")
        elif name in SWITCHES:
            if not isinstance(value := _several(name, value)[0], bool):
                raise PromiseError(f"{name}={value!r}; choose from True, False")
            without += () if value else (name,)
        elif name in anywhere:
            having = [operator for operator in OPERATORS if name in promisable(operator)]
            values = _of_each(having, _several(name, value)) if name == "target" else {}
            for operator in having:
                its = values.get(operator, _several(name, value))
                if its and name not in given.get(operator, {}):
                    _into(options, ndim, gradients, operator, name, its, said=name)
        else:
            choices = (*sorted(anywhere), "dtypes", "claims", "result_dtype", *SWITCHES, *OPERATORS)
            raise PromiseError(f"{name!r}, which is nothing to promise; choose from {', '.join(choices)}")
    result_dtype = whole.pop("result_dtype", ("",))[0]
    return Promise(options, ndim, **whole, without=without, result_dtype=result_dtype, gradients=gradients)


def _of_each(operators: Sequence[str], targets: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """Of kinds of target, those that each operator has: a class is of other kinds than a probability."""
    kinds = {operator: kinds_of_target(operator) for operator in operators}
    known = tuple(dict.fromkeys(kind for each in kinds.values() for kind in each))
    if wrong := [each for each in targets if each not in known]:
        raise PromiseError(f"target={wrong[0]!r}; choose from {', '.join(known)}")
    return {name: tuple(each for each in targets if each in its) for name, its in kinds.items()}


def promisable(operator: str) -> tuple[str, ...]:
    """What of a call of an operator may be promised."""
    record = OPERATORS[operator]
    names = [name for name in inspect.signature(record.forward).parameters if name != "input"]
    return (*names, *((IGNORED,) if IGNORED in record.options else ()), "ndim", GRADIENTS)


def _into(
    options: dict[str, dict[str, tuple[Any, ...]]],
    ndim: dict[str, tuple[int, ...]],
    gradients: dict[str, tuple[str, ...]],
    operator: str,
    name: str,
    values: Sequence[Any],
    said: str = "",
) -> None:
    """Add what is promised of an argument, if it can be; a message names it as it was ``said``."""
    about = tuple(OPERATORS) if said else (operator,)
    said, has = said or f"{operator}.{name}", OPERATORS[operator].options
    if name not in (known := promisable(operator)):
        raise PromiseError(f"{said}, which is no argument; choose from {', '.join(known)}")
    if name == "ndim":
        if not all(_is_whole(each) and each >= 0 for each in values):
            raise PromiseError(f"{said}={values!r}; it must be numbers of dimensions")
        ndim[operator] = tuple(values)
        return
    if name == GRADIENTS:
        known = tuple(
            dict.fromkeys(each for one in about for each in OPERATORS[one].differentiable_arguments)
        )
        if wrong := [each for each in values if each not in (None, *known)]:
            raise PromiseError(f"{said}={wrong[0]!r}; choose from None, {', '.join(known)}")
        gradients[operator] = tuple(
            each for each in OPERATORS[operator].differentiable_arguments if each in values
        )
        return
    choices: Sequence[Any] = ()
    if name == "target":
        choices = kinds_of_target(operator)
    elif name in TENSORS:
        choices = (None, GIVEN)
    elif name == "dtype":
        choices = (None, *DTYPES)
    elif name in CHOSEN:
        choices = has[name]
    of_type = [(type(each), each) for each in choices]  # True is no 1
    if choices and (wrong := [each for each in values if (type(each), each) not in of_type]):
        raise PromiseError(f"{said}={wrong[0]!r}; choose from {', '.join(map(str, choices))}")
    if name in WHOLE_NUMBERS and (wrong := [each for each in values if not _are_whole(each)]):
        raise PromiseError(f"{said}={wrong[0]!r}; it must be a whole number")
    for each in values if name in RULES else ():
        if broken := _broken(RULES[name], each):
            raise PromiseError(f"{said}={each!r}; {broken}")
    if name in OPERATORS[operator].extensions:  # left out, it has its default
        default = _parameters(OPERATORS[operator].forward)[name].default
        values = (default, *(each for each in values if each != default))
    options.setdefault(operator, {})[name] = tuple(values)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_whole(value: Any) -> bool:
    """Whether a value is a whole number, or several."""
    return all(map(_is_whole, value if isinstance(value, tuple) else (value,)))


def _broken(rule: Callable[[Any], None], value: Any) -> str:
    """What a value must be, by the rule of the definitions; empty where it is. True is no 1."""
    try:
        rule(str(value) if isinstance(value, bool) else value)
    except (TypeError, RuntimeError) as error:
        return str(error).partition("; ")[2]
    return ""


def _several(said: str, value: Any) -> tuple[Any, ...]:
    """The values that are promised; of none there would be no case."""
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    if not values:
        raise PromiseError(f"{said}={value!r}; it must have at least one value")
    return values


def may_say(given: Mapping[str, Any]) -> Promise:
    """What a function of somebody's own may lack: what torch itself says that it does not do, which its
    author did not write, unless ``given`` promises that by True.
    """
    return Promise(may_lack=tuple(name for name in LIMITS if _several(name, given.get(name)) != (True,)))


def replaced(given: Any, later: Mapping[str, Any]) -> dict[str, Any]:
    """A promise, as `of_mapping` takes it, in which another replaces what has the same name: what it says of
    any operator replaces what was said of one, too.
    """
    whole = {
        name: {k: v for k, v in value.items() if k not in later} if name in OPERATORS else value
        for name, value in given.items()
    }
    for name, value in later.items():
        whole[name] = {**whole.get(name, {}), **value} if name in OPERATORS else value
    return whole


def of_signature(operator: str, function: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """What follows from the arguments that a function takes: what it does not take has its default.

    Raises
    ------
    PromiseError
        If it cannot be called as torch's function is.
    """
    try:
        taken = _signature_of(function)
    except (TypeError, ValueError):
        return {}  # it does not tell
    kinds = {each.kind for each in taken.values()}
    takes_any = bool(kinds & set(ANY))
    wanted = of_torch(operator)
    first = by_position(operator)
    positional = [
        each for each in taken.values() if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    missing = [name for name in wanted if name not in first and name not in taken and not takes_any]
    problems = []
    if len(positional) < len(first) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        problems.append(f"it takes {len(positional)} by position")
    for name, each in zip(first, positional, strict=False):  # torch's are given by name, too
        if each.name != name:
            problems.append(f"it takes {each.name} in place of {name}")
        elif each.kind is each.POSITIONAL_ONLY:
            problems.append(f"it takes {name} by position alone")
    problems += [f"it takes no {name}" for name in missing if wanted[name].default is wanted[name].empty]
    placed = {each.name for each in positional[: len(first)]}
    problems += [
        f"it requires {name}"
        for name, each in taken.items()
        if name not in placed and name not in wanted and each.default is each.empty and each.kind not in ANY
    ]
    if problems:
        its, torchs = _told_by(function), _signature(operator)
        raise PromiseError(f"{operator}{its} cannot be called as {operator}{torchs}: " + "; ".join(problems))
    limits: dict[str, tuple[Any, ...]] = {name: (wanted[name].default,) for name in missing}
    if "ignore_index" in missing:
        limits[IGNORED] = ("none",)
    return limits


def must_take(operator: str, function: Callable[..., Any], promise: Promise) -> None:
    """Raise PromiseError if a function does not take what is promised of it beside torch's arguments."""
    taken = parameters_of(function)
    for name in OPERATORS[operator].extensions:
        if name in promise.options.get(operator, {}) and taken is not None and name not in taken:
            raise PromiseError(f"{operator} takes no {name}, which is promised of it")


def of_torch(operator: str) -> Mapping[str, inspect.Parameter]:
    """The arguments that torch's function takes, as the definition has them."""
    record = OPERATORS[operator]
    return {name: each for name, each in _parameters(record.forward).items() if name not in record.extensions}


def by_position(operator: str) -> list[str]:
    """The arguments that people give an operator by position."""
    wanted = _parameters(OPERATORS[operator].forward)
    return [name for name in BY_POSITION if name in wanted]


def _signature_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return _told_by(function).parameters


def _told_by(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function. A module, and ``apply`` of an autograd.Function, take anything and hand
    it on: theirs is that of ``forward``, of the latter behind the context.
    """
    if isinstance(function, Module):
        return inspect.signature(function.forward)
    made = getattr(function, "__self__", None)
    if not (isinstance(made, type) and issubclass(made, Function) and function.__name__ == "apply"):
        return inspect.signature(function)
    told = inspect.signature(made.forward)
    if made.setup_context is not Function.setup_context:
        return told
    return told.replace(parameters=list(told.parameters.values())[1:])


_parameters = lru_cache(_signature_of)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The arguments that a function takes by name or position; None where it may take any, or does not
    tell. Functions of Python are looked at once: that costs more than a small call."""
    look = _parameters if isinstance(function, FunctionType) else _signature_of
    try:
        parameters = look(function)
    except (TypeError, ValueError):
        return None
    if any(each.kind in ANY for each in parameters.values()):
        return None
    return parameters


def taken_of(
    operator: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter] | None
) -> dict[str, Any]:
    """Of arguments by name, those that a function is given: those that it takes. Of a layer no
    ``ignore_index`` is that of `cross_entropy`, and a function that has it for its default is not told None.
    """
    if parameters is None:
        return dict(options)
    given = {name: value for name, value in options.items() if name in parameters}
    none_given = operator in WITHOUT_AN_INDEX and given.get("ignore_index", NO_INDEX) is None
    if none_given and parameters["ignore_index"].default == NO_INDEX:
        del given["ignore_index"]
    return given


def _signature(operator: str) -> str:
    plain = [each.replace(annotation=each.empty) for each in of_torch(operator).values()]
    return str(inspect.Signature(plain))
