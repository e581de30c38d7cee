"""Reverse mode over any other arithmetic: what automatic differentiation makes of the unchanged definitions.

A `Taped` array holds a value of one inner arithmetic and remembers what it was made of. `pull_back` goes
through the operations from the last to the first and applies to each the rule by which PyTorch's autograd
differentiates it (tools/autograd/derivatives.yaml), in its order of factors. On `Rounded` values the gradient
comes with the error that *this* way to it may cost, which is another one than that of the closed form: a
difference that the closed form has resolved is taken, and at a clamp the derivative is that of the clamp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from types import ModuleType
from typing import Any

from array_api_compat import array_namespace

from torch_loss_parity.reference.arithmetic.dual import as_array

Pull = Callable[[Any], Any]
_numbers = count()


class Taped:
    """An array, and how a gradient with respect to it is pulled back to what it was made of.

    Parameters
    ----------
    value : array
        Of the inner arithmetic.
    *parents : pairs of (Taped, callable)
        What it was made of, and what takes a gradient with respect to this array to one with respect to that.
    variable : bool
        Whether a gradient with respect to it is wanted; what depends on no variable is a constant.
    """

    __array_priority__ = 3000.0
    __array_ufunc__ = None

    def __init__(self, value: Any, *parents: tuple[Taped, Pull], variable: bool = False) -> None:
        self.value = as_array(value)
        self.parents: list[tuple[Taped, Pull]] = [(parent, pull) for parent, pull in parents if parent.varies]
        self.varies: bool = variable or bool(self.parents)
        self.number = next(_numbers)

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        from torch_loss_parity.reference.arithmetic import tape_functions

        return tape_functions

    dtype = property(lambda self: self.value.dtype)
    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    device = "cpu"

    @property
    def inner(self) -> Any:
        """The namespace of the inner arithmetic."""
        return array_namespace(self.value)

    def __add__(self, other: Any) -> Taped:
        other = coerce(other)
        return Taped(self.value + other.value, (self, _to(self, _same)), (other, _to(other, _same)))

    def __sub__(self, other: Any) -> Taped:
        other = coerce(other)
        return Taped(self.value - other.value, (self, _to(self, _same)), (other, _to(other, lambda g: -g)))

    def __rsub__(self, other: Any) -> Taped:
        return Taped(other - self.value, (self, _to(self, lambda g: -g)))

    def __neg__(self) -> Taped:
        return Taped(-self.value, (self, lambda g: -g))

    def __abs__(self) -> Taped:
        def pull(g: Any) -> Any:
            xp, x = self.inner, self.value
            zeros = xp.zeros_like(x)
            # A product: of nan and 0 it is nan.
            return g * xp.where(x > 0, zeros + 1, xp.where(x < 0, zeros - 1, zeros))

        return Taped(abs(self.value), (self, pull))

    def __mul__(self, other: Any) -> Taped:
        other = coerce(other)
        return Taped(
            self.value * other.value,
            (self, _to(self, lambda g: g * other.value)),
            (other, _to(other, lambda g: g * self.value)),
        )

    def __truediv__(self, other: Any) -> Taped:
        other = coerce(other)
        return Taped(
            self.value / other.value,
            (self, _to(self, lambda g: g / other.value)),
            (other, _to(other, lambda g: -g * ((self.value / other.value) / other.value))),
        )

    def __rtruediv__(self, other: Any) -> Taped:
        return coerce(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Taped:
        return Taped(constant(self)[key])

    # Decisions are constants.
    def __lt__(self, other: Any) -> Taped:
        return Taped(self.value < coerce(other).value)

    def __le__(self, other: Any) -> Taped:
        return Taped(self.value <= coerce(other).value)

    def __gt__(self, other: Any) -> Taped:
        return Taped(self.value > coerce(other).value)

    def __ge__(self, other: Any) -> Taped:
        return Taped(self.value >= coerce(other).value)

    def __eq__(self, other: Any) -> Taped:  # type: ignore[override]
        return Taped(self.value == coerce(other).value)

    def __ne__(self, other: Any) -> Taped:  # type: ignore[override]
        return Taped(self.value != coerce(other).value)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Taped:
        return Taped(self.value & coerce(other).value)

    def __or__(self, other: Any) -> Taped:
        return Taped(self.value | coerce(other).value)

    def __invert__(self) -> Taped:
        return Taped(~self.value)

    def __bool__(self) -> bool:
        return bool(self.value)


def coerce(x: Any) -> Taped:
    """``x`` as a `Taped` array; what is none is a constant."""
    if isinstance(x, Taped):
        return x
    taped = Taped(x)
    if type(x) in (int, float):
        taped.value = x  # a number has no dtype to impose on an array
    return taped


def constant(x: Taped) -> Any:
    """The value of a constant.

    Raises
    ------
    TypeError
        If it is none: the rule of what is asked of it is not written, as no definition needs it.
    """
    if x.varies:
        raise TypeError(
            "this operation is not differentiated: no definition applies it to what depends on a variable"
        )
    return x.value


def pull_back(output: Any, grad_output: Any, variables: Mapping[str, Taped]) -> dict[str, Any]:
    """The gradient of ``output`` with respect to each variable, for an upstream gradient; None where it does
    not depend on one.
    """
    gradients: dict[int, Any] = {output.number: grad_output}
    reached = {output.number: output}
    waiting = [output]
    while waiting:
        for parent, _ in waiting.pop().parents:
            if parent.number not in reached:
                reached[parent.number] = parent
                waiting.append(parent)
    for number in sorted(reached, reverse=True):  # what was made last comes first, as in autograd
        for parent, pull in reached[number].parents:
            pulled = as_array(pull(gradients[number]))
            gradients[parent.number] = (
                gradients[parent.number] + pulled if parent.number in gradients else pulled
            )
    return {name: gradients.get(variable.number) for name, variable in variables.items()}


def _same(g: Any) -> Any:
    return g


def _to(x: Taped, pull: Pull) -> Pull:
    """``pull``, and then the sum over the dimensions along which ``x`` was broadcast."""

    def pulled(g: Any) -> Any:
        return sum_to(pull(g), x.shape)

    return pulled


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """``g`` summed over the dimensions that ``shape`` lacks, or has only one of."""
    g = as_array(g)
    if tuple(g.shape) == tuple(shape):
        return g
    xp, lead = array_namespace(g), g.ndim - len(shape)
    axes = tuple(i for i in range(g.ndim) if i < lead or (shape[i - lead] == 1 and g.shape[i] != 1))
    if len(g.shape) < len(shape) or not axes:
        return xp.broadcast_to(g, shape)
    return xp.reshape(xp.sum(g, axis=axes), shape)
