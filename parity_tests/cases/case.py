"""A case: one call of one operator, described by a few words and a seed, and drawn when it is needed.

The description is small, so it can be printed, compared and sent between processes; the arrays follow from it
on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

Anything = TypeVar("Anything")


@dataclass(frozen=True)
class Case:
    """What to call, on what.

    Attributes
    ----------
    operator, dtype : str
        The operator's name and the dtype of its real-valued inputs.
    shape : tuple of int
        The shape of ``input``.
    values : str
        The distribution of ``input``, a name in `torch_loss_parity.cases.distributions`.
    options : tuple of (str, value)
        The operator's own options, sorted by name.
    seed : int
        Seeds every number that is drawn.
    """

    operator: str
    dtype: str
    shape: tuple[int, ...]
    values: str
    options: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    @property
    def option(self) -> Mapping[str, Any]:
        return dict(self.options)

    def generator(self, purpose: str) -> np.random.Generator:
        """Independent random numbers for each purpose, the same on every machine."""
        return np.random.Generator(np.random.Philox([self.seed, crc32(purpose.encode())]))

    def call(self, operator: Operator, dtype: str) -> Call:
        """The case as a call of its operator; in another dtype than its own, of other numbers."""
        return operator.call(replace(self, dtype=dtype))

    def expects(self, operator: Operator, dtype: str) -> Call:
        """The same call."""
        return self.call(operator, dtype)

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in self.options if value is not None)
        shape = "x".join(map(str, self.shape)) or "scalar"
        return " ".join(
            part
            for part in (self.operator, self.dtype, shape, self.values, options, f"seed={self.seed}")
            if part
        )


@dataclass(frozen=True)
class Call:
    """The arguments of one call, by name and in the order of the signature.

    Attributes
    ----------
    arguments : mapping of str to ndarray, number, str or None
        Real-valued arrays hold numbers of the case's dtype, widened to float64.
    dtype : str
        The dtype that real-valued arrays have in the call, unless ``dtypes`` says otherwise.
    output_dtype : str
        The dtype of the result.
    differentiable : tuple of str
        The arguments that torch differentiates.
    facts : mapping
        What a condition in the ledger may ask about.
    dtypes : mapping of str to str
        The dtypes of the arguments that do not have ``dtype``.
    """

    operator: str
    arguments: Mapping[str, Any]
    dtype: str
    output_dtype: str
    differentiable: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    _made: dict[Any, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def once(self, key: Any, make: Callable[[], Anything]) -> Anything:
        """What ``make`` returns, called once for each ``key`` as long as this call is there.

        The arguments in an arithmetic, say: a derivative then begins with what its definition has computed
        from the same arrays. Nothing that a call is, or is compared by, changes.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def dtype_of(self, name: str) -> str:
        """The dtype of the result, "forward", or of an argument and so of its gradient."""
        return self.output_dtype if name == "forward" else self.dtypes.get(name, self.dtype)
