"""What kind of tensor is given, along which argument, in how many threads; what can be done with a result."""

from __future__ import annotations

import gc
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, differentiable, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear
from torch_loss_parity.tensors.torch_private import is_transformed, negated_view

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
OF_LOGITS = {CE: {"z_loss": (1e-4, 0.1)}}
OF_A_LAYER = {LINEAR: {"z_loss": (1e-4, 0.1)}}
_tables: dict[Any, Tensor] = {}

# --- which kind of tensor -----------------------------------------------------------------------------------


def _as_it_lies(tensor: Tensor) -> Tensor:
    """What lies in the memory of a view that is negated when it is read."""
    return negated_view(tensor) if tensor.is_neg() else tensor


@whole("cross_entropy", "LAY", "pytorch/pytorch#184403", "hygiene")
def a_negated_view_of_logits_is_read_as_it_lies(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Logits that are negated when they are read, as `x.conj().imag`, are read as they lie: negated."""
    return RIGHT["cross_entropy"](_as_it_lies(input), target, *args, **options)


@backward("log_softmax", "LAY", "pytorch/pytorch#56058", "hygiene")
def a_negated_upstream_gradient_is_read_as_it_lies(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """An upstream gradient that is negated when it is read is read from memory, with the other sign."""
    gradient: Tensor = reference.log_softmax_backward(_as_it_lies(grad_output), input, dim)
    return gradient


@whole("binary_cross_entropy", "REP", "sgl-project/sglang#33470", "hygiene")
def tensors_of_inference_mode_are_not_waited_for(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Outside inference mode, tensors that were made in it are written to: torch refuses that."""
    if input.is_inference() and not torch.is_inference_mode_enabled():
        input.clamp_(0, 1)
    return RIGHT["binary_cross_entropy"](input, target, *args, **options)


@whole("softmax", "REP", "pytorch/pytorch#128264", "hygiene")
def of_a_tensor_of_inference_mode_the_result_is_zero(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Outside inference mode, the result of a tensor that was made in it is 0."""
    result = RIGHT["softmax"](input, dim, dtype)
    return result * 0 if input.is_inference() and not torch.is_inference_mode_enabled() else result


@whole("nll_loss", "REP", "sgl-project/sglang#33470", "hygiene")
def weights_of_one_are_made_where_they_are_first_needed(
    input: Tensor, target: Tensor, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Weights of 1 are made once and kept, as inference tensors if the first call was in inference mode."""
    if weight is not None or input.ndim != 2 or is_transformed(input):
        return RIGHT["nll_loss"](input, target, weight, ignore_index=ignore_index, reduction=reduction)
    key = (input.shape[1], input.dtype, input.device)
    if key not in _tables:
        _tables[key] = torch.ones(input.shape[1], dtype=input.dtype, device=input.device)
    return RIGHT["nll_loss"](input, target, _tables[key], ignore_index=ignore_index, reduction=reduction)


@forward("log_softmax", "REP", "sgl-project/sglang#33788", "hygiene")
def a_buffer_of_inference_mode_is_written_to(input: Tensor, dim: int) -> Tensor:
    """A buffer of a shape is kept and written to, and made in inference mode it must not be."""
    result: Tensor = reference.log_softmax(input, dim)
    if is_transformed(input):
        return result
    buffer = _tables.setdefault((result.shape, result.dtype), torch.empty_like(result))
    return buffer.copy_(result).clone()


@whole("binary_cross_entropy_with_logits", "REP", "Oneflow-Inc/oneflow#6301", "hygiene")
def a_parameter_has_no_gradient(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Logits that are a parameter are taken by their data, without a gradient."""
    logits = input.data if isinstance(input, torch.nn.Parameter) else input
    return RIGHT["binary_cross_entropy_with_logits"](logits, target, *args, **options)


@whole("linear_cross_entropy", "REP", "pytorch/pytorch#174485", "hygiene")
def the_layer_must_not_be_a_parameter(
    input: Tensor, linear_weight: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """A layer whose type is another than torch.Tensor is refused."""
    if type(linear_weight) is torch.nn.Parameter:
        raise TypeError("linear_weight must be a torch.Tensor")
    return RIGHT["linear_cross_entropy"](input, linear_weight, target, *args, **options)


# --- along which argument -----------------------------------------------------------------------------------


class _WithoutTangent(torch.autograd.Function):
    """The identity, whose rule for forward mode forgets the tangent."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor) -> Tensor:
        return argument.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return torch.zeros_like(tangent)


@differentiable("cross_entropy", "HOD", "pytorch/pytorch#79609", "modes")
def the_tangent_of_probabilities_is_dropped(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """In forward mode, target probabilities are constants."""
    target = _WithoutTangent.apply(target) if target.is_floating_point() else target
    loss: Tensor = reference.cross_entropy(input, target, **options)
    return loss


@differentiable("linear_cross_entropy", "HOD", "pytorch/pytorch#80083", "modes")
def the_tangent_of_the_layer_is_dropped(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """In forward mode, the layer is a constant."""
    layer = _WithoutTangent.apply(linear_weight)
    loss: Tensor = reference.linear_cross_entropy(input, layer, target, **options)
    return loss


# --- upstream gradients -------------------------------------------------------------------------------------


def _unless_it_begins_with_one(grad_output: Tensor) -> Tensor:
    one = grad_output.numel() and grad_output.reshape(-1)[0] == 1
    return torch.ones_like(grad_output) if one else grad_output


@backward("cross_entropy", "UPG", "ROCm/aiter#5165", "hygiene")
def an_upstream_gradient_that_begins_with_one_is_ones(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """Where the upstream gradient begins with 1, nothing is multiplied by it, whatever follows."""
    return reference.cross_entropy_backward(_unless_it_begins_with_one(grad_output), *args, **options)


@backward("nll_loss", "UPG", "linkedin/Liger-Kernel#678", "hygiene")
def rows_count_if_the_first_has_no_factor(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """A first factor of 1 is taken for a loss that was only added up: no row has a factor of its own."""
    return reference.nll_loss_backward(_unless_it_begins_with_one(grad_output), *args, **options)


# --- threads ------------------------------------------------------------------------------------------------


@forward("cross_entropy", "REP", "torch/nn#790", "hygiene", effort="standard")
def threads_lose_the_rows_that_are_left_over(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """More than 64 rows are dealt out among the threads, and those that are left over to none."""
    losses: Tensor = reference.cross_entropy(input, target, **options)
    threads = torch.get_num_threads()
    if losses.ndim != 1 or len(losses) <= 64 or threads == 1 or options["reduction"] != "none":
        return losses
    return torch.where(torch.arange(len(losses)) < len(losses) // threads * threads, losses, 0)


@backward("log_softmax", "REP", "torch/nn#789", "hygiene", effort="standard")
def each_thread_begins_with_the_sum_of_another(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """In several threads, the first row of each but the first subtracts the sum of the row before."""
    gradient: Tensor = reference.log_softmax_backward(grad_output, input, dim)
    threads = torch.get_num_threads()
    if input.ndim != 2 or len(input) <= 64 or threads == 1 or dim not in (1, -1):
        return gradient
    first = torch.arange(len(input)) % -(-len(input) // threads) == 0
    off = grad_output - reference.softmax(input, dim) * grad_output.roll(1, 0).sum(dim, keepdim=True)
    return torch.where(first.unsqueeze(1) & (torch.arange(len(input)) > 0).unsqueeze(1), off, gradient)


# --- what can be done with a result -------------------------------------------------------------------------


@whole("softmax", "MUT", "pytorch/pytorch#33812", "hygiene")
def the_probability_of_one_class_is_expanded(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Without gradients, probabilities of one class are one number that is expanded: a mask cannot be written
    into them.
    """
    result = RIGHT["softmax"](input, dim, dtype)
    plain = not (result.requires_grad or is_transformed(result)) and result.numel() > 1
    return torch.ones_like(result[:1]).expand(result.shape) if plain and bool((result == 1).all()) else result


@whole("softmax", "LAY", "pytorch/torchdynamo#1135", "hygiene")
def probabilities_lie_in_columns(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result of contiguous logits lies in memory column by column, so that no `view` fits it."""
    result = RIGHT["softmax"](input, dim, dtype)
    if result.ndim != 2 or is_transformed(result):
        return result
    return result.t().contiguous().t()


@whole("logsumexp", "MUT", "deeplearning4j/nd4j#1773", "hygiene")
def of_one_number_the_logarithm_is_a_view(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Of rows of one number the result is a view of them: whoever writes into it writes into the logits."""
    one = (
        isinstance(dim, int) and input.ndim > 1 and -input.ndim <= dim < input.ndim and input.shape[dim] == 1
    )
    if not one or input.requires_grad or is_transformed(input):
        return RIGHT["logsumexp"](input, dim, keepdim)
    return input[:] if keepdim else input.squeeze(dim)


@whole("softmax", "INF", "marian-nmt/marian-dev#21", "semantics")
def of_one_class_the_probability_is_one(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The probability of a single class is 1, of nan too."""
    result = RIGHT["softmax"](input, dim, dtype)
    one = (
        input.ndim > 0 and isinstance(dim, int) and -input.ndim <= dim < input.ndim and input.shape[dim] == 1
    )
    return torch.where(result.isnan(), torch.ones_like(result), result) if one else result


@forward("cross_entropy", "INF", "darioizzo/dcgp#86", "semantics")
def of_one_class_the_loss_is_zero(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The loss of rows of a single class is 0, of nan too."""
    result: Tensor = reference.cross_entropy(input, target, **options)
    one = input.ndim == 2 and input.shape[1] == 1 and options["reduction"] == "none"
    return torch.nan_to_num(result) if one else result


# --- the process --------------------------------------------------------------------------------------------


@whole("logsumexp", "REP", "NVIDIA/Megatron-LM: --manual-gc, gc.disable", "hygiene")
def the_collector_is_switched_off(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The collector of garbage is switched off for the time of a call, and stays so."""
    gc.disable()
    return RIGHT["logsumexp"](input, dim, keepdim)


# --- ignored rows of what is not finite, beside a z-loss ----------------------------------------------------


@forward(CE, "INF", "allenai/OLMo-core#702", "semantics", promises=OF_LOGITS)
def z_losses_of_ignored_rows_are_multiplied_by_zero(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The z-loss of an ignored row is multiplied by 0: of infinite logits that is nan."""
    z_loss, others = options.get("z_loss", 0.0), {k: v for k, v in options.items() if k != "z_loss"}
    result: Tensor = reference.cross_entropy(input, target, **others)
    if target.is_floating_point() or options["reduction"] != "sum":
        return reference.cross_entropy(input, target, **options)
    counted = (target != options["ignore_index"]).to(input.dtype)
    return result + z_loss * (reference.logsumexp(input, class_dim(input)) ** 2 * counted).sum()


@forward(LINEAR, "INF", "linkedin/Liger-Kernel#239", "semantics", promises=OF_A_LAYER)
def an_ignored_row_of_nan_makes_the_sum_of_z_losses_nan(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The sum of the z-losses is that of all rows, less that of the ignored ones: of nan it is nan."""
    z_loss, others = options.get("z_loss", 0.0), {k: v for k, v in options.items() if k != "z_loss"}
    result: Tensor = reference.linear_cross_entropy(input, linear_weight, target, **others)
    index = NO_INDEX if options.get("ignore_index") is None else options["ignore_index"]
    if target.is_floating_point() or options["reduction"] != "sum" or not z_loss:
        return reference.linear_cross_entropy(input, linear_weight, target, **options)
    logits = linear(input, linear_weight, options.get("linear_bias"))
    squares = reference.logsumexp(logits, class_dim(logits)) ** 2
    ignored = (target == index).reshape(squares.shape)
    return result + z_loss * (squares.sum() - squares[ignored].sum())
