"""What is timed: an operator with options, in one direction, and the bytes and exponentials that it cannot do
without.

Note [What must move]
    Each input is read once and each output written once, whatever happens between: an implementation that
    keeps a row in the cache and fuses forward and backward moves no more. What a mode reads and writes is

        forward             reads input and target, writes the result
        backward            reads the upstream gradient and as much as the input (the input itself, or
                            what forward saved in its place, up to the finished gradient of a loss),
                            writes the gradient of the input
        forward + backward  reads input, target and upstream gradient, writes result and gradient

    nll_loss looks at one element of a row, so it reads one cache line of each. Its gradient does not depend
    on its input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import OPERATORS, Operator

FORWARD, BACKWARD, TRAINING = "forward", "backward", "forward+backward"
MODES = (FORWARD, BACKWARD, TRAINING)
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
INDEX = 8  # bytes of a class index
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
    values : str
        The distribution of ``input``, a name in `torch_loss_parity.cases.distributions`.
    options : mapping
        The options of a case that are not the operator's first.
    exponentials : (float, float)
        Transcendental functions for each element, forward and backward: exp, log and log1p count one each.
    """

    name: str
    operator: str
    values: str
    exponentials: tuple[float, float]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> Operator:
        return OPERATORS[self.operator]

    @property
    def by_element(self) -> bool:
        """Whether every element is its own row: then only the number of elements matters, not the shape."""
        return not self.record.targets_classes and "target" in self.record.options

    def case(self, dtype: str, shape: tuple[int, ...], seed: int) -> Case:
        """A case of this work, its loss the mean over a batch, as in training."""
        mean = {"reduction": "mean"} if "reduction" in self.record.options else {}
        return self.record.case(dtype, shape, self.values, mean | dict(self.options), seed)

    def transcendental(self, mode: str) -> float:
        forward, backward = self.exponentials
        return {FORWARD: forward, BACKWARD: backward, TRAINING: forward + backward}[mode]


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
    item = ITEMSIZE[dtype]
    (rows, classes), whole = shape, prod(shape) * item
    operand = rows * min(CACHE_LINE, classes * item) if work.operator == "nll_loss" else whole
    option = work.case(dtype, shape, 0).option
    target = 0
    if work.record.targets_classes:
        target = rows * INDEX if option.get("target", "indices") == "indices" else whole
    elif "target" in option:
        target = whole
    weight = classes * item if option.get("weight") and work.record.targets_classes else 0
    # The mean, or as much as the input; the same for the gradient from above.
    result = item if "reduction" in option else whole
    read = target + weight
    if mode == FORWARD:
        return Traffic(operand + read, result)
    if work.operator == "nll_loss":  # its gradient is a matrix of zeros, but for one element in each row
        return Traffic(
            read + result + (operand if mode == TRAINING else 0), whole + (result if mode == TRAINING else 0)
        )
    if mode == BACKWARD:
        return Traffic(operand + result, whole)
    return Traffic(operand + read + result, whole + result)


WORKS: Mapping[str, Work] = {
    work.name: work
    for work in (
        Work("softmax", "softmax", "normal", (1, 0)),
        Work("log_softmax", "log_softmax", "normal", (1, 1)),
        Work("nll_loss", "nll_loss", "log_probabilities", (0, 0)),
        Work("cross_entropy", "cross_entropy", "normal", (1, 1)),
        Work(
            "binary_cross_entropy",
            "binary_cross_entropy",
            "uniform_probabilities",
            (2, 0),
            {"target": "soft"},
        ),
        Work(
            "binary_cross_entropy_with_logits",
            "binary_cross_entropy_with_logits",
            "normal",
            (2, 1),
            {"target": "soft"},
        ),
        Work("nll_loss, weight", "nll_loss", "log_probabilities", (0, 0), {"weight": "positive"}),
        Work("cross_entropy, weight", "cross_entropy", "normal", (1, 1), {"weight": "positive"}),
        Work("cross_entropy, smoothing", "cross_entropy", "normal", (1, 1), {"label_smoothing": 0.1}),
        Work("cross_entropy, probabilities", "cross_entropy", "normal", (1, 1), {"target": "probabilities"}),
    )
}
PLAIN = tuple(name for name, work in WORKS.items() if name == work.operator)
VARIANTS = tuple(name for name in WORKS if name not in PLAIN)
