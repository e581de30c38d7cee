"""An operator inside a promise: its cases are drawn where a subject says that it offers something.

What a subject does not promise is not called, so that a budget of cases is spent on what it does. An option
that a table names and the promise does not have is replaced by one that it has, and a shape of another number
of dimensions by one of as many elements: the case that a table was after is asked as far as it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import Any
from zlib import crc32

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.operators.facets import BitCalls, Gap, Identities
from torch_loss_parity.operators.families.identities import SMOOTHING
from torch_loss_parity.operators.record import GRADIENTS, RESULT_DTYPE, Operator
from torch_loss_parity.operators.semantics import GIVEN
from torch_loss_parity.reference.arithmetic.formats import promoted


@dataclass(frozen=True)
class Limits:
    """Where cases of an operator may lie.

    Attributes
    ----------
    options : mapping of str to tuple
        The values of options; an option that is not named may have any.
    ndim : tuple of int
        The numbers of dimensions of ``input``; any where it is empty.
    result_dtype : str
        The narrowest dtype of a result; that of torch's where it is empty.
    gradients : tuple of str, optional
        The arguments whose gradients may be asked for; all that torch differentiates where it is None.
    """

    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ndim: tuple[int, ...] = ()
    result_dtype: str = ""
    gradients: tuple[str, ...] | None = None

    @property
    def is_narrow(self) -> bool:
        return bool(self.options or self.ndim or self.result_dtype or self.gradients is not None)

    def differentiated(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of differentiable arguments whose gradients lie inside."""
        return tuple(name for name in names if self.gradients is None or name in self.gradients)

    def allowed(self, name: str, values: Sequence[Any]) -> tuple[Any, ...]:
        """Those of an option's values that lie inside; what is promised itself where none of them does."""
        promised = self.options.get(name)
        if promised is None:
            return tuple(values)
        inside = tuple(value for value in values if is_among(value, promised))
        return inside or tuple(value for value in promised if value != GIVEN)

    def shape(self, shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
        """The shape, of a number of dimensions that is promised: what is too many is put together, and what
        is too few is of length 1. Dimension ``dim``, along which a row lies, stays what it is.
        """
        if not self.ndim or len(shape) in self.ndim:
            return shape
        wanted = min(self.ndim, key=lambda n: (abs(n - len(shape)), n))
        length = shape[dim] if shape else 1
        others = [size for i, size in enumerate(shape) if i != dim % max(1, len(shape))]
        if wanted <= 1:
            return (length,) if wanted else ()
        kept = [prod(others[: len(others) - wanted + 2]), *others[len(others) - wanted + 2 :]]
        kept = [*kept, *([1] * (wanted - 1 - len(kept)))]
        place = min(dim, wanted - 1) if dim >= 0 else wanted + max(dim, -wanted)
        return (*kept[:place], length, *kept[place:])


def is_among(value: Any, promised: Sequence[Any]) -> bool:
    """Whether a value of an option is promised; True is no 1, as an option is of one kind."""
    return any(
        (each == GIVEN and value is not None)
        or (each == value and isinstance(each, bool) == isinstance(value, bool))
        for each in promised
    )


@dataclass(frozen=True, kw_only=True)
class PromisedOperator(Operator):
    """An operator, the ``whole``, whose cases lie inside `Limits`."""

    limits: Limits
    whole: Operator

    def case(
        self, dtype: str, shape: tuple[int, ...], values: str, options: Mapping[str, Any], seed: int
    ) -> Case:
        """A case inside the limits, its options completed and settled."""
        dim = options.get("dim", -1) if self.family.along_dim else min(1, len(shape) - 1)
        axis = dim if isinstance(dim, int) and -len(shape) <= dim < len(shape) else -1
        # By chance: whoever counts cases in steps would meet one value alone.
        inside = {
            name: allowed[crc32(f"{name} {values} {shape} {seed}".encode()) % len(allowed)]
            for name, allowed in self.extended.items()
        }
        for name, value in options.items():
            allowed = self.limits.options.get(name)
            if allowed is None or is_among(value, allowed):
                inside[name] = value
            else:
                choices = self.options.get(name) or self.limits.allowed(name, ())
                inside[name] = choices[seed % len(choices)]
        case = super().case(dtype, self.limits.shape(shape, axis), values, inside, seed)
        if promised := {**self._result(case), **self._gradients(case)}:
            return replace(case, options=tuple(sorted({**case.option, **promised}.items())))
        return case

    def _gradients(self, case: Case) -> Mapping[str, str]:
        every, offered = self.whole.differentiable(case.option), self.differentiable(case.option)
        return {} if offered == every else {GRADIENTS: "|".join(offered) or "none"}

    def _result(self, case: Case) -> Mapping[str, str]:
        if not self.limits.result_dtype:
            return {}
        own = self.output_dtype(case)
        wider = promoted(own, self.limits.result_dtype)
        return {} if wider == own else {RESULT_DTYPE: wider}


def _calls_inside(calls: tuple[BitCalls, ...] | Gap, limits: Limits) -> tuple[BitCalls, ...] | Gap:
    """The calls whose bits are compared that a promise has, without the weights that it has not."""
    chosen = []
    for each in () if isinstance(calls, Gap) else calls:
        given = {**each.options, **({"target": each.target} if each.target else {})}
        if not all(is_among(v, limits.options.get(k, (v,))) for k, v in given.items()):
            continue
        if limits.ndim and len(each.shape(2, 3)) not in limits.ndim:
            continue
        weights = tuple(name for name in each.weights if GIVEN in limits.options.get(name, (GIVEN,)))
        chosen.append(replace(each, weights=weights))
    return tuple(chosen) or calls


def _inputs_inside(inputs: Identities | Gap, limits: Limits) -> Identities | Gap:
    """The inputs of identities that a promise has; as they are where it would leave none."""
    if isinstance(inputs, Gap):
        return inputs

    def has(name: str, value: Any) -> bool:
        if name == "weighted":
            name, value = "weight", GIVEN if value else None
        elif name == "kind" and value == "smoothed":
            name, value = "label_smoothing", SMOOTHING
        elif name == "kind" and value == "pos_weight":
            name, value = "pos_weight", GIVEN
        elif name == "kind":
            return value != "probabilities" or is_among(value, limits.options.get("target", (value,)))
        return is_among(value, limits.options.get(name, (value,)))

    options = {
        name: tuple(value for value in values if has(name, value)) or values
        for name, values in inputs.options.items()
    }
    shapes = tuple(shape for shape in inputs.shapes if not limits.ndim or len(shape) in limits.ndim)
    return replace(inputs, options=options, shapes=shapes or inputs.shapes)


def inside(operator: Operator, limits: Limits) -> Operator:
    """The operator, its cases drawn inside ``limits``; itself where these exclude nothing of it."""
    if not limits.is_narrow:
        return operator
    known = {each.name: getattr(operator, each.name) for each in fields(Operator)}
    options = {name: limits.allowed(name, values) for name, values in operator.options.items()}
    options |= {name: limits.options[name] for name in operator.extensions if name in limits.options}
    facets = {
        "options": options,
        "differentiable": lambda option: limits.differentiated(operator.differentiable(option)),
        "bits": _calls_inside(operator.bits, limits),
        "identities": _inputs_inside(operator.identities, limits),
    }
    return PromisedOperator(**{**known, **facets}, limits=limits, whole=operator)


def in_result_dtype(call: Call, result_dtype: str) -> Call:
    """A call whose result is of a promised dtype."""
    return replace(call, output_dtype=promoted(call.output_dtype, result_dtype)) if result_dtype else call
