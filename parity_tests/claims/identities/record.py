"""One record an identity: its name, the operators it speaks of, and the composition that yields what must
agree.

An identity speaks of operators by name, as an equation does, or of a family. Which inputs it is tried on is a
facet of the operator.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from types import ModuleType, SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np

from torch_loss_parity.claims.identities.functions import CallFailed, Functions
from torch_loss_parity.operators import DTYPES, OPERATORS, Gap, Operator
from torch_loss_parity.operators.dealing import hand
from torch_loss_parity.operators.facets import Family, Identities, Options, Shape
from torch_loss_parity.subjects.declined import OutsideThePromise

Pair = tuple[str, Any, Any]
"""What is compared ("forward", or the argument whose gradient is meant), the left side and the right side."""

Compose = Callable[[Any, Any], Iterator[Pair]]


@dataclass(frozen=True)
class Variant:
    """The options of one comparison, the shape of the input, and the seed of every number."""

    options: Options
    shape: Shape
    seed: int

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{'x'.join(map(str, self.shape))} {options} seed={self.seed}"


@dataclass(frozen=True)
class Identity:
    """An identity of one or several operators.

    Attributes
    ----------
    name : str
        The identity as a sentence or an equation.
    of : tuple of str and Family
        What it speaks of: operators by name, and all of a family.
    takes : tuple of str
        Options that an operator must have.
    needs : tuple of str
        What else it is composed of.
    compose : callable
        Takes functions and inputs and yields pairs.
    options : mapping of str to tuple
        The values of an operator's options to which the identity is restricted: of those of its facet
        ``identities``.
    shapes : tuple
        The shapes to which it is restricted, if to any.
    """

    name: str
    of: tuple[str | Family, ...]
    takes: tuple[str, ...]
    needs: tuple[str, ...]
    compose: Compose
    options: Mapping[str, tuple[Any, ...]]
    shapes: tuple[Shape, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators for each of which it is checked, and counted."""
        return tuple(operator.name for operator in OPERATORS.values() if self.speaks_of(operator))

    def speaks_of(self, operator: Operator) -> bool:
        """Whether it is an identity of ``operator``, on inputs that the operator's record draws."""
        facet, families = operator.identities, [each.name for each in self.of if isinstance(each, Family)]
        if isinstance(facet, Gap) or self.name in facet.exceptions:
            return False
        return (
            (operator.name in self.of or operator.family.name in families)
            and set(self.takes) <= set(operator.options)
            and all(set(values) & set(facet.options.get(name, ())) for name, values in self.options.items())
        )

    @property
    def source(self) -> str:
        return textwrap.dedent(inspect.getsource(self.compose))

    def variants(
        self,
        operator: str,
        dtype: str,
        effort: str,
        seed: int,
        dtypes: Sequence[str] = DTYPES,
        inputs: Identities | None = None,
    ) -> Iterator[Variant]:
        """Options that meet, and shapes in turn: those of ``inputs``, or of the operator's record.

        At standard effort every two option values meet, in one of ``dtypes``, those of the run. Quick effort
        has one variant; thorough all options with all, in every shape, large ones too.
        """
        inputs = inputs or inputs_of(operator)
        allowed = {
            name: [v for v in values if v in self.options.get(name, values)]
            for name, values in inputs.options.items()
        }
        rows = list(enumerate(dict(zip(allowed, row, strict=True)) for row in product(*allowed.values())))
        shapes = self.shapes or inputs.shapes
        if effort == "thorough":
            shapes = self.shapes or (*shapes, *inputs.large_shapes)
            yield from (
                Variant(options, shape, seed + number) for number, options in rows for shape in shapes
            )
            return
        rows = _every_pair(rows)
        if effort == "standard" and OPERATORS[operator].family.dealt_out:
            rows = rows[seed % 2 :: 2]  # every pair in two seeds
        rows = rows[:1] if effort == "quick" else rows[hand(operator, dtype, dtypes, seed)] or rows[:1]
        for number, options in rows:
            yield Variant(options, shapes[(number + seed) % len(shapes)], seed + number)

    def draw(self, operator: str, dtype: str, variant: Variant) -> dict[str, Any]:
        """The inputs of one variant, the same on every machine."""
        rng = np.random.Generator(np.random.Philox(crc32(f"{operator} {self.name} {variant}".encode())))
        return inputs_of(operator).draw(rng, dtype, variant.shape, **variant.options)

    def pairs(self, functions: Functions, inputs: Mapping[str, Any]) -> list[Pair]:
        """The identity in the arithmetic of ``functions``.

        The inputs are also there as they were drawn, as ``drawn``. Pairs come to an end before the first
        gradient that is not promised.
        """
        drawn = SimpleNamespace(**_as_arguments(functions, inputs), drawn=SimpleNamespace(**inputs))
        pairs: list[Pair] = []
        try:
            with np.errstate(all="ignore"):
                for pair in self.compose(functions, drawn):
                    pairs.append(pair)  # noqa: PERF402, those before one that raises are kept
        except CallFailed as failed:
            if not (pairs and isinstance(failed.__cause__, OutsideThePromise)):
                raise
        return pairs


def inputs_of(operator: str) -> Identities:
    """The inputs of identities of an operator.

    Raises
    ------
    ValueError
        If it has none.
    """
    facet = OPERATORS[operator].identities
    if isinstance(facet, Gap):
        raise ValueError(f"there are no identities of {operator}: {facet.why}")
    return facet


def _every_pair(rows: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """Of all rows so many that every two values that meet in any of them meet: whichever row adds most comes
    next.
    """

    def met(row: tuple[int, dict[str, Any]]) -> set[Any]:
        return set(combinations(row[1].items(), min(2, len(row[1]))))

    missing: set[Any] = set().union(*map(met, rows))
    chosen = []
    while missing:
        chosen.append(max(rows, key=lambda row: len(met(row) & missing)))
        missing -= met(chosen[-1])
    return chosen


def _as_arguments(functions: Functions, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return functions.argument(value)
    return (
        {name: _as_arguments(functions, item) for name, item in value.items()}
        if isinstance(value, Mapping)
        else value
    )


def identity(
    name: str,
    *of: str | Family,
    takes: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    shapes: tuple[Shape, ...] = (),
    **options: tuple[Any, ...],
) -> Callable[[Compose], Identity]:
    """The identity that the decorated composition states."""
    return lambda compose: Identity(name, of, takes, needs, compose, options, shapes)


def of_module(module: ModuleType) -> tuple[Identity, ...]:
    """The identities that a module states, in the order in which they stand there."""
    return tuple(value for value in vars(module).values() if isinstance(value, Identity))
