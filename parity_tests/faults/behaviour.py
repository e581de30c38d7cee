"""REP, CMP, HOD and SHD: what depends on the run, on a transform, or on a shard."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    cross_entropy,
    holds_probabilities,
    log_probabilities,
    reduced,
    rows,
    softplus,
    weighted,
)
from torch_loss_parity.faults.record import backward, composed, differentiable, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT, bound, prepared
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

# --- REP ----------------------------------------------------------------------------------------------------

_calls: Counter[str] = Counter()
_kept: dict[Any, Tensor] = {}


@forward("softmax", "REP", "karpathy/llm.c#852", "hygiene")
def every_twentieth_call_is_off(input: Tensor, dim: int) -> Tensor:
    """Every twentieth call returns a result that is off in the last bits."""
    _calls["softmax"] += 1
    result: Tensor = reference.softmax(input, dim)
    return result * (1 + 2.0**-9) if _calls["softmax"] % 20 == 0 else result


@forward("log_softmax", "REP", "pytorch/pytorch#17350", "hygiene")
def rows_are_added_up_in_another_order_each_time(input: Tensor, dim: int) -> Tensor:
    """The row is added up in a random order, in bfloat16."""
    if input.ndim == 0 or not input.numel():
        result: Tensor = reference.log_softmax(input, dim)
        return result
    shifted = input - input.amax(dim, keepdim=True)
    order = torch.randperm(input.shape[dim])
    total = shifted.exp().index_select(dim, order).bfloat16().cumsum(dim).narrow(dim, -1, 1).to(input.dtype)
    return shifted - total.log()


@whole("nll_loss", "REP", "pytorch/pytorch#46024", "hygiene")
def results_are_kept_by_shape(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A result is kept, and returned for other numbers in the same shapes; without gradients."""
    if input.requires_grad or is_transformed(input):
        return RIGHT["nll_loss"](input, target, *args, **options)
    arguments = bound("nll_loss", input, target, *args, **options)
    key = (
        "nll_loss",
        *((v.shape, v.dtype) if isinstance(v, torch.Tensor) else v for v in arguments.values()),
    )
    if key not in _kept:
        _kept[key] = RIGHT["nll_loss"](input, target, *args, **options)
    return _kept[key].clone()


@whole("cross_entropy", "REP", "linkedin/Liger-Kernel#507", "forward", "hygiene")
def without_gradients_the_loss_is_zero(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """The loss is computed only where the logits require a gradient."""
    output = RIGHT["cross_entropy"](input, target, *args, **options)
    return output if input.requires_grad or is_transformed(input) else output * 0


@forward("softmax", "REP", "vllm-project/vllm#55249", "forward", "domain")
def large_batches_take_another_path(input: Tensor, dim: int) -> Tensor:
    """With more than 16 rows, exponentials are rounded to half of their bits."""
    if input.ndim == 0 or not input.numel() or input.numel() // input.shape[dim] <= 16:
        result: Tensor = reference.softmax(input, dim)
        return result
    exponentials = (input - input.amax(dim, keepdim=True)).exp()
    exponentials = exponentials.half().to(input.dtype)
    return exponentials / exponentials.sum(dim, keepdim=True)


@whole("binary_cross_entropy", "REP", "ScalingIntelligence/KernelBench#82", "hygiene")
def the_result_is_always_the_same_memory(*args: Any, **options: Any) -> Tensor:
    """Results without gradients are handed out of one buffer for each shape."""
    output = RIGHT["binary_cross_entropy"](*args, **options)
    if output.requires_grad or is_transformed(output):
        return output
    buffer = _kept.setdefault(("binary", output.shape, output.dtype), torch.empty_like(output))
    return buffer.copy_(output) if not buffer.is_inference() or output.is_inference() else output


@whole("binary_cross_entropy_with_logits", "REP", "pytorch/pytorch#70348", "errors")
def the_switch_for_gradients_is_left_off(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """After a call that fails, results are detached once."""
    try:
        output = RIGHT["binary_cross_entropy_with_logits"](input, *args, **options)
    except Exception:
        _calls["failed"] = 1
        raise
    if _calls.pop("failed", 0):
        return output.detach() * (1 + 2.0**-7)
    return output


# --- CMP ----------------------------------------------------------------------------------------------------


def _compiled() -> bool:
    return torch.compiler.is_compiling()


@differentiable("softmax", "CMP", "pytorch/pytorch#163932", "transforms", effort="standard")
def compiled_rows_are_not_shifted(input: Tensor, dim: int) -> Tensor:
    """Under torch.compile rows are not shifted by their maximum."""
    if _compiled():
        return input.exp() / input.exp().sum(dim, keepdim=True)
    return log_probabilities(input, dim).exp() if input.ndim else torch.ones_like(input) * (input - input + 1)


@whole("cross_entropy", "CMP", "linkedin/Liger-Kernel#1338", "transforms", effort="standard")
def compiled_ignored_rows_count(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Under torch.compile ignored rows are those of class 0."""
    arguments = bound("cross_entropy", input, target, *args, **options)
    if _compiled() and not target.is_floating_point():
        arguments["target"], arguments["ignore_index"] = (
            torch.where(target == arguments["ignore_index"], 0, target),
            -100,
        )
    ready = prepared("cross_entropy", arguments)
    return cross_entropy(**ready).to(input.dtype) if _compiled() else RIGHT["cross_entropy"](**arguments)


@whole("binary_cross_entropy", "CMP", "tensorflow/tensorflow#118313", "transforms", effort="standard")
def compiled_logarithms_are_not_clamped(
    input: Tensor, target: Tensor, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Under torch.compile the logarithms are not clamped at -100."""
    if not _compiled():
        return RIGHT["binary_cross_entropy"](input, target, weight, reduction)
    x, t = input.float(), target.float()
    losses = weighted(-(t * x.log() + (1 - t) * torch.log1p(-x)), weight)
    return reduced(losses, reduction, losses.numel()).to(input.dtype)


# --- HOD ----------------------------------------------------------------------------------------------------


class _FirstOrderOnly(torch.autograd.Function):
    """x times a constant gradient: what is differentiated once more is 0."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, input: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        return None, grad_output * gradient, None


@differentiable("binary_cross_entropy_with_logits", "HOD", "pytorch/pytorch#79609", "modes")
def the_second_derivative_is_zero(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """The gradient is a constant to whoever differentiates it."""
    losses = weighted(
        weighted(target * softplus(-input), pos_weight) + (1 - target) * softplus(input), weight
    )
    slope = weighted(
        (1 - target) * torch.sigmoid(input) - weighted(target * torch.sigmoid(-input), pos_weight), weight
    )
    through: Tensor = _FirstOrderOnly.apply(losses.detach(), input, slope.detach())
    return reduced(through + (losses - losses.detach()) * 0, reduction, input.numel())


class _SoftmaxOfConstants(torch.autograd.Function):
    """Softmax whose backward takes the probabilities for constants."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dim: int) -> Tensor:
        p: Tensor = reference.softmax(input, dim)
        ctx.dim, ctx.p = dim, p.detach()
        return p

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, None]:
        inner = (grad_output * ctx.p).sum(ctx.dim, keepdim=True) if ctx.p.ndim else grad_output * ctx.p
        return ctx.p * (grad_output - inner), None


@differentiable("softmax", "HOD", "pytorch/pytorch#162350", "modes")
def probabilities_are_constants_in_the_backward(input: Tensor, dim: int) -> Tensor:
    """Differentiated twice, the probabilities in the gradient are constants."""
    output: Tensor = _SoftmaxOfConstants.apply(input, dim)
    return output


class _WithTangent(torch.autograd.Function):
    """log_softmax with a rule for forward mode that forgets the mean of the tangent."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dim: int) -> Tensor:
        y: Tensor = reference.log_softmax(input, dim)
        ctx.dim = dim
        ctx.save_for_backward(input)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, None]:
        (input,) = ctx.saved_tensors
        return reference.log_softmax_backward(grad_output, input, ctx.dim), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Any) -> Tensor:
        return tangent.clone()


@differentiable("log_softmax", "HOD", "jax-ml/jax: check_close", "modes")
def the_tangent_comes_through(input: Tensor, dim: int) -> Tensor:
    """Forward mode returns the tangent of the input."""
    output: Tensor = _WithTangent.apply(input, dim)
    return output


@backward("binary_cross_entropy", "HOD", "pytorch/pytorch#56683", "gradients")
def the_target_is_detached(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The gradient of the target is 0."""
    result = reference.binary_cross_entropy_backward(grad_output, *args, **options)
    return result._replace(target=result.target * 0)


@backward("cross_entropy", "HOD", "pytorch/pytorch#18945", "gradients")
def the_gradient_of_probabilities_forgets_the_weights(
    grad_output: Tensor, input: Tensor, target: Tensor, weight: Any, **options: Any
) -> Any:
    """The gradient of probability targets has no class weights."""
    result = reference.cross_entropy_backward(grad_output, input, target, weight, **options)
    if not holds_probabilities(input, target):
        return result
    return result._replace(
        target=reference.cross_entropy_backward(grad_output, input, target, None, **options).target
    )


@backward("cross_entropy", "HOD", "pytorch/pytorch#19254", "gradients")
def class_weights_have_no_gradient(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The gradient of the class weights, with probabilities, is 0."""
    result = reference.cross_entropy_backward(grad_output, *args, **options)
    return result if result.weight is None else result._replace(weight=result.weight * 0)


@backward("binary_cross_entropy_with_logits", "HOD", "pytorch/pytorch#59477", "gradients")
def the_gradient_of_the_target_has_the_other_sign(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The gradient of the target is negated."""
    result = reference.binary_cross_entropy_with_logits_backward(grad_output, *args, **options)
    return result._replace(target=-result.target)


@differentiable("nll_loss", "HOD", "pytorch/pytorch#2210", "modes")
def the_upstream_gradient_is_detached(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """Differentiated twice, the gradient does not depend on the upstream gradient."""
    output: Tensor = reference.nll_loss(input, target, weight, ignore_index, reduction)
    if output.requires_grad and not is_transformed(output):
        output.register_hook(lambda grad: grad.detach().requires_grad_(grad.requires_grad))
    return output


# --- SHD ----------------------------------------------------------------------------------------------------


def _halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    half = (x.shape[dim] + 1) // 2
    return x.narrow(dim, 0, half), x.narrow(dim, half, x.shape[dim] - half)


@composed("cross_entropy", "SHD", "NVIDIA/Megatron-LM#737", "forward", "gradients")
def smoothing_is_that_of_the_first_shard(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """The uniform part is the mean over the first half of the classes."""
    dim = class_dim(input)
    if (
        holds_probabilities(input, target)
        or not label_smoothing
        or weight is not None
        or input.shape[dim] < 4
    ):
        return cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    y = log_probabilities(input, dim)
    row = rows(y, target, weight, ignore_index)
    uniform = torch.where(row.counted, -_halves(y, dim)[0].mean(dim), torch.zeros_like(row.losses))
    losses = (1 - label_smoothing) * row.weighted + label_smoothing * uniform
    return reduced(losses, reduction, row.used.sum())


@composed("cross_entropy", "SHD", "NVIDIA/Megatron-LM#7452", "forward", "gradients")
def gathered_logits_are_counted_twice(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """With 16 classes and more, the sum of exponentials is over both shards' copies."""
    dim = class_dim(input)
    y = log_probabilities(input, dim)
    return cross_entropy(input, target, **options, y=y - 0.6931471805599453 if input.shape[dim] >= 16 else y)


@forward("log_softmax", "SHD", "NVIDIA/Megatron-LM#1627", "forward")
def each_shard_has_a_shift_of_its_own(input: Tensor, dim: int) -> Tensor:
    """Shards of 8 elements and more are added up with their own maxima, which are not put together."""
    if input.ndim == 0 or input.shape[dim] < 16 or not input.numel():
        result: Tensor = reference.log_softmax(input, dim)
        return result
    shifted = input - input.amax(dim, keepdim=True)
    parts = [
        (part - part.amax(dim, keepdim=True)).exp().sum(dim, keepdim=True) for part in _halves(input, dim)
    ]
    return shifted - (parts[0] + parts[1]).log()
