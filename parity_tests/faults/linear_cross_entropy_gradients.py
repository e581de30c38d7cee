"""Faults of linear_cross_entropy's gradients, of what it does to its arguments and of what it takes."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.linear_cross_entropy import CHUNK, NAME, counted, parts
from torch_loss_parity.faults.record import backward, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT, bound
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy as right
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy_backward as derivative

# --- chunks of rows -----------------------------------------------------------------------------------------


@backward(NAME, "ACC", "pytorch/pytorch#187217", "gradients")
def the_layers_gradient_is_rounded_after_each_row(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """What the rows add to the gradient of the layer is added up in 16 bits."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    if input.ndim < 2 or options["reduction"] == "mean":
        return gradients
    total = torch.zeros_like(linear_weight, dtype=torch.bfloat16)
    for row in range(len(input)):
        part = slice(row, row + 1)
        g = grad_output[part] if options["reduction"] == "none" else grad_output
        of_row = derivative(g, input[part], linear_weight, target[part], **options)
        total = total + of_row.linear_weight.to(torch.bfloat16)
    return gradients._replace(linear_weight=total.to(linear_weight.dtype))


@backward(NAME, "TIL", "linkedin/Liger-Kernel#968", "domain")
def the_gradient_of_the_bias_is_that_of_the_last_chunk(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Each chunk writes its gradient of the bias over that of the one before."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    if input.ndim < 2 or options["linear_bias"] is None or options["reduction"] == "mean" or not len(input):
        return gradients
    part = list(parts(len(input)))[-1]
    g = grad_output[part] if options["reduction"] == "none" else grad_output
    last = derivative(g, input[part], linear_weight, target[part], **options)
    return gradients._replace(linear_bias=last.linear_bias)


@backward(NAME, "TIL", "linkedin/Liger-Kernel#1298", "gradients")
def the_layer_has_no_gradient_of_the_tail(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Rows beyond the last whole chunk add nothing to the gradient of the layer."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    rows = len(input) // CHUNK * CHUNK
    if input.ndim < 2 or rows in (0, len(input)) or options["reduction"] == "mean":
        return gradients
    g = grad_output[:rows] if options["reduction"] == "none" else grad_output
    of_chunks = derivative(g, input[:rows], linear_weight, target[:rows], **options)
    return gradients._replace(linear_weight=of_chunks.linear_weight)


# --- gradients ----------------------------------------------------------------------------------------------


@backward(NAME, "SMO", "pytorch/pytorch#187053", "gradients")
def the_gradient_of_the_layer_is_not_smoothed(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Smoothing is forgotten in the gradient of the layer."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    hard = derivative(grad_output, input, linear_weight, target, **options | {"label_smoothing": 0.0})
    return gradients._replace(linear_weight=hard.linear_weight)


def _with_every_row(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, options: dict[str, Any]
) -> Any:
    """The gradients of a sum, or of what is not reduced, with ignored rows counted as class 0."""
    rows = counted(target, options["ignore_index"])
    inside = torch.where(rows, target, torch.zeros_like(target))
    every = options | {"ignore_index": NO_INDEX}
    return derivative(grad_output, input, linear_weight, inside, **every)


@backward(NAME, "IGN", "linkedin/Liger-Kernel#968", "gradients")
def ignored_rows_are_in_the_gradient_of_the_layer(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Ignored rows have no gradient of the input, and one of the layer."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    if target.is_floating_point() or options["reduction"] == "mean":
        return gradients
    every = _with_every_row(grad_output, input, linear_weight, target, options)
    return gradients._replace(linear_weight=every.linear_weight)


@backward(NAME, "IGN", "linkedin/Liger-Kernel#1298", "gradients")
def ignored_rows_are_in_the_gradient_of_the_bias(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Ignored rows have no gradient of the input, and one of the bias."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    if target.is_floating_point() or options["reduction"] == "mean" or options["linear_bias"] is None:
        return gradients
    every = _with_every_row(grad_output, input, linear_weight, target, options)
    return gradients._replace(linear_bias=every.linear_bias)


@backward(NAME, "UPG", "linkedin/Liger-Kernel#1391", "gradients")
def the_upstream_gradient_is_applied_twice(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Gradients that were made in the forward are scaled when they are made and when they are fetched."""
    g = grad_output * grad_output
    return derivative(g, input, linear_weight, target, **options)


@backward(NAME, "UPG", "axolotl-ai-cloud/axolotl#1601", "gradients")
def the_upstream_gradient_does_not_reach_the_layer(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the layer was made in the forward, for an upstream gradient of 1."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    ones = derivative(torch.ones_like(grad_output), input, linear_weight, target, **options)
    return gradients._replace(linear_weight=ones.linear_weight)


@backward(NAME, "WGT", "pytorch/pytorch#181574", "gradients")
def class_weights_do_not_reach_the_layer(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the layer has no class weights."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    alike = derivative(grad_output, input, linear_weight, target, **options | {"weight": None})
    return gradients._replace(linear_weight=alike.linear_weight)


@backward(NAME, "SHP", "pytorch/pytorch#163774", "domain")
def a_square_layer_is_taken_transposed(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the input is multiplied with the transpose of a layer that has as many classes as
    features.
    """
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    if linear_weight.ndim != 2 or linear_weight.shape[0] != linear_weight.shape[1] or input.ndim != 2:
        return gradients
    logits = linear(input, linear_weight, options["linear_bias"])
    identity = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    of_logits = derivative(grad_output, logits, identity, target, **options | {"linear_bias": None}).input
    return gradients._replace(input=of_logits @ linear_weight.T)


@backward(NAME, "ACC", "pytorch/pytorch#124480", "gradients", dtype="float16")
def the_gradient_is_made_before_it_is_scaled(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Gradients for an upstream gradient of 2^-12 are kept in float16, and scaled afterwards."""
    if options["reduction"] == "none":
        return derivative(grad_output, input, linear_weight, target, **options)
    small = derivative(torch.ones_like(grad_output) / 4096, input, linear_weight, target, **options)
    kept = [None if each is None else each.to(torch.float16).to(each.dtype) for each in small]
    return type(small)(*(each if each is None else each * (grad_output * 4096) for each in kept))


# --- conduct, and what is refused ---------------------------------------------------------------------------


@whole(NAME, "MUT", "linkedin/Liger-Kernel#968", "hygiene")
def the_input_is_overwritten(*positional: Any, **named: Any) -> Tensor:
    """The input is scaled in place, by 1 and a little."""
    arguments = bound(NAME, *positional, **named)
    result = RIGHT[NAME](**arguments)
    with torch.no_grad():
        arguments["input"].detach().mul_(1.5)
    return result


@whole(NAME, "MUT", "Dao-AILab/quack#209", "hygiene")
def the_layer_is_overwritten(*positional: Any, **named: Any) -> Tensor:
    """The memory of the layer is used for what is computed."""
    arguments = bound(NAME, *positional, **named)
    result = RIGHT[NAME](**arguments)
    arguments["linear_weight"].detach().zero_()
    return result


@whole(NAME, "OOB", "pytorch/pytorch#187053", "errors")
def targets_beyond_the_rows_are_left_out(*positional: Any, **named: Any) -> Tensor:
    """Of more targets than rows, the first are taken."""
    arguments = bound(NAME, *positional, **named)
    input, target = arguments["input"], arguments["target"]
    if input.ndim == 2 and target.ndim and not target.is_floating_point():
        arguments["target"] = target[: len(input)]
    return RIGHT[NAME](**arguments)


@whole(NAME, "OOB", "pytorch/pytorch#163774", "errors")
def a_weight_of_any_length_is_taken(*positional: Any, **named: Any) -> Tensor:
    """A class weight that is too long is cut."""
    arguments = bound(NAME, *positional, **named)
    weight = arguments["weight"]
    if isinstance(weight, Tensor) and weight.ndim == 1 and arguments["linear_weight"].ndim > 1:
        arguments["weight"] = weight[: arguments["linear_weight"].shape[0]]
    return RIGHT[NAME](**arguments)


@forward(NAME, "INF", "pytorch/pytorch#187053", "semantics")
def an_ignored_row_of_nan_counts(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The loss of an ignored row is multiplied by 0."""
    loss = right(input, linear_weight, target, **options)
    nan = bool(linear(input, linear_weight).isnan().any())
    return loss * torch.nan if nan and options["reduction"] != "none" else loss


@backward(NAME, "EMP", "linkedin/Liger-Kernel#1298", "semantics")
def the_gradient_of_ignored_rows_alone_is_nan(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """A mean over no row divides 0 by 0 in the gradient too."""
    gradients = derivative(grad_output, input, linear_weight, target, **options)
    none = not target.is_floating_point() and not counted(target, options["ignore_index"]).any()
    if not none or options["reduction"] != "mean":
        return gradients
    return type(gradients)(*(each if each is None else each * torch.nan for each in gradients))


@whole(NAME, "REP", "pytorch/pytorch#187217", "hygiene")
def the_first_layer_is_kept_by_its_shape(*positional: Any, **named: Any) -> Tensor:
    """A cast of the layer is kept for all layers of its shape and dtype."""
    arguments = bound(NAME, *positional, **named)
    layer = arguments["linear_weight"]
    if isinstance(layer, Tensor) and not layer.requires_grad:
        arguments["linear_weight"] = _KEPT.setdefault((layer.shape, layer.dtype), layer.detach().clone())
    return RIGHT[NAME](**arguments)


_KEPT: dict[Any, Tensor] = {}
