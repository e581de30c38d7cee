"""A call of a user's own tensors: what `compare` and `assert_close_to_truth` judge results of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.record import bound, facts_of, options_of
from torch_loss_parity.reference.arithmetic.profile_files import ProfileError, profile_of
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import LIKE, WrongOption
from torch_loss_parity.tensors.arrays import widen

Given = tuple[np.ndarray, str]  # numbers in float64, each exactly, and the name of their dtype


def operator_named(name: Any) -> Operator:
    """The operator of a name.

    Raises
    ------
    WrongOption
        A `ValueError`: if there is none.
    """
    __tracebackhide__ = True
    if not isinstance(name, str) or name not in OPERATORS:
        raise WrongOption(f"operator is {name!r}; choose from {', '.join(OPERATORS)}")
    return OPERATORS[name]


def anyone(profile: str = "default", like: str = "") -> Subject:
    """Whose results they are is not known; the ledger speaks of them if they are ``like`` torch's.

    Raises
    ------
    WrongOption
        If there is no such profile, or nothing to be like.
    """
    if like not in ("", *LIKE):
        raise WrongOption(f"like is {like!r}; choose from {', '.join(LIKE)}")
    try:
        return Subject("anyone", None, "", profile_of(profile), like=like)
    except ProfileError as error:
        raise WrongOption(f"profile is {error}") from error


def numbers_of(name: str, value: Any) -> Given:
    """The numbers of a tensor or an array, and its dtype.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If its dtype is none of those that are known.
    """
    if isinstance(value, torch.Tensor):
        tensor = value
    elif isinstance(value, np.ndarray | np.generic | float | int):
        tensor = torch.as_tensor(np.asarray(value))
    else:
        raise TypeError(f"{name} is a {type(value).__name__}; it must be a tensor or an array")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise ValueError(f"{name} is of dtype {dtype}; it must be one of {', '.join(DTYPES)}")
    return widen(tensor), dtype


def bound_arguments(
    operator: Operator, arguments: Sequence[Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments by name in the order of the signature, what is left out at its default.

    Raises
    ------
    TypeError
        If they are none of the operator.
    """
    try:
        return bound(operator, *arguments, **options)
    except TypeError as error:
        names = ", ".join(inspect.signature(operator.forward).parameters)
        raise TypeError(f"{operator.name}: {error}; its arguments are {names}") from error


def call_of(
    operator: Operator,
    arguments: Mapping[str, Any],
    output_dtype: str = "",
    stored: Mapping[str, str] | None = None,
) -> Call:
    """The call of an operator on tensors or arrays.

    Parameters
    ----------
    arguments : mapping
        By name, all of them.
    output_dtype : str
        The dtype that the result is returned in; that of ``input`` or of ``dtype`` unless given.
    stored : mapping, optional
        Of gradients, by the argument's name, the dtype that each is in.
    """
    values: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor | np.ndarray):
            tensor = torch.as_tensor(value)
            if tensor.is_floating_point():
                values[name], dtypes[name] = numbers_of(name, tensor)
            else:
                values[name] = tensor.detach().cpu().numpy()
        else:
            values[name] = str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
    if "input" not in dtypes:
        raise ValueError(f"input must be a tensor or an array of one of {', '.join(DTYPES)}")
    if values.get("dtype") not in (None, *DTYPES):
        raise ValueError(f"dtype is {values['dtype']}; it must be one of {', '.join(DTYPES)}")
    dtype, stored = dtypes["input"], stored or {}
    others = {name: other for name, other in (dtypes | dict(stored)).items() if other != dtype}
    result = output_dtype or values.get("dtype") or dtype
    facts = facts_of(operator, values, others)
    return Call(operator.name, values, dtype, result, tuple(stored), facts, others)


def differentiable(call: Call) -> tuple[str, ...]:
    """The arguments of a call that have gradients."""
    operator = OPERATORS[call.operator]
    return operator.differentiable(options_of(operator, call.arguments))


@contextmanager
def wrong_arguments() -> Iterator[None]:
    """What the definition refuses within is a wrong call: `ValueError`, where it raises as torch does."""
    try:
        yield
    except (IndexError, RuntimeError) as error:  # NotImplementedError is one
        raise ValueError(str(error)) from error
