"""Right kernels of losses with a z-loss: composed of torch's functions, online, and in chunks of a layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity.faults.right import definition
from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.compositions import of_rows
from torch_loss_parity.faults.right.linear_cross_entropy import counts, in_rows, picked, plain
from torch_loss_parity.faults.right.losses import divided, losses, onehot_subtracted
from torch_loss_parity.faults.right.probabilities import online
from torch_loss_parity.faults.right.record import TEXTBOOK, Written, built, composed, of_classes
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.reference.linear_cross_entropy import linear
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy as defined
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy_backward as derivative

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
PROMISES = {CE: {"z_loss": (1e-4, 0.1)}}
OF_A_LAYER = {LINEAR: {"z_loss": (1e-4, 0.1)}}
Tensor = torch.Tensor


@composed(
    CE, ships="allenai/OLMo-core: cross_entropy_loss with compute_z_loss", grade=TEXTBOOK, promises=PROMISES
)
def z_loss_is_the_square_of_torch_logsumexp(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """F.cross_entropy and torch.logsumexp of logits that were widened to float32."""
    z_loss = options.pop("z_loss", 0.0)
    loss = of_rows(F.cross_entropy, input, target, **options)
    if not z_loss:
        return loss
    squares = torch.logsumexp(input, class_dim(input)).square()
    counted = torch.ones_like(squares, dtype=torch.bool)
    if not target.is_floating_point():
        counted = (target != options["ignore_index"]).reshape(squares.shape)
    squares = torch.where(counted, squares, torch.zeros_like(squares))
    if options["reduction"] == "none":
        return loss + z_loss * squares
    total = squares.sum()
    return loss + z_loss * (total / counted.sum() if options["reduction"] == "mean" else total)


def _scaled_probabilities(g: Tensor, b: Batch, lse: Tensor) -> Tensor:
    """(p (1 + 2 z lse) - onehot) g / N; with weights or smoothing, each by itself."""
    p = (b.x - lse).exp()
    slope = 2 * b.z_loss * lse
    if b.weight is None and not b.label_smoothing:
        p = p * (1 + slope)
        return b.where_counted((torch.where(b.onehot, p - 1, p)) * divided(b, g))
    more = slope * p * b.upstream(g)
    more = more / b.rows if b.reduction == "mean" else more
    return b.where_counted(onehot_subtracted(b, p) * divided(b, g) + more)


@of_classes(
    CE,
    _scaled_probabilities,
    ships="Dao-AILab/flash-attention: ops/triton/cross_entropy.py, lse_square_scale",
    grade=None,
    promises=PROMISES,
)
def z_loss_is_in_the_loss_of_each_row(b: Batch) -> tuple[Tensor, ...]:
    """lse - x + z lse^2 of one online pass; the gradient scales the probabilities by 1 + 2 z lse."""
    largest, sum = online(b.x)
    lse = largest + sum.log()
    each = losses(b, b.x - lse)
    # Without a z-loss nothing is squared: 0 times an infinite square is nan.
    squares = b.where_counted(b.z_loss * lse[:, 0].square()) if b.z_loss else torch.zeros_like(each)
    if b.reduction != "mean":
        each = each + squares
        return (each if b.reduction == "none" else each.sum()), lse
    return (each / b.denominator + squares / b.rows).sum(), lse


def _of_chunks(gradient_of_logits: Written) -> Written:
    """A kernel of a layer whose rows are taken eight at a time."""

    def forward(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
        if not plain(input, linear_weight, target, options):
            return defined(input, linear_weight, target, **options)
        x = linear(input, linear_weight, options["linear_bias"])
        rows, own, inside = counts(x, target, options)
        largest = x.amax(1)
        lse = (x - largest[:, None]).exp().sum(1).log() + largest
        each = torch.where(rows, own * (lse - picked(x, inside)), torch.zeros_like(own))
        z_loss, squares = options.get("z_loss", 0.0), torch.zeros_like(own)
        if z_loss:
            squares = torch.where(rows, z_loss * lse * lse, squares)
        if options["reduction"] == "none":
            return each + squares
        if options["reduction"] == "sum":
            return (each + squares).sum()
        return (each / own.sum()).sum() + (squares / rows.sum()).sum()

    def backward(g: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Any:
        gradients = derivative(g, input, linear_weight, target, **options)
        if not plain(input, linear_weight, target, options):
            return gradients
        x = linear(input, linear_weight, options["linear_bias"])
        rows, own, inside = counts(x, target, options)
        of_logits = torch.where(
            rows[:, None], gradient_of_logits(g, x, rows, own, inside, options), torch.zeros_like(x)
        )
        of_layer = in_rows(8, of_logits, input, linear_weight, options["linear_bias"])
        return gradients._replace(input=of_layer[0], linear_weight=of_layer[1], linear_bias=of_layer[2])

    return definition.kernel(LINEAR, forward, backward)


@built(
    LINEAR,
    _of_chunks,
    ships="linkedin/Liger-Kernel: fused_linear_cross_entropy with lse_square_scale",
    grade=None,
    promises=OF_A_LAYER,
)
def layer_with_a_z_loss_in_chunks(
    g: Tensor, x: Tensor, rows: Tensor, own: Tensor, inside: Tensor, options: dict[str, Any]
) -> Tensor:
    """The logits of eight rows at a time; the gradient of a z-loss is 2 z lse p, beside that of the loss."""
    largest = x.amax(1, keepdim=True)
    e = (x - largest).exp()
    total = e.sum(1, keepdim=True)
    p, lse = e / total, total.log() + largest
    hit = F.one_hot(inside, x.shape[1]).to(x.dtype)
    mean = options["reduction"] == "mean"
    of_loss = (p - hit) * (own * (g / own.sum() if mean else g))[:, None]
    of_squares = (2 * options.get("z_loss", 0.0)) * lse * p * ((g / rows.sum()) if mean else g).reshape(-1, 1)
    return of_loss + of_squares


@composed(
    LINEAR,
    ships="google/maxtext: max_utils.cross_entropy_with_logits behind a layer",
    grade=TEXTBOOK,
    promises=OF_A_LAYER,
)
def layer_and_z_loss_of_its_logits(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None, **options: Any
) -> Tensor:
    """The logits of a layer in float32, and the composition of torch's functions of them."""
    index = options.pop("ignore_index")
    logits = linear(input, linear_weight, linear_bias)
    ignore_index = -100 if index is None else index
    return z_loss_is_the_square_of_torch_logsumexp(logits, target, ignore_index=ignore_index, **options)
