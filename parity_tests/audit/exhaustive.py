"""Every input there is: what is exhausted, and how a part of it is measured.

Note [What is exhausted]
    What the record of an operator says under `EveryNumber`. Of elements, every logit, or every probability in
    [0, 1], with the targets 0 and 1 and some between. Of rows, every pair (x, 0) and (0, x), as a vectorised
    loop need not treat both places alike; with either class, if there are classes to name. The gradients are
    those for an upstream gradient of 1, of 1 and 0 for the two classes of a row (the gradient of softmax is
    blind to a constant), and for random ones, which are a hash of the element's number.

    Inputs are numbered by their bit patterns, and elements by inputs: the elements that belong to one input
    come one after the other. So a part is a range of patterns, and an element is found again from its number
    alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from zlib import crc32

import numpy as np

from torch_loss_parity.audit.operator_facets import audited, every_number, targets_of
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge import output_shape
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.facets_audit import EveryNumber
from torch_loss_parity.reference.arithmetic.formats import FORMATS

UPSTREAM = ("1", "random")
# The pattern of 1: those up to it are the numbers in [0, 1].
ONE = {"float16": 0x3C00, "bfloat16": 0x3F80, "float32": 0x3F800000}


@dataclass(frozen=True)
class Sweep:
    """All inputs of an operator in a dtype, with one kind of target.

    Attributes
    ----------
    operator, dtype : str
    target : str
        A name among the targets that the record has for every number.
    seed : int
        Of the random upstream gradient.
    """

    operator: str
    dtype: str
    target: str = ""
    seed: int = 0

    @property
    def patterns(self) -> int:
        """The number of inputs."""
        return (
            ONE[self.dtype] + 1 if self.is_of_probabilities else 2 ** (16 if self.dtype != "float32" else 32)
        )

    @property
    def facet(self) -> EveryNumber:
        """What the record says."""
        facet = every_number(self.operator)
        assert not isinstance(facet, Gap), f"{self.operator}: {facet.why}"
        return facet

    @property
    def is_of_probabilities(self) -> bool:
        """Whether the inputs are numbers of [0, 1]."""
        return "input" in audited(self.operator).probabilities

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.operator, self.dtype, self.target) if part)

    @property
    def what(self) -> str:
        """The inputs in words."""
        return f"every {self.dtype} {self.facet.inputs}"

    def inputs(self, first: int, count: int) -> np.ndarray:
        """The numbers with these patterns, widened."""
        return self.numbers(np.arange(first, first + count, dtype=np.uint32))

    def numbers(self, patterns: np.ndarray) -> np.ndarray:
        """The numbers with these patterns (uint32), widened."""
        with np.errstate(invalid="ignore"):  # nan among them
            if self.dtype == "float16":
                return patterns.astype(np.uint16).view(np.float16).astype(np.float64)
            return (
                (patterns << np.uint32(16 if self.dtype == "bfloat16" else 0))
                .view(np.float32)
                .astype(np.float64)
            )

    def call(self, first: int, count: int) -> Call:
        """The operator on a range of inputs."""
        return self.call_on(self.inputs(first, count))

    def call_on(self, x: np.ndarray) -> Call:
        """The operator on these inputs."""
        record, target = OPERATORS[self.operator], self.facet.targets[self.target]
        values = FORMATS[self.dtype].round(np.asarray(target.values, dtype=np.float64))
        placed = self.facet.place(x, values)
        smallest = (1, 2) if record.family.has_rows else (1,)  # what is drawn is replaced
        drawn = record.call(record.case(self.dtype, smallest, next(iter(record.values)), target.options, 0))
        arguments = {name: placed.get(name, value) for name, value in drawn.arguments.items()}
        return replace(drawn, arguments=arguments, facts={**drawn.facts, "values": self.what})

    def grad_output(self, kind: str, call: Call, first: int) -> np.ndarray:
        """An upstream gradient for the call on the inputs from ``first`` on; see Note [What is exhausted]."""
        shape = output_shape(call)
        if kind == "1":
            return np.ones(shape) if len(shape) == 1 else np.broadcast_to([1.0, 0.0], shape).copy()
        number = np.arange(prod(shape), dtype=np.uint64) + np.uint64(first * self.of_each(FORWARD))
        return (
            FORMATS[self.dtype]
            .round(2 * _hashed(number, crc32(f"{self.name} {self.seed}".encode())) - 1)
            .reshape(shape)
        )

    def of_each(self, quantity: str) -> int:
        """How many elements of a result belong to one input."""
        return _of_each(self.operator, self.dtype, self.target)[quantity]


@cache
def _of_each(operator: str, dtype: str, target: str) -> Mapping[str, int]:
    call = Sweep(operator, dtype, target).call_on(np.zeros(1))
    sizes = {name: call.arguments[name].size for name in call.differentiable}
    return {FORWARD: prod(output_shape(call)), **sizes}


def _hashed(number: np.ndarray, key: int) -> np.ndarray:
    """Numbers in [0, 1) that look random: splitmix64 (Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        z = (number + np.uint64(key)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sweeps(operators: Sequence[str], dtypes: Sequence[str], seed: int = 0) -> list[Sweep]:
    """Everything that is exhausted for these operators, in those of these dtypes that can be."""
    return [
        Sweep(operator, dtype, target, seed)
        for operator in operators
        for dtype in dtypes
        if dtype in ONE
        for target in targets_of(operator)
    ]


def quantities(sweep: Sweep) -> list[tuple[str, str]]:
    """The results of a sweep: each quantity, and the kind of upstream gradient."""
    gradients = sweep.call_on(np.zeros(1)).differentiable
    return [(FORWARD, ""), *((quantity, kind) for kind in UPSTREAM for quantity in gradients)]
