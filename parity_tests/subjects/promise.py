"""What a subject promises: which calls it answers. Cases are drawn inside; what lies outside is not asked.

How a promise is written is told in `torch_loss_parity.subjects.written_promise`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from inspect import signature
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.operators.promised import Limits, inside, is_among
from torch_loss_parity.operators.semantics import GIVEN
from torch_loss_parity.subjects.declined import LIMITS, OUTSIDE, OutsideThePromise, missing_in

TENSORS = ("input", "target", "linear_weight", "linear_bias", "weight", "pos_weight")
CLASSES = ("indices", "probabilities")  # kinds of target where each row has a class
IGNORED = "ignored"  # whether rows are ignored; no argument, but which targets there are
MIXED = "mixed_dtypes"
DIMENSIONS = 7  # one more than a message names
SWITCHES = (MIXED, *LIMITS)  # what is promised unless it is False
OF_DERIVATIVES = ("gradients", "modes", "transforms")  # kinds of claim that are about nothing else
NARROW_INDICES = (np.dtype(np.uint8),)  # what torch takes as class indices beside int64


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
        Of `SWITCHES`, what it does not offer and is not asked for.
    may_lack : tuple of str
        Of `LIMITS`, what it is asked for, and may say by an exception that it does not offer.
    result_dtype : str
        The narrowest dtype of a result.
    gradients : mapping of str to tuple of str
        By operator: the arguments whose gradients it offers. Without any it offers no derivative.
    """

    options: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    ndim: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = DTYPES
    claims: tuple[str, ...] = KINDS
    without: tuple[str, ...] = ()
    may_lack: tuple[str, ...] = ()
    result_dtype: str = ""
    gradients: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def limits(self, operator: str) -> Limits:
        """Where the cases of an operator may lie."""
        ndim = tuple(each for each in self.ndim.get(operator, ()) if has_input_of(operator, each))
        options, gradients = self.options.get(operator, {}), self.gradients.get(operator)
        return Limits(options, ndim, self.result_dtype, gradients)

    def differentiated(self, operator: str, names: Sequence[str]) -> tuple[str, ...]:
        """Those of differentiable arguments whose gradients are promised."""
        return self.limits(operator).differentiated(names)

    def asked_of(self, call: Call) -> Call:
        """A call that was not drawn inside the promise, without the gradients that are not promised."""
        return replace(call, differentiable=self.differentiated(call.operator, call.differentiable))

    def claims_of(self, operator: str) -> tuple[str, ...]:
        """The kinds of claim that are asked of an operator."""
        results_alone = self.gradients.get(operator) == ()
        return tuple(kind for kind in self.claims if not (results_alone and kind in OF_DERIVATIVES))

    def nothing_of(self, operator: str) -> str:
        """Why no case of an operator lies inside, in a few words; empty where some do."""
        promised = self.ndim.get(operator, ())
        if not promised or any(has_input_of(operator, each) for each in promised):
            return ""
        there = ", ".join(str(each) for each in range(DIMENSIONS) if has_input_of(operator, each))
        return f"no case of {operator} has ndim={'|'.join(map(str, promised))}; choose from {there}"

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
        given = {**defaults_of(operator), **arguments}
        reasons = [
            f"{name}={_shown(operator, name, given[name])}"
            for name in limits.options
            if name != IGNORED and name in given and not self._holds(operator, name, given[name])
        ]
        ndim = getattr(arguments.get("input"), "ndim", None)
        if limits.ndim and ndim is not None and ndim not in limits.ndim:
            reasons.append(f"an input of {ndim} dimensions")
        layer = getattr(arguments.get("linear_weight"), "ndim", 2)
        if limits.ndim and ndim is not None and ndim + layer - 2 > max(limits.ndim):
            reasons.append(f"logits of {ndim + layer - 2} dimensions")
        return ", ".join(reasons)

    def excludes(self, reason: str) -> bool:
        """Whether what a subject declined, for a reason, is nothing that it promises."""
        return OUTSIDE in reason or missing_in(reason) in (*self.without, *self.may_lack)

    def must_offer(self, *switches: str) -> None:
        """A derivative that needs ``switches`` is not asked of who does not offer them.

        Raises
        ------
        OutsideThePromise
            If one of them is not promised.
        """
        if lacking := [f"{name}=False" for name in switches if name in self.without]:
            raise OutsideThePromise(", ".join(lacking))

    def must_have_gradients(self, operator: str) -> None:
        """What is about a backward pass is not asked of who promises results alone.

        Raises
        ------
        OutsideThePromise
            If no gradient is promised.
        """
        if self.gradients.get(operator) == ():
            raise OutsideThePromise("gradients=None")

    def outside_call(self, call: Call) -> str:
        """As `outside`, of a call whose arrays are at hand: of which rows are ignored too."""
        target, ignore_index = call.arguments.get("target"), call.arguments.get("ignore_index", -100)
        if MIXED in self.without and call.dtypes:
            return ", ".join(f"{name} of {dtype}" for name, dtype in call.dtypes.items())
        if MIXED in self.without and getattr(target, "dtype", None) in NARROW_INDICES:
            assert target is not None
            return f"target of {target.dtype}"
        promised = self.limits(call.operator).options.get(IGNORED)
        if promised == ("none",) and getattr(target, "dtype", None) is not None:
            assert target is not None
            if target.dtype.kind in "iu" and bool((target == ignore_index).any()):
                return "ignored rows"
        return self.outside(call.operator, call.arguments)

    def _holds(self, operator: str, name: str, value: Any) -> bool:
        promised = self.limits(operator).options[name]
        if name == "target":
            return is_among(_kind_of_target(operator, value), promised)
        if name == "reduction" and value not in OPERATORS[operator].options.get(name, ()):
            return True  # what nobody offers is to be refused
        return is_among(GIVEN if name in TENSORS and value is not None else value, promised)

    def of(self, operators: Iterable[str]) -> Promise:
        """The promise without what it says of other operators."""
        names = tuple(operators)
        options = {name: each for name, each in self.options.items() if name in names}
        ndim = {name: each for name, each in self.ndim.items() if name in names}
        gradients = {name: each for name, each in self.gradients.items() if name in names}
        return replace(self, options=options, ndim=ndim, gradients=gradients)

    def __str__(self) -> str:
        """What is promised, in one line; empty where all is."""
        parts: dict[str, list[str]] = {}  # what is said, and of which operators
        for operator, options in self.options.items():
            for name, values in options.items():
                parts.setdefault(f"{name}={'|'.join(map(str, values))}", []).append(operator)
        for operator, numbers in self.ndim.items():
            parts.setdefault(f"ndim={'|'.join(map(str, numbers))}", []).append(operator)
        for operator, names in self.gradients.items():
            parts.setdefault(f"gradients={'|'.join(names) or None}", []).append(operator)
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


@lru_cache
def defaults_of(operator: str) -> Mapping[str, Any]:
    """What torch's function takes where an argument is left out. None of an argument that is no tensor stands
    for a value that the function chooses.
    """
    parameters = signature(OPERATORS[operator].forward).parameters.items()
    return {
        name: each.default
        for name, each in parameters
        if each.default is not each.empty and (name in TENSORS or each.default is not None)
    }


@lru_cache
def has_input_of(operator: str, ndim: int) -> bool:
    """Whether an operator's ``input`` may have so many dimensions: whether one of its shapes can be given
    them."""
    record = OPERATORS[operator]
    if ndim < min(len(shape) for shape in record.shapes):
        return False
    narrowed, values = inside(record, Limits(ndim=(ndim,))), next(iter(record.values))
    cases = (narrowed.case("float32", shape, values, {}, 0) for shape in record.shapes)
    return any(record.call(case).arguments["input"].ndim == ndim for case in cases)


def kinds_of_target(operator: str) -> tuple[str, ...]:
    """The kinds of target that an operator may be promised for."""
    return tuple(OPERATORS[operator].options.get("target", CLASSES))


def _kind_of_target(operator: str, target: Any) -> str:
    dtype = getattr(target, "dtype", None)
    real = dtype.is_floating_point if isinstance(dtype, torch.dtype) else getattr(dtype, "kind", "") in "fO"
    kinds = kinds_of_target(operator)
    if not OPERATORS[operator].acts_on_elements:
        return kinds[1] if real else kinds[0]
    try:
        return kinds[0] if not real or bool(((target == 0) | (target == 1)).all()) else kinds[1]
    except RuntimeError:  # a transform's tensor, whose numbers nobody can see: what it maps was drawn inside
        return kinds[0]


def _shown(operator: str, name: str, value: Any) -> Any:
    if name == "target":
        return _kind_of_target(operator, value)
    return GIVEN if name in TENSORS and value is not None else value


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
            (*whole.may_lack, *each.may_lack),
            each.result_dtype or whole.result_dtype,
            {**whole.gradients, **each.gradients},
        )
    return whole
