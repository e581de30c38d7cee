"""What kernels of rows are made of: shifted logits, sums of exponentials, probabilities."""

from __future__ import annotations

import math

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.definition import wide

Tensor = torch.Tensor
LOG2_E = math.log2(math.e)
LN_2 = math.log(2)


def shifted(x: Tensor) -> Tensor:
    """The logits minus the largest of their row, in float32 or wider."""
    x = wide(x)
    return x - x.amax(-1, keepdim=True)


def total(e: Tensor, add: sums.Sum = sums.plain) -> Tensor:
    """The sum of each row, to broadcast against it."""
    return add(e).unsqueeze(-1)


def softmax(x: Tensor, add: sums.Sum = sums.plain) -> Tensor:
    """The definition's: exponentials over their sum, which ``add`` makes."""
    e = shifted(x).exp()
    return e / total(e, add)


def log_sum_exp(x: Tensor, shift: Tensor | None = None, add: sums.Sum = sums.plain) -> Tensor:
    """The largest, or another shift, plus the logarithm of the sum; to broadcast against the row."""
    x = wide(x)
    shift = x.amax(-1, keepdim=True) if shift is None else shift
    return shift + total((x - shift).exp(), add).log()


def finite(largest: Tensor) -> Tensor:
    """What is subtracted of a row: its largest, or 0 where that is infinite."""
    return torch.where(largest.isinf(), torch.zeros_like(largest), largest)


def online(x: Tensor, width: int = 32) -> tuple[Tensor, Tensor]:
    """The largest of each row and the sum of the exponentials below it, from one pass over blocks: the sum so
    far is scaled whenever the largest so far grows.
    """
    x = wide(x)
    largest = torch.full_like(x[..., :1], -math.inf)
    sum = torch.zeros_like(largest)
    for block in x.split(width, -1):
        after = torch.maximum(largest, block.amax(-1, keepdim=True))
        # -inf - -inf is nan, and nothing was summed yet
        at = torch.where(after == -math.inf, torch.zeros_like(after), after)
        sum = sum * (largest - at).exp() + (block - at).exp().sum(-1, keepdim=True)
        largest = after
    return largest, sum


def of_shards(x: Tensor, shards: int) -> tuple[Tensor, Tensor]:
    """The largest of each row and the sum of the exponentials below it, where each of some devices has a part
    of the row: the maxima are merged, and the sums are added.
    """
    parts = wide(x).tensor_split(min(shards, x.shape[-1]), -1)
    largest = torch.stack([part.amax(-1, keepdim=True) for part in parts]).amax(0)
    sum = sums.sequential(torch.stack([(part - largest).exp().sum(-1, keepdim=True) for part in parts], -1))
    return largest, sum


def others(x: Tensor, shift: Tensor) -> Tensor:
    """The sum of the exponentials of all but the largest of each row, each below ``shift``."""
    x = wide(x)
    where = x.argmax(-1, keepdim=True)
    return (x - shift).exp().scatter(-1, where, 0.0).sum(-1, keepdim=True)


def log_softmax_by_log1p(x: Tensor) -> Tensor:
    """(x - m) - log1p(sum of all exponentials but the largest)."""
    z = shifted(x)
    at_largest = z.amax(-1, keepdim=True)  # 0; nan where the largest is infinite
    return z - (others(z, at_largest) + at_largest).log1p()
