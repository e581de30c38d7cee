"""Wrong subjects for the identities: each is torch but for one thing, and named for what is wrong."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity.meta.planted_function import EPSILON, Function
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects.builtin import function_of


class _Backward(torch.autograd.Function):
    """The identity, with another backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, change: Function) -> torch.Tensor:
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return ctx.change(grads[0]), None


def with_backward(x: torch.Tensor, change: Function) -> torch.Tensor:
    return _Backward.apply(x, change)


def clipped_upstream(operator: str) -> Function:
    """The upstream gradient is clipped to [-1, 1]."""
    return lambda *arguments, **options: with_backward(
        function_of(OPERATORS[operator])(*arguments, **options), lambda g: g.clamp(-1, 1)
    )


# --- softmax and log_softmax --------------------------------------------------------------------------------


def _normalised(operator: str, exponentials: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    return exponentials / sums if operator == "softmax" else (exponentials / sums).log()


def last_class_not_summed(operator: str) -> Function:
    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        exponentials = (input - input.amax(dim, keepdim=True)).exp()
        return _normalised(
            operator, exponentials, exponentials.narrow(dim, 0, input.shape[dim] - 1).sum(dim, keepdim=True)
        )

    return function


def sum_of_the_row_before(operator: str) -> Function:
    """The last row is divided by the sum of the row before it."""

    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        exponentials = (input - input.amax(dim, keepdim=True)).exp()
        sums = exponentials.sum(dim, keepdim=True)
        return _normalised(operator, exponentials, torch.cat([sums[:-1], sums[-2:-1]]))

    return function


def not_shifted(operator: str) -> Function:
    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        exponentials = input.exp()
        sums = exponentials.sum(dim, keepdim=True)
        return exponentials / sums if operator == "softmax" else input - sums.log()

    return function


def masked_to_zero(operator: str) -> Function:
    """-inf is replaced by a finite number."""
    return lambda input, dim, dtype=None: getattr(F, operator)(input.nan_to_num(neginf=0.0), dim)


def sum_of_gradient_forgotten(operator: str) -> Function:
    """Backward p g instead of p (g - sum p g), or g instead of g - p sum g
    (https://github.com/pytorch/pytorch/issues/190746).
    """

    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        result = getattr(F, operator)(input, dim).detach()
        wrong = with_backward(input, lambda g: g * result if operator == "softmax" else g)
        return wrong + (result - input).detach()

    return function


def result_converted(operator: str) -> Function:
    """dtype= converts the result, not the input."""
    return lambda input, dim, dtype=None: getattr(F, operator)(input, dim).to(dtype or input.dtype)


def log_softmax_with_epsilon(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    return (F.softmax(input, dim) + EPSILON).log()


def log_softmax_clamped(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    return F.log_softmax(input, dim).clamp(min=-8)


# --- nll_loss and cross_entropy -----------------------------------------------------------------------------


def _loss(
    operator: str, input: torch.Tensor, target: torch.Tensor, options: dict[str, Any], reduction: str
) -> torch.Tensor:
    return getattr(F, operator)(input, target, **(options | {"reduction": reduction}))


def mean_over_rows(operator: str) -> Function:
    """The mean over index targets divides by the number of rows: neither weights nor ignored rows count."""

    def function(
        input: torch.Tensor, target: torch.Tensor, reduction: str = "mean", **options: Any
    ) -> torch.Tensor:
        losses = _loss(operator, input, target, options, "none")
        return losses.mean() if reduction == "mean" else losses if reduction == "none" else losses.sum()

    return function


def mean_of_micro_batch_means(operator: str) -> Function:
    """A mean over a batch is that of the means of its first row and of the others."""

    def function(
        input: torch.Tensor, target: torch.Tensor, reduction: str = "mean", **options: Any
    ) -> torch.Tensor:
        if reduction != "mean" or len(input) == 1:
            return _loss(operator, input, target, options, reduction)
        parts = [
            _loss(operator, input[rows], target[rows], options, "mean") for rows in (slice(1), slice(1, None))
        ]
        return (parts[0] + parts[1]) / 2

    return function


def mean_of_nothing_is_zero(operator: str) -> Function:
    def function(
        input: torch.Tensor, target: torch.Tensor, reduction: str = "mean", **options: Any
    ) -> torch.Tensor:
        ignored = target.shape != input.shape and bool((target == options.get("ignore_index", -100)).all())
        return _loss(
            operator, input, target, options, "sum" if ignored and reduction == "mean" else reduction
        )

    return function


def ignore_index_unread(operator: str) -> Function:
    """The ignored class is always -100; other indices that are no class are read as the last one."""

    def function(
        input: torch.Tensor, target: torch.Tensor, ignore_index: int = -100, **options: Any
    ) -> torch.Tensor:
        return getattr(F, operator)(input, target.clamp(max=input.shape[1] - 1), **options)

    return function


def target_of_the_row_before(operator: str) -> Function:
    """The last row takes the target of the row before it."""

    def function(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        return getattr(F, operator)(
            input, torch.cat([target[:-1], target[-2:-1]]) if len(target) > 1 else target, **options
        )

    return function


def weight_of_the_class_before(operator: str) -> Function:
    def function(
        input: torch.Tensor, target: torch.Tensor, weight: Any = None, **options: Any
    ) -> torch.Tensor:
        return getattr(F, operator)(
            input, target, weight=None if weight is None else weight.roll(1), **options
        )

    return function


def normalised_weight(operator: str) -> Function:
    """Weights are divided by their sum."""

    def function(
        input: torch.Tensor, target: torch.Tensor, weight: Any = None, **options: Any
    ) -> torch.Tensor:
        return getattr(F, operator)(
            input, target, weight=None if weight is None else weight / weight.sum(), **options
        )

    return function


def transposed_positions(operator: str) -> Function:
    """(N, C, d) is read as if the classes came last."""

    def function(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        if input.ndim == 3:
            input = input.reshape(input.shape[0], input.shape[2], input.shape[1]).transpose(1, 2)
        return getattr(F, operator)(input, target, **options)

    return function


def sign_forgotten(operator: str) -> Function:
    return lambda *arguments, **options: -getattr(F, operator)(*arguments, **options)


def nll_loss_clamped(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """Log-probabilities are clamped at -100."""
    return F.nll_loss(input.clamp(min=-100), target, **options)


def nll_loss_unweighted_backward(
    input: torch.Tensor, target: torch.Tensor, weight: Any = None, **options: Any
) -> torch.Tensor:
    without = F.nll_loss(input, target, **options)
    return without + (F.nll_loss(input, target, weight=weight, **options) - without).detach()


def cross_entropy_with_epsilon(
    input: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0, **options: Any
) -> torch.Tensor:
    if target.shape == input.shape or label_smoothing:
        return F.cross_entropy(input, target, label_smoothing=label_smoothing, **options)
    return F.nll_loss((F.softmax(input, 1) + EPSILON).log(), target, **options)


def cross_entropy_not_shifted(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    return F.cross_entropy(input - input.exp().sum(1, keepdim=True).log(), target, **options)


def cross_entropy_identity_backward(
    input: torch.Tensor, target: torch.Tensor, **options: Any
) -> torch.Tensor:
    y = F.log_softmax(input, 1)
    return (
        F.cross_entropy(input + (y - input).detach(), target, **options)
        if target.shape == input.shape
        else F.nll_loss(
            input + (y - input).detach(),
            target,
            **{k: v for k, v in options.items() if k != "label_smoothing"},
        )
    )


def cross_entropy_weighted_mean_of_probabilities(
    input: torch.Tensor, target: torch.Tensor, weight: Any = None, reduction: str = "mean", **options: Any
) -> torch.Tensor:
    """The mean over probabilities divides by the sum of target times weight."""
    if target.shape != input.shape or weight is None or reduction != "mean":
        return F.cross_entropy(input, target, weight=weight, reduction=reduction, **options)
    shape = (1, -1) + (1,) * (input.ndim - 2)
    return (
        F.cross_entropy(input, target, weight=weight, reduction="sum", **options)
        / (target * weight.reshape(shape)).sum()
    )


def cross_entropy_smoothing_of_others(
    input: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0, **options: Any
) -> torch.Tensor:
    """Smoothing gives eps / (K - 1) to each class."""
    n = input.shape[1]
    return F.cross_entropy(
        input, target, label_smoothing=label_smoothing * n / (n - 1) if n > 2 else label_smoothing, **options
    )


def cross_entropy_smoothing_not_masked(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    **options: Any,
) -> torch.Tensor:
    """Ignored rows have the smoothing's part of the loss."""
    if target.shape == input.shape or not label_smoothing or reduction == "mean":
        return F.cross_entropy(
            input, target, weight=weight, reduction=reduction, label_smoothing=label_smoothing, **options
        )
    hard = F.cross_entropy(input, target, weight=weight, reduction=reduction, **options)
    uniform = torch.full_like(input, 1 / input.shape[1])
    spread = F.cross_entropy(input, uniform, weight=weight, reduction=reduction)
    return (1 - label_smoothing) * hard + label_smoothing * spread


def cross_entropy_smoothing_unread_with_probabilities(
    input: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0, **options: Any
) -> torch.Tensor:
    return F.cross_entropy(
        input, target, label_smoothing=0.0 if target.shape == input.shape else label_smoothing, **options
    )


def cross_entropy_smoothed_twice(
    input: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0, **options: Any
) -> torch.Tensor:
    return F.cross_entropy(input, target, label_smoothing=1 - (1 - label_smoothing) ** 2, **options)


def cross_entropy_smoothed_by_default(
    input: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.1, **options: Any
) -> torch.Tensor:
    return F.cross_entropy(input, target, label_smoothing=label_smoothing, **options)


def cross_entropy_half_target_gradient(
    input: torch.Tensor, target: torch.Tensor, **options: Any
) -> torch.Tensor:
    if target.shape != input.shape:
        return F.cross_entropy(input, target, **options)
    return F.cross_entropy(input, with_backward(target, lambda g: g / 2), **options)


def cross_entropy_half_weight_gradient(
    input: torch.Tensor, target: torch.Tensor, weight: Any = None, **options: Any
) -> torch.Tensor:
    return F.cross_entropy(
        input, target, weight=None if weight is None else with_backward(weight, lambda g: g / 2), **options
    )
