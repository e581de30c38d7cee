"""What torch's linear_cross_entropy in chunks returns in half precision that rounding does not explain: each
with a script that needs only torch, what it prints, and the call whose true value it misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HALF_LOG = "import torch\nlayer_loss = torch.nn.functional.linear_cross_entropy\n"


@dataclass(frozen=True)
class Number:
    """A number that is wrong.

    Attributes
    ----------
    what, reason : str
        What torch returns, and the cause, from its source.
    script, prints : str
        At most fifteen lines that need only torch; the words that they print, the wrong number last.
    dtype : str
    arguments : mapping
        Of a call that has the same true value, small enough for balls.
    quantity, index : str, tuple of int
        What of it the number stands for; the upstream gradient is `upstream`.
    upstream : float
    """

    what: str
    reason: str
    script: str
    prints: str
    dtype: str
    arguments: Mapping[str, Any]
    quantity: str
    index: tuple[int, ...]
    upstream: float = 1.0

    def __str__(self) -> str:
        return self.what


def _zeros(rows: int, classes: int) -> dict[str, Any]:
    return {
        "input": np.ones((rows, 1)),
        "linear_weight": np.zeros((classes, 1)),
        "target": np.zeros(rows, dtype=np.int64),
    }


IN_STORAGE = """
The loss is added up over the chunks in bfloat16 (output_dtype is acc_dtype for float16 alone), in two
additions a chunk, whatever the policy: once it is 256 units large, nothing is added any more.
"""
LAYER_IN_STORAGE = """
grad_linear_weight has the dtype of the input, and each chunk's part is subtracted from it: it stagnates as
the loss does, in float16 and bfloat16, whatever the policy.
"""
DEFAULT = (
    HALF_LOG
    + """
rows = torch.ones(1024, 1, dtype=torch.bfloat16)
layer = torch.zeros(32768, 1, dtype=torch.bfloat16, requires_grad=True)
target = torch.zeros(1024, dtype=torch.int64)
for options in (None, torch.nn.LinearCrossEntropyOptions()):
    loss = layer_loss(rows, layer, target, options=options)
"""
)
ONE_ROW = (
    HALF_LOG
    + """
rows = torch.ones(512, 1, dtype=torch.bfloat16)
layer = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
target = torch.zeros(512, dtype=torch.int64)
options = torch.nn.LinearCrossEntropyOptions(
    acc_policy="accurate", batch_chunk_size=1, acc_dtype=torch.float32)
loss = layer_loss(rows, layer, target, reduction="sum", options=options)
"""
)

NUMBERS = (
    Number(
        what="with the default options a mean in bfloat16 of 1024 losses of 10.4 is 4",
        reason=IN_STORAGE,
        script=DEFAULT + "    print(loss.item())",
        prints="10.375\n4.0",
        dtype="bfloat16",
        arguments=_zeros(1, 32768),
        quantity="forward",
        index=(),
    ),
    Number(
        what="with the default options the gradient of a layer in bfloat16 is a quarter of what it should be",
        reason=LAYER_IN_STORAGE,
        script=DEFAULT + "    print(torch.autograd.grad(loss, layer)[0][0].item())",
        prints="-1.0\n-0.25",
        dtype="bfloat16",
        arguments=_zeros(1, 32768),
        quantity="linear_weight",
        index=(0, 0),
    ),
    Number(
        what="the policy accurate, a row at a time: a sum of 512 losses of log 2 is 256",
        reason=IN_STORAGE,
        script=ONE_ROW + "print(loss.item())",
        prints="256.0",
        dtype="bfloat16",
        arguments={**_zeros(512, 2), "reduction": "sum"},
        quantity="forward",
        index=(),
    ),
    Number(
        what="the policy accurate, a row at a time: the gradient of a layer is half of what it should be",
        reason=LAYER_IN_STORAGE,
        script=ONE_ROW + "print(torch.autograd.grad(loss, layer)[0][0].item())",
        prints="-128.0",
        dtype="bfloat16",
        arguments={**_zeros(512, 2), "reduction": "sum"},
        quantity="linear_weight",
        index=(0, 0),
    ),
    Number(
        what="the policies balanced and compact lose the probabilities of many rows and classes in float16",
        reason="""
The factor w / (d sum) of a row is kept in the dtype of the logits, which these policies keep in float16: of
2048 rows and 32768 equal classes it is 2^-26, and 0. Only the gradient at the target is left. On CUDA compact
is the default.
""",
        script=HALF_LOG
        + """
rows = torch.ones(2048, 1, dtype=torch.float16)
layer = torch.zeros(32768, 1, dtype=torch.float16, requires_grad=True)
target, scale = torch.zeros(2048, dtype=torch.int64), torch.tensor(4096.0, dtype=torch.float16)
for policy in ("accurate", "balanced", "compact"):
    options = torch.nn.LinearCrossEntropyOptions(
        acc_policy=policy, batch_chunk_size=64, acc_dtype=torch.float32)
    loss = layer_loss(rows, layer, target, options=options)
    print(torch.autograd.grad(loss, layer, scale)[0][1].item())""",
        prints="0.125\n0.0\n0.0",
        dtype="float16",
        arguments=_zeros(1, 32768),
        quantity="linear_weight",
        index=(1, 0),
        upstream=4096.0,
    ),
    Number(
        what="a policy by itself adds up in float16: the loss of 70000 equal classes is infinite",
        reason="""
Unless acc_dtype is given, or everything is left to "auto", the dtype that sums are kept in is that of the
input: a sum of 70000 ones is infinite in float16.
""",
        script=HALF_LOG
        + """
row, layer = torch.ones(1, 1, dtype=torch.float16), torch.zeros(70000, 1, dtype=torch.float16)
options = torch.nn.LinearCrossEntropyOptions(acc_policy="accurate")
print(layer_loss(row, layer, torch.tensor([0]), options=options).item())""",
        prints="inf",
        dtype="float16",
        arguments=_zeros(1, 70000),
        quantity="forward",
        index=(),
    ),
    Number(
        what="a loss scale does not reach gradients in float16: what it should save is 0 before it is scaled",
        reason="""
Gradients are made in the forward for an upstream gradient of 1, rounded to float16, and multiplied in the
backward: below 2^-25 they are 0, however large the scale. Without options they are scaled first.
""",
        script=HALF_LOG
        + """
rows = torch.zeros(8192, 1, dtype=torch.float16, requires_grad=True)
layer = torch.tensor([[2.0**-12], [0.0]], dtype=torch.float16)
target, scale = torch.zeros(8192, dtype=torch.int64), torch.tensor(16384.0, dtype=torch.float16)
for options in (None, torch.nn.LinearCrossEntropyOptions()):
    loss = layer_loss(rows, layer, target, options=options)
    print(abs(torch.autograd.grad(loss, rows, scale)[0][0].item()))""",
        prints="0.000244140625\n0.0",
        dtype="float16",
        arguments={
            "input": np.zeros((1, 1)),
            "linear_weight": np.asarray([[2.0**-12], [0.0]]),
            "target": np.zeros(1, dtype=np.int64),
        },
        quantity="input",
        index=(0, 0),
        upstream=2.0,  # 16384 / 8192
    ),
)
