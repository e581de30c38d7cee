"""The facet of a record that the benchmarks read: what is timed of an operator, and what it cannot do
without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch_loss_parity.operators.facets import Gap, Options, Shape
from torch_loss_parity.operators.families import workloads

WHOLE_INPUT, ONE_OF_A_ROW = "the whole input", "one number of each row"
INPUT, TARGET = "input", "target"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What the benchmarks time of an operator.

    Attributes
    ----------
    values : str
        The distribution of ``input``.
    options : options
        Those of every call, besides the mean over a batch.
    variants : mapping of str to options
        What is timed besides, by name: options that choose another path.
    exponentials : (float, float)
        Transcendental functions for each element, forward and backward: exp, log and log1p count one each.
    reads : str
        What forward reads of the input: `WHOLE_INPUT`, or `ONE_OF_A_ROW`, a cache line of each.
    gradient_from : str
        What backward reads beside the upstream gradient: as much as the `INPUT` is, or what forward reads
        beside it, the `TARGET`, where the gradient does not depend on the input.
    beside : callable
        The bytes that forward reads beside the input, for a shape (rows, classes), the options of a case,
        and the bytes of an element.
    scipy : str or Gap
        The function of scipy.special.
    operands : callable
        The shapes of the arguments that are differentiated, ``input`` first, for a shape (rows, classes) and
        the options of a case.
    products : (int, int)
        Matrix products, each as large as that of the operands: those of forward, and what their gradients
        take besides.
    """

    values: str
    options: Options
    variants: Mapping[str, Options]
    exponentials: tuple[float, float]
    reads: str
    gradient_from: str
    beside: Callable[[Shape, Options, int], int]
    scipy: str | Gap
    operands: Callable[[Shape, Options], Mapping[str, Shape]] = workloads.input_alone
    products: tuple[int, int] = (0, 0)
