"""What the tutorials print, to the digits that they print."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Printed(NamedTuple):
    value: Tensor
    half_unit: Tensor


def printed(text: str) -> Printed:
    """Numbers as a tutorial prints them, in float64, and half a unit of the last printed digit of each."""
    numbers = np.asarray(json.loads(text, parse_float=Decimal, parse_int=Decimal), dtype=object)
    half_units = np.vectorize(
        lambda number: Decimal(5).scaleb(number.as_tuple().exponent - 1), otypes=[object]
    )(numbers)
    return Printed(
        torch.from_numpy(numbers.astype(float)), torch.from_numpy(np.asarray(half_units).astype(float))
    )


def exactly(values: Tensor) -> Printed:
    return Printed(values, torch.zeros_like(values))


# "Understanding Cross-Entropy Loss"
THREE_LOGITS = torch.tensor([[-9, 5, 10]], dtype=torch.double)
THREE_PROBABILITIES = printed("[[5.5653e-09, 6.6929e-03, 9.9331e-01]]")
MODEL_OUTPUT = printed("""[[-0.7514, 1.2616, -0.4232, 1.3868, 1.2298],
                           [ 1.5341, -0.4240, 0.0112, -0.5188, 0.1129],
                           [-2.6143, 0.1532, 0.0868, -0.8231, 0.7698]]""")
CLASSES = torch.tensor([3, 0, 1])
MODEL_SOFTMAX = printed("""[[0.0390, 0.2923, 0.0542, 0.3313, 0.2832],
                            [0.5784, 0.0816, 0.1261, 0.0742, 0.1396],
                            [0.0149, 0.2365, 0.2213, 0.0891, 0.4382]]""")
MODEL_LOG_SOFTMAX = printed("""[[-3.2429, -1.2300, -2.9147, -1.1048, -1.2618],
                                [-0.5476, -2.5056, -2.0705, -2.6004, -1.9687],
                                [-4.2092, -1.4417, -1.5081, -2.4180, -0.8251]]""")
MODEL_LOSS = printed("1.0314")

# "Cross Entropy", the notebook
TWO_CLASS_LAYER = printed(
    "[[-0.7833, -0.6955], [-0.3951, -1.2426], [0.5134, -1.4385], [-0.5044, 0.4975], [-1.4518, -1.5407]]"
)
TWO_CLASS_SIGMOID = printed(
    "[[0.3136, 0.3328], [0.4025, 0.2240], [0.6256, 0.1918], [0.3765, 0.6219], [0.1897, 0.1764]]"
)
TWO_CLASS_TRUTH = torch.tensor([0, 0, 0, 1, 0])
TWO_CLASS_ONE_HOT = torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1], [1, 0]])
TWO_CLASS_LOSS = printed("0.6149")
ROW_ENTROPIES = printed("""[[1.6729376316070557, 0.0], [1.3129408359527588, 0.0], [0.676690399646759, 0.0],
                            [0.0, 0.6853156685829163], [2.3980143070220947, 0.0]]""")
LABELS_LAYER = printed("""[[-2.0245, 0.2092, 0.5374], [-0.6163, 1.1205, 0.4234], [0.7822, 0.8506, 0.2875],
                           [1.0529, 1.7423, 0.5177], [0.5219, -0.5256, -1.3008]]""")
LABELS_SIGMOID = printed("""[[0.1167, 0.5521, 0.6312], [0.3506, 0.7541, 0.6043], [0.6861, 0.7007, 0.5714],
                             [0.7413, 0.8510, 0.6266], [0.6276, 0.3715, 0.2140]]""")
LABELS = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1], [1, 0, 0]], dtype=torch.double)
LABELS_LOSS = printed("0.5796")
BEYOND_SIGMOID = printed("""[[0.3793, 0.7710, 0.5964], [0.9048, 0.8805, 0.4903], [0.2629, 0.6860, 0.6095],
                             [0.5221, 0.2022, 0.6634], [0.1605, 0.3513, 0.6699]]""")
BEYOND_LABELS = torch.tensor([[0, 4, 0], [2, 2, 1], [2, 1, 2], [4, 4, 2], [2, 2, 1]], dtype=torch.double)
BEYOND_LOSS = printed("0.5911")
BEYOND_LOSS_OF_THE_PRINTED_DIGITS = printed("0.5909")  # not in the notebook
XOR_INPUT = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.double)
XOR_TRUTH = torch.tensor([0, 1, 1, 0])
XOR_PARAMETERS = (
    printed("[[0.6037, -0.0889], [0.6657, 0.2893], [-0.4809, -0.2565], [-0.3140, 0.6397], [0.4835, 0.2135]]"),
    printed("[-0.2218, 0.2330, 0.6987, -0.1540, 0.1504]"),
    printed("[[-0.2135, -0.2679, 0.2896, -0.0270, 0.0190], [0.0608, 0.2798, -0.4467, -0.3066, 0.3231]]"),
    printed("[-0.3147, 0.1126]"),
)
XOR_LEARNING_RATE = 0.03
XOR_PREDICTIONS = printed("[[0.4089, 0.5076], [0.4006, 0.5109], [0.3846, 0.5483], [0.3770, 0.5506]]")
XOR_LOSS = printed("0.6954")
XOR_GRADIENT = printed("""[[3.5187e-04, 2.5118e-04], [8.1553e-05, -4.9206e-04], [-9.7865e-04, -9.6398e-04],
                           [-4.5266e-04, -3.8973e-04], [1.8965e-04, -2.3537e-05]]""")

# "Cross-Entropy Loss: softmax and log likelihood", the notebook
ACTIVATIONS = printed("""[[2.3771, -2.8988], [-2.6314, 0.1466], [1.1035, 0.5041],
                          [-3.1179, -2.0637], [3.7481, -1.0225], [-2.2668, 1.5217]]""")
SIGMOIDS = printed("""[[0.9151, 0.0522], [0.0671, 0.5366], [0.7509, 0.6234],
                       [0.0424, 0.1127], [0.9770, 0.2646], [0.0939, 0.8208]]""")
SIGMOID_OF_DIFFERENCE = printed("[0.9949, 0.0585, 0.6455, 0.2584, 0.9916, 0.0221]")
SOFTMAX = printed("""[[0.9949, 0.0051], [0.0585, 0.9415], [0.6455, 0.3545],
                      [0.2584, 0.7416], [0.9916, 0.0084], [0.0221, 0.9779]]""")
TARGET = torch.tensor([0, 1, 0, 1, 1, 0])
SELECTED = printed("[0.9949, 0.9415, 0.6455, 0.7416, 0.0084, 0.0221]")
MINUS_SELECTED = printed("[-0.9949, -0.9415, -0.6455, -0.7416, -0.0084, -0.0221]")
LOSSES = printed("[0.0051, 0.0603, 0.4377, 0.2990, 4.7790, 3.8108]")
