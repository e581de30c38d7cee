"""Results as log-probabilities, for those who match a trainer with a sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# And the dimension along which a row holds all classes; None where each is that of a single token.
AsLogProbabilities = tuple[np.ndarray, int | None]


def as_it_is(arguments: Mapping[str, Any], result: np.ndarray) -> AsLogProbabilities:
    """Of log_softmax."""
    return result, arguments["dim"]


def of_probabilities(arguments: Mapping[str, Any], result: np.ndarray) -> AsLogProbabilities:
    """The logarithms of a softmax."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(result), arguments["dim"]


def of_losses(arguments: Mapping[str, Any], result: np.ndarray) -> AsLogProbabilities | None:
    """Minus the losses of class indices where nothing is reduced, weighted, smoothed or added, of rows that
    count; None of other losses.
    """
    target = arguments["target"]
    plain = arguments["reduction"] == "none" and arguments["weight"] is None
    others = arguments["label_smoothing"] or arguments.get("z_loss")
    if target.dtype.kind not in "iu" or not plain or others:
        return None
    return -result[(target != arguments["ignore_index"]).reshape(result.shape)], None
