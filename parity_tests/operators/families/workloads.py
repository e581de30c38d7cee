"""The bytes that operators of a family read beside the input; see Note [What must move] in
`torch_loss_parity.benchmarks.workload`.
"""

from __future__ import annotations

from math import prod

from torch_loss_parity.operators.facets import Options, Shape

INDEX = 8  # bytes of a class index


def nothing(shape: Shape, options: Options, item: int) -> int:
    """Rows have the input alone."""
    return 0


def target_and_class_weights(shape: Shape, options: Options, item: int) -> int:
    """A class index for each row, or as many class probabilities as the input has numbers; and a weight for
    each class.
    """
    rows, classes = shape
    indices = options.get("target", "indices") == "indices"
    targets = rows * INDEX if indices else prod(shape) * item
    return targets + (classes * item if options.get("weight") else 0)


def target(shape: Shape, options: Options, item: int) -> int:
    """A target for each element."""
    return prod(shape) * item
