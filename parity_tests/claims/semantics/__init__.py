"""What torch means: one row for each corner of an operator's domain.

Shapes, denominators, what is nan and what infinite, and what each gradient does there follow
torch.nn.functional; the numbers follow the definition. `torch_loss_parity.claims.semantics.test_semantics`
asks each row of a subject in every dtype, ``meta/test_reference_semantics.py`` of the definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch_loss_parity.claims.semantics import of_classes, of_elements
from torch_loss_parity.claims.semantics.record import BCE_LOGITS, CE, LOG_SOFTMAX, SOFTMAX, Row
from torch_loss_parity.operators import DTYPES

ROWS: tuple[Row, ...] = (*of_classes.ROWS, *of_elements.ROWS)


@dataclass(frozen=True, eq=False)
class Promotion:
    """Arguments of two dtypes: the result has the dtype that both promote to, or the one that is asked for.

    Attributes
    ----------
    other : str
        The argument of the other dtype.
    others : tuple of str
        The dtypes that it is tried in.
    arguments : mapping
        Numbers on which the operator is exact in every dtype.
    value, gradient : Any
        What comes out, and the gradient with respect to ``input``, exactly; none where ``input`` holds
        integers.
    """

    operator: str
    sentence: str
    other: str
    others: tuple[str, ...]
    arguments: dict[str, Any]
    value: Any
    gradient: Any = None


_MASKED: dict[str, Any] = {"input": [[0.0, -256.0]], "target": [[0.25, 0.75]]}
_LARGE: dict[str, Any] = {"input": [-256.0, 256.0], "target": [0.5, 0.25], "reduction": "sum"}
_TIE: dict[str, Any] = {"input": [1, 1], "dim": 0, "dtype": ""}
_FAR: dict[str, Any] = {"input": [0, 200], "dim": 0, "dtype": ""}
PROMOTIONS = (
    Promotion(CE, "a target of dtype", "target", DTYPES, _MASKED, 192.0, [[0.75, -0.75]]),
    Promotion(
        CE,
        "with probabilities, a weight of dtype",
        "weight",
        DTYPES,
        _MASKED | {"weight": [1.0, 1.0]},
        192.0,
        [[0.75, -0.75]],
    ),
    Promotion(BCE_LOGITS, "a target of dtype", "target", DTYPES, _LARGE, 320.0, [-0.5, 0.75]),
    Promotion(
        SOFTMAX, "with dtype given, an input of dtype", "input", ("int64", "uint8", "bool"), _TIE, [0.5, 0.5]
    ),
    Promotion(
        LOG_SOFTMAX, "with dtype given, an input of dtype", "input", ("int64", "uint8"), _FAR, [-200.0, 0.0]
    ),
)
