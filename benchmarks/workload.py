"""What is timed: an operator with options, in one direction, and the bytes, exponentials and matrix products
that it cannot do without.

Note [What must move]
    Each input is read once and each output written once, whatever happens between: an implementation that
    keeps a row in the cache and fuses forward and backward moves no more, and one that never holds the logits
    of a layer moves the layer alone. What a mode reads and writes is

        forward             reads input and target, writes the result
        backward            reads the upstream gradient and as much as the input (the input itself, or
                            what forward saved in its place, up to the finished gradient of a loss),
                            writes the gradient of the input, and of the layer
        forward + backward  reads input, target and upstream gradient, writes result and gradients

    What looks at one element of a row reads one cache line of each; and where the gradient does not depend on
    the input, backward reads the target in its place. That is said by the record of an operator, under
    `Workload`; what an operator does not have to move is said there too.

Note [What must be multiplied]
    Logits of a layer are a matrix product, and two more give the gradients of its factors. Forward may have
    made the gradients, so that backward alone needs none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import OPERATORS, Gap, Operator
from torch_loss_parity.operators.facets_workload import INPUT, ONE_OF_A_ROW, Workload

FORWARD, BACKWARD, TRAINING = "forward", "backward", "forward+backward"
MODES = (FORWARD, BACKWARD, TRAINING)
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
CACHE_LINE = 64  # bytes: the least that is fetched


@dataclass(frozen=True)
class Work:
    """An operator with options.

    Attributes
    ----------
    name : str
        As it is shown: the operator, and the options that change its path.
    operator : str
        A name in `torch_loss_parity.operators.OPERATORS`.
    options : mapping
        The options of a case that are not the operator's first.
    outside : str
        What of it the subject of the run does not promise.
    """

    name: str
    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    outside: str = ""

    @property
    def record(self) -> Operator:
        return OPERATORS[self.operator]

    @property
    def facet(self) -> Workload:
        """What the record says."""
        facet = self.record.workload
        assert not isinstance(facet, Gap), f"{self.operator} is not timed: {facet.why}"
        return facet

    @property
    def by_element(self) -> bool:
        """Whether every element is its own row: then only the number of elements matters, not the shape."""
        return not self.record.family.has_rows

    def case(self, dtype: str, shape: tuple[int, ...], seed: int) -> Case:
        """A case of this work, its loss the mean over a batch, as in training."""
        return self.record.case(dtype, shape, self.facet.values, self._given, seed)

    @property
    def _given(self) -> dict[str, Any]:
        mean = {"reduction": "mean"} if "reduction" in self.record.options else {}
        return mean | dict(self.options)

    @property
    def every_option(self) -> Mapping[str, Any]:
        """All options of a case."""
        return {name: values[0] for name, values in self.record.options.items()} | self._given

    def transcendental(self, mode: str) -> float:
        forward, backward = self.facet.exponentials
        return {FORWARD: forward, BACKWARD: backward, TRAINING: forward + backward}[mode]

    def products(self, mode: str) -> int:
        """See Note [What must be multiplied]."""
        forward, gradients = self.facet.products
        return {FORWARD: forward, BACKWARD: 0, TRAINING: forward + gradients}[mode]

    def operands(self, shape: tuple[int, ...]) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the arguments that are differentiated, by name."""
        return self.facet.operands(shape, self.every_option)

    @property
    def gradients(self) -> tuple[str, ...]:
        """The arguments that are differentiated."""
        return tuple(self.operands((1, 1)))

    def flops(self, mode: str, shape: tuple[int, ...]) -> int:
        """Multiplications and additions of the matrix products of one call."""
        of_each = prod(shape) * self.operands(shape)[INPUT][-1]
        return 2 * of_each * self.products(mode)


@dataclass(frozen=True)
class Traffic:
    """Bytes that must be read and written."""

    reads: int
    writes: int

    @property
    def bytes(self) -> int:
        return self.reads + self.writes


def traffic(work: Work, mode: str, shape: tuple[int, ...], dtype: str) -> Traffic:
    """The bytes that ``work`` must move in one call, see Note [What must move].

    Raises
    ------
    ValueError
        If ``mode`` is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; choose from {', '.join(MODES)}")
    item, facet = ITEMSIZE[dtype], work.facet
    (rows, classes), operands = shape, work.operands(shape)
    whole = item * sum(map(prod, operands.values()))
    operand = rows * min(CACHE_LINE, classes * item) if facet.reads == ONE_OF_A_ROW else whole
    option = work.case(dtype, shape, 0).option
    beside = facet.beside(shape, option, item)
    # The mean, or what the shape of the input makes; the same for the gradient from above.
    given = {name: np.broadcast_to(np.float64(0), each) for name, each in operands.items()}
    result = prod(work.record.result_shape({**option, **given})) * item
    if mode == FORWARD:
        return Traffic(operand + beside, result)
    if mode == BACKWARD:
        return Traffic((operand if facet.gradient_from == INPUT else beside) + result, whole)
    return Traffic(operand + beside + result, whole + result)


def works() -> Iterator[Work]:
    """The operators, and then their variants."""
    timed = {
        name: record.workload for name, record in OPERATORS.items() if not isinstance(record.workload, Gap)
    }
    for name, facet in timed.items():
        yield Work(name, name, facet.options)
    for name, facet in timed.items():
        for variant, options in facet.variants.items():
            yield Work(f"{name}, {variant}", name, {**facet.options, **options})


def not_timed(operators: Iterable[str]) -> tuple[str, ...]:
    """Which of these operators have no workload, each with the reason."""
    facets = {name: OPERATORS[name].workload for name in operators}
    return tuple(f"{name}: {facet.why}" for name, facet in facets.items() if isinstance(facet, Gap))


def seeded(text: str, seed: int) -> int:
    """A seed of its own for each work, the same on every machine."""
    return crc32(f"{seed} {text}".encode())


WORKS: Mapping[str, Work] = {work.name: work for work in works()}
PLAIN = tuple(name for name, work in WORKS.items() if name == work.operator)
VARIANTS = tuple(name for name in WORKS if name not in PLAIN)


def is_plain(name: str) -> bool:
    """Whether the name of a work is that of an operator, with what a subject promises instead: NAME=VALUE."""
    operator, *replaced = name.split(", ")
    return operator in PLAIN and all("=" in each for each in replaced)
