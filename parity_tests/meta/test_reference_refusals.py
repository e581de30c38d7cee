"""The definition refuses malformed arguments with torch's exception type, and with a message that says what
to change.

Every row of the facet ``refusals`` of an operator's record that is not about torch alone, on NumPy and on
torch, in float64.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity import reference
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.refusals import Refusal, T, X

ASKED = [
    (operator, refusal)
    for operator in OPERATORS.values()
    for refusal in each(operator.refusals)
    if not refusal.torch_alone
]
ROWS = [name for name, operator in OPERATORS.items() if operator.family.name == "rows"]


def as_torch(argument: Any, name: str) -> Any:
    if name == "dtype":
        return getattr(torch, argument)
    return torch.tensor(np.asarray(argument)) if isinstance(argument, (np.ndarray, np.generic)) else argument


@pytest.mark.parametrize(
    ("operator", "refusal"),
    ASKED,
    ids=[f"{operator.name}: {refusal.sentence}" for operator, refusal in ASKED],
)
def test_refuses_as_torch_does(operator: Operator, refusal: Refusal) -> None:
    """The exception has torch's type, exactly, and the message holds the words."""
    arrays = refusal.in_dtype("float64")
    tensors = {name: as_torch(argument, name) for name, argument in arrays.items()}
    for arguments in (arrays, tensors):
        with pytest.raises(refusal.exception) as caught:
            operator.forward(**arguments)
        assert caught.type is refusal.exception
        missing = [word for word in refusal.words if word not in str(caught.value)]
        assert not missing, f"{caught.value} does not say {missing}"


MIXTURES = {
    "input": {"input": X.tolist(), "target": X},
    "target": {"input": X, "target": T.tolist()},
    "weight": {"input": X, "target": X, "weight": [1.0, 1.0, 1.0]},
    "target is torch": {"input": X, "target": torch.tensor(X)},
    "input is torch": {"input": torch.tensor(X), "target": X},
}


@pytest.mark.parametrize("words", MIXTURES)
@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in ROWS])
def test_wants_arrays_of_one_library(name: str, words: str) -> None:
    """A plain list, or arrays of two libraries, is a TypeError that names the arguments."""
    layer = {"linear_weight": np.ones((3, 3))} if name == "linear_cross_entropy" else {}
    with pytest.raises(TypeError, match=re.escape(words)):
        getattr(reference, name)(**MIXTURES[words], **layer)


def test_wants_pos_weight_of_the_same_library() -> None:
    with pytest.raises(TypeError, match="pos_weight is torch"):
        reference.binary_cross_entropy_with_logits(X, X, pos_weight=torch.ones(3))


@pytest.mark.parametrize("name", ROWS)
def test_softmax_wants_an_array(name: str) -> None:
    with pytest.raises(TypeError, match="input must be an array"):
        getattr(reference, name)([0.0, 1.0], dim=0)


@pytest.mark.parametrize("name", ROWS)
def test_the_derivative_wants_a_gradient_of_the_output_shape(name: str) -> None:
    shape = OPERATORS[name].result_shape({"input": X, "dim": 1})
    words = f"grad_output has shape (3,); it must have the shape of the output, {shape}"
    with pytest.raises(RuntimeError, match=re.escape(words)):
        getattr(reference, f"{name}_backward")(X[0], X, 1)
