"""The facets of an operator's record, one small type each; see Note [Facets] in
`torch_loss_parity.operators.record`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.cases.distributions import Distribution

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

Shape = tuple[int, ...]
Options = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Gap:
    """What an operator does not have, and why."""

    why: str

    def __post_init__(self) -> None:
        if not self.why.strip():
            raise ValueError("a Gap says why")


def each(facet: tuple[T, ...] | Gap) -> tuple[T, ...]:
    """What a facet holds; nothing where there is a gap."""
    return () if isinstance(facet, Gap) else facet


@dataclass(frozen=True, kw_only=True)
class Family:
    """What operators have in common: what of the input belongs together.

    Attributes
    ----------
    name : str
        "rows" (along ``dim``), "classes" (rows of classes that a target names) or "elements" (each for
        itself).
    targets_classes : bool
        Whether the second dimension (the only one of a 1-D input) holds classes that targets name.
    acts_on_elements : bool
        Whether each element of an unreduced result depends on the same element of its arguments alone.
    along_dim : bool
        Whether the argument ``dim`` says where rows lie.
    regions : callable
        The stretches of the domain of an operator of the family, in the order in which they run.
    square : tuple of options
        Options for square shapes, in which one dimension may be taken for another.
    shared : (shape, weight)
        The shape of a call whose arguments share memory, and its kind of weight.
    mapped : tuple of shape
        Small shapes for transforms: all arguments of a slice fit in a failure's script. None has a dimension
        of the size of the batch, so that two swapped show.
    axis : callable
        The dimension that a row of the input lies along, for the arguments of a call; None where elements
        stand for themselves.
    target_kind : callable
        The value of the option ``target`` that a target has.
    dealt_out : bool
        Whether a case is so costly that dtypes share all of them at standard effort: each case of each kind
        of claim is for one dtype only, another one with the next seed, and each seed takes every other one.
    """

    name: str
    targets_classes: bool
    acts_on_elements: bool
    along_dim: bool
    regions: Callable[[Operator], Iterator[Region]]
    square: tuple[Options, ...]
    shared: tuple[Shape, str]
    mapped: tuple[Shape, ...]
    axis: Callable[[Mapping[str, Any]], int | None]
    target_kind: Callable[[np.ndarray], str]
    dealt_out: bool

    @property
    def has_rows(self) -> bool:
        """Whether numbers belong together in rows; if not, each element stands for itself."""
        return not self.acts_on_elements


@dataclass(frozen=True)
class Region:
    """A stretch of the domain of an operator.

    Its tables are walked together: case number i takes the i-th shape, the i-th options and the i-th
    distribution, each table starting over at its end, until the longest has been seen.

    Attributes
    ----------
    name : str
        Completes "the bound holds for ...".
    shapes, options, values : sequence
        Walked together. Without ``values``, those that every claim meets, which do not add to the number of
        cases.
    options_of : mapping of str to sequence
        In place of ``options``, those of each dtype.
    dealt_out : bool
        Whether each case is for one dtype only.
    at_least : int
        How many of its cases are met at quick effort, where there are so many.
    """

    name: str
    shapes: Sequence[Shape]
    options: Sequence[Options] = ({},)
    values: Sequence[str] = ()
    options_of: Mapping[str, Sequence[Options]] = field(default_factory=dict)
    dealt_out: bool = False
    at_least: int = 3

    @property
    def elements(self) -> int:
        """The size of the smallest input."""
        return min(map(prod, self.shapes))


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What only the claim about the domain meets, as most other claims would decide nothing there.

    Attributes
    ----------
    values : mapping of str to distribution
    marked : str
        The distribution of rows that are equal but for their first number, whose results are exact at any
        length.
    masked : str
        That of rows whose numbers are -inf but for the first, or the first and the last.
    options : mapping of str to tuple
        An option named ``weight_dtype`` gives the argument ``weight`` another dtype than the case's.
    dtypes : mapping of str to sequence
        Options in which arguments have other dtypes, by the dtype of the case.
    copies : mapping of str to int
        Arrays of the input's size that are alive at once, of "forward" and "gradients": arguments, result,
        gradients, and what the composition of torch keeps.
    """

    values: Mapping[str, Distribution]
    marked: str
    masked: str | Gap
    options: Mapping[str, tuple[Any, ...]]
    dtypes: Mapping[str, Sequence[Options]] | Gap
    copies: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """How results lie in memory, and what is called on views.

    Attributes
    ----------
    result : str
        The layout of what torch returns without reduction: "contiguous", or "kept", as
        torch.empty_like(input) has it.
    views : tuple of (shape, options)
    """

    result: str
    views: tuple[tuple[Shape, Options], ...]


@dataclass(frozen=True, kw_only=True)
class Identities:
    """The inputs on which identities of an operator are tried; see `torch_loss_parity.claims.identities`.

    Attributes
    ----------
    draw : callable
        Makes what an identity is composed of: ``input``, ``options`` and ``grad`` at least, with a
        ``target``, weights and permutations where there are any. Takes a generator, a dtype, a shape, and
        a value of each of ``options``.
    shapes, large_shapes : tuple of shape
        Of the input; the large ones for thorough effort.
    options : mapping of str to tuple
        What is drawn for one comparison and not for another.
    exceptions : mapping of str to str
        The identities of its family that the operator does not obey, and why.
    """

    draw: Callable[..., dict[str, Any]]
    shapes: tuple[Shape, ...]
    large_shapes: tuple[Shape, ...]
    options: Mapping[str, tuple[Any, ...]]
    exceptions: Mapping[str, str]


DrawShape = Callable[[np.random.Generator, Shape], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class BitCalls:
    """Calls of an operator that differ in their size alone, and whose bits are compared.

    Attributes
    ----------
    where : str
        Where the rows lie, or what is reduced: completes the operator's name to the name of a row of the
        table.
    shape : callable
        Of the input, from the number and the length of rows.
    batch : int or None
        The dimension along which rows are stacked; None if they are reduced to one number.
    input : callable
        Draws the input of a shape.
    target : str
        "indices", "probabilities" (one for each element of the input) or "", for none.
    weights : tuple of str
        Weights along the row, which all rows share.
    options : mapping
        The operator's own.
    """

    where: str
    shape: Callable[[int, int], Shape]
    batch: int | None
    input: DrawShape
    target: str
    weights: tuple[str, ...]
    options: Options


AS_GIVEN, SINGLE, REFUSED = "as given", "float32", "refused"


@dataclass(frozen=True, kw_only=True)
class Autocast:
    """The dtype that half precision is computed in under torch.autocast, by device: `AS_GIVEN`, `SINGLE` or
    `REFUSED`; and the arguments of a matrix product, which are rounded to the dtype of autocast unless they
    have 64 bits.
    """

    cpu: str
    cuda: str
    factors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Modules:
    """The classes of torch.nn.

    Attributes
    ----------
    name : str
    of_images : str or Gap
        The class for images, that of rows of channels at each pixel.
    """

    name: str
    of_images: str | Gap


@dataclass(frozen=True)
class Compiled:
    """A call that is compiled: the shape and the distribution of the input, and options."""

    shape: Shape
    values: str
    options: Options


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A call behind a rewrite that a compiler has got wrong: what a compiled function does around it.

    Attributes
    ----------
    name : str
    judged : mapping
        The arguments that reach the operator, in the order of its signature.
    given : mapping
        Those that the compiled function is given.
    before : callable, optional
        What it does to the input first.
    summed : bool
        Whether it adds up the result along the last dimension.
    beside : callable, optional
        What it makes of input and result besides, and returns too.
    """

    name: str
    judged: Options
    given: Options
    before: Callable[..., Any] | None = None
    summed: bool = False
    beside: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return self.name

    def call(self, operator: Operator, dtype: str) -> Call:
        """The operator on what the compiled function is given."""
        return Call(operator.name, self.given, dtype, dtype)

    def expects(self, operator: Operator, dtype: str) -> Call:
        """The operator on what reaches it."""
        return Call(operator.name, self.judged, dtype, dtype)


def dims_of(dim: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """The dimensions that an argument ``dim`` names, one or several, counted from the front."""
    named = (dim,) if isinstance(dim, int) else dim
    return tuple(each % max(ndim, 1) for each in named)


def lies_last(options: Options, shape: Shape) -> bool:
    """Whether rows lie along the last dimension, or along several and that is one of them, for a condition in
    the ledger.
    """
    dim = options.get("dim")
    return dim is None or not shape or len(shape) - 1 in dims_of(dim, len(shape))
