"""What operators of a family read and differentiate; see Note [What must move] in
`torch_loss_parity.benchmarks.workload`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from torch_loss_parity.operators.facets import Options, Shape

INDEX = 8  # bytes of a class index


def input_alone(shape: Shape, options: Options) -> Mapping[str, Shape]:
    """The input is differentiated."""
    return {"input": shape}


def input_and_layer(shape: Shape, options: Options) -> Mapping[str, Shape]:
    """The input and the layer, whose product is the logits."""
    rows, classes = shape
    return {"input": (rows, options["features"]), "linear_weight": (classes, options["features"])}


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
