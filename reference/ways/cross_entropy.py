"""The ways of cross_entropy and of its gradients."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.cross_entropy import CrossEntropyGradients
from torch_loss_parity.reference.nll_loss import classes_along, nll_loss, target_weights
from torch_loss_parity.reference.reduction import reduce, reduce_backward
from torch_loss_parity.reference.softmax import softmax
from torch_loss_parity.reference.ways import row_forms, rows
from torch_loss_parity.reference.ways.class_products import (
    cross_entropy_in_order,
    cross_entropy_in_order_backward,
    smoothed_target,
)
from torch_loss_parity.reference.ways.extended import extended, extended_backward, in_each_row
from torch_loss_parity.reference.ways.nll_loss import (
    MIXED_SIGNS,
    TIMES_ZERO,
    along_classes,
    nll_loss_multiplied_backward,
)
from torch_loss_parity.reference.ways.row_forms import Form
from torch_loss_parity.reference.ways.rows import (
    INFINITE,
    LONG,
    LOST_GRADIENT,
    LOST_LOSS,
    MEMORY,
    OFFSET,
    SCALED,
)
from torch_loss_parity.reference.ways.sizes import converted
from torch_loss_parity.reference.ways.smoothed import cross_entropy_less_shares, cross_entropy_of_shares
from torch_loss_parity.reference.ways.way import Way, stored


def cross_entropy_divided_first(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    log_probabilities: Form = rows.log_softmax_by_exp2,
) -> Any:
    """sum(l / D): each loss is divided by the denominator before they are added up."""
    given = (input, target, weight, ignore_index)
    if reduction != "mean":
        return cross_entropy_in_order(*given, reduction, label_smoothing, log_probabilities=log_probabilities)
    xp, dim = namespace(input=input), class_dim(input)
    losses = cross_entropy_in_order(*given, "none", label_smoothing, log_probabilities=log_probabilities)
    if tuple(target.shape) == tuple(input.shape):
        classes = input.shape[dim]
        return xp.sum(losses / (prod(input.shape) // classes if classes else 0))
    return xp.sum(losses / xp.sum(target_weights(xp, input, target, weight, ignore_index)))


def cross_entropy_of_row_sums(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """lse sum(q) - sum(q x), with the share q of each class times its weight; of smoothed class indices
    (1 - e) w_t (lse - x_t) + e / C (lse sum(w) - sum(w x)).
    """
    of_probabilities = tuple(target.shape) == tuple(input.shape)
    if (label_smoothing == 0 and not of_probabilities) or 0 in input.shape:
        return cross_entropy_in_order(
            *(input, target, weight, ignore_index, reduction, label_smoothing),
            log_probabilities=rows.log_softmax_from_log_sum,
        )
    xp, dim = namespace(input=input), class_dim(input)
    lse = row_forms.log_sum(input, dim)
    if of_probabilities:
        q = smoothed_target(target, label_smoothing, label_smoothing / input.shape[dim])
        q = q if weight is None else q * along_classes(xp, weight, input)
        losses = lse * xp.sum(q, axis=dim, keepdims=True) - xp.sum(q * input, axis=dim, keepdims=True)
        return reduce(xp, xp.squeeze(losses, axis=dim), reduction, prod(input.shape) // input.shape[dim])
    weights = xp.ones_like(input) if weight is None else along_classes(xp, weight, input) + 0 * input
    from_sums = lse * xp.sum(weights, axis=dim, keepdims=True) - xp.sum(
        input * weights, axis=dim, keepdims=True
    )
    uniform = xp.squeeze(from_sums, axis=dim)
    uniform = xp.where(target == ignore_index, xp.zeros_like(uniform), uniform)
    spread = reduce(xp, uniform, reduction, xp.sum(target_weights(xp, input, target, weight, ignore_index)))
    loss = nll_loss(input - lse, target, weight, ignore_index, reduction)
    return (1 - label_smoothing) * loss + label_smoothing / input.shape[dim] * spread


def cross_entropy_textbook_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    probabilities: Form = softmax,
    log_probabilities: Form = rows.log_softmax_textbook,
) -> CrossEntropyGradients:
    """(p - onehot) w g / D of class indices; of those that are smoothed, (p sum(c) - c) g / D, with the share
    c of each class times its weight.
    """
    if tuple(target.shape) == tuple(input.shape):
        return cross_entropy_in_order_backward(
            *(grad_output, input, target, weight, ignore_index, reduction, label_smoothing),
            probabilities=probabilities,
            log_probabilities=log_probabilities,
        )
    xp, dim, hit, counted, g = _of_rows(
        grad_output, input, target, weight, ignore_index, reduction, weighted=not label_smoothing
    )
    p = probabilities(input, dim)
    if label_smoothing:
        uniform = xp.zeros_like(p) + label_smoothing / input.shape[dim]
        shares = xp.where(hit, uniform + (1 - label_smoothing), uniform)
        shares = shares if weight is None else shares * along_classes(xp, weight, input)
        slope = (p * xp.sum(shares, axis=dim, keepdims=True) - shares) * g
    else:
        slope = xp.where(hit, p - 1, p) * g
    return CrossEntropyGradients(xp.where(counted, slope, xp.zeros_like(slope)))


def cross_entropy_of_the_others_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> CrossEntropyGradients:
    """Minus the sum of the other probabilities, times g, at the class of a row."""
    if label_smoothing or tuple(target.shape) == tuple(input.shape):
        return cross_entropy_in_order_backward(
            *(grad_output, input, target, weight, ignore_index, reduction, label_smoothing),
            probabilities=softmax,
        )
    xp, dim, hit, counted, g = _of_rows(grad_output, input, target, weight, ignore_index, reduction)
    p = softmax(input, dim)
    others = xp.sum(xp.where(hit, xp.zeros_like(p), p), axis=dim, keepdims=True)
    slope = xp.where(hit, -others, p) * g
    return CrossEntropyGradients(xp.where(counted, slope, xp.zeros_like(slope)))


def _of_rows(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    *,
    weighted: bool = True,
) -> tuple[Any, int, Any, Any, Any]:
    """The namespace, the dimension of the classes, where a row's class is, which rows count, and the upstream
    gradient of each, times its weight, to broadcast over its classes.
    """
    xp, dim = namespace(input=input), class_dim(input)
    target = xp.reshape(target, tuple(n for axis, n in enumerate(input.shape) if axis != dim))
    weights = target_weights(xp, input, target, weight, ignore_index)
    g = reduce_backward(grad_output, reduction, xp.sum(weights))
    g = xp.expand_dims((weights if weighted else xp.ones_like(weights)) * g, axis=dim)
    counted = xp.expand_dims(target != ignore_index, axis=dim)
    hit = xp.expand_dims(target, axis=dim) == classes_along(xp, input, dim)
    return xp, dim, hit, counted, g


_IN_BASE_2 = partial(
    extended_backward,
    partial(
        cross_entropy_textbook_backward,
        probabilities=rows.softmax_in_base_2,
        log_probabilities=rows.log_softmax_by_exp2,
    ),
    log_sum=rows.logsumexp_in_base_2,
    probabilities=rows.softmax_in_base_2,
)


def cross_entropy_scaled_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> CrossEntropyGradients:
    """The gradients for an upstream gradient of 1, kept in memory, times the upstream gradient."""
    xp = namespace(grad_output=grad_output, input=input)
    dim = class_dim(input)

    def for_upstream(upstream: Any) -> CrossEntropyGradients:
        given = (upstream, input, target, weight, ignore_index, reduction, label_smoothing)
        return _IN_BASE_2(*given, z_loss=z_loss, softcap=softcap)

    gradients = for_upstream(xp.ones_like(grad_output) + 0 * grad_output)
    g = xp.expand_dims(grad_output, axis=dim) if reduction == "none" else grad_output

    def scaled(gradient: Any) -> Any:
        return None if gradient is None else stored(gradient, like="gradient") * g

    # Of class weights it adds up rows, each with its own upstream gradient.
    if gradients.weight is not None and reduction == "none":
        return CrossEntropyGradients(
            scaled(gradients.input), scaled(gradients.target), for_upstream(grad_output).weight
        )
    return CrossEntropyGradients(*(scaled(gradient) for gradient in gradients))


_FORMS = (  # of log-probabilities, and of probabilities
    ("x - m - log(sum)", rows.log_softmax_textbook, rows.softmax_of_logarithms, "", LONG, "torch, JAX"),
    (
        "x - lse",
        rows.log_softmax_from_log_sum,
        rows.softmax_from_log_sum,
        OFFSET,
        OFFSET,
        "fused kernels that keep each row's lse (Liger, Quack)",
    ),
    (
        "x - logsumexp(x)",
        rows.log_softmax_of_logsumexp,
        rows.softmax_of_logsumexp,
        f"{OFFSET}; {INFINITE}",
        f"{OFFSET}; {INFINITE}",
        "compositions of torch.logsumexp",
    ),
    (
        "x - lse by exp2 and log2",
        rows.log_softmax_by_exp2,
        rows.softmax_in_base_2,
        OFFSET,
        SCALED,
        "Triton and CUDA kernels on ex2 and lg2",
    ),
)

# The weight of each class times 0 reaches its logit.
cross_entropy_multiplied_backward = partial(
    cross_entropy_in_order_backward, through_nll_loss=nll_loss_multiplied_backward
)
cross_entropy_of_a_converted_size = partial(cross_entropy_in_order, size=converted)
cross_entropy_of_a_converted_size_backward = partial(cross_entropy_multiplied_backward, size=converted)
CONVERTED = "half precision: the number of rows is rounded to it before a mean divides"


def log_sum(name: str) -> Form:
    """The logarithm of the sum, beside log-probabilities in a form of that name."""
    return rows.logsumexp_in_base_2 if "exp2" in name else rows.logsumexp_textbook


WAYS = (
    *(
        Way(
            name=f"nll of {name}",
            operator="cross_entropy",
            gives="result",
            function=partial(
                extended, partial(cross_entropy_in_order, log_probabilities=form), log_sum=log_sum(name)
            ),
            grade="textbook",
            loses=LOST_LOSS + (f"; {more}" if more else ""),
            ships=ships,
            by_autograd="exp2" not in name,
        )
        for name, form, _, more, _, ships in _FORMS
    ),
    Way(
        name="lse sum(q) - sum(q x)",
        operator="cross_entropy",
        gives="result",
        function=partial(extended, cross_entropy_of_row_sums),
        grade="textbook",
        loses=f"{LOST_LOSS}; {OFFSET}",
        ships="Liger, Apex",
    ),
    Way(
        name="lse - e mean(x) - (1 - e) x_t",
        operator="cross_entropy",
        gives="result",
        function=partial(extended, cross_entropy_less_shares),
        grade="textbook",
        loses=f"{LOST_LOSS}; {OFFSET}",
        ships="flash-attention",
        open="1 - e is rounded, and with e adds up to 1, which stands before lse, or next to it",
    ),
    Way(
        name="-sum(q y), of each class and its share",
        operator="cross_entropy",
        gives="result",
        function=partial(extended, cross_entropy_of_shares),
        grade="textbook",
        loses=LOST_LOSS,
        ships="Keras, timm: one-hot targets that are smoothed",
    ),
    Way(
        name="sum(l / D)",
        operator="cross_entropy",
        gives="result",
        function=partial(in_each_row, cross_entropy_divided_first),
        grade="textbook",
        loses=f"{LOST_LOSS}; {MIXED_SIGNS}",
        ships="kernels that scale each row's loss (Liger, chunked losses)",
    ),
    Way(
        name="(p - onehot) g",
        operator="cross_entropy",
        gives="gradients",
        function=partial(extended_backward, cross_entropy_textbook_backward),
        grade="textbook",
        loses=LOST_GRADIENT,
        ships="textbooks, Triton kernels",
    ),
    Way(
        name="minus the sum of the others at the class",
        operator="cross_entropy",
        gives="gradients",
        function=partial(extended_backward, cross_entropy_of_the_others_backward),
        grade="textbook",
        loses="long rows: the sum of the others is rounded as often as it has terms",
        ships="careful kernels of index targets",
    ),
    *(
        Way(
            name=f"(p - onehot) g, p = exp({name})",
            operator="cross_entropy",
            gives="gradients",
            function=partial(
                extended_backward,
                partial(cross_entropy_textbook_backward, probabilities=probabilities, log_probabilities=form),
                log_sum=log_sum(name),
                probabilities=probabilities,
            ),
            grade="textbook",
            loses=f"{LOST_GRADIENT}; {more}",
            ships=ships,
        )
        for name, form, probabilities, _, more, ships in _FORMS
    ),
    Way(
        name="G - p sum(G), p = exp(x - m - log(sum))",
        operator="cross_entropy",
        gives="gradients",
        function=partial(extended_backward, cross_entropy_in_order_backward),
        grade="textbook",
        loses=f"{LOST_GRADIENT}; {LONG}; ignored rows of infinite or nan logits, whose gradient is nan",
        ships="torch",
    ),
    Way(
        name="gradient for 1 from memory, times g",
        operator="cross_entropy",
        gives="gradients",
        function=cross_entropy_scaled_backward,
        grade="textbook",
        loses=f"{LOST_GRADIENT}; {MEMORY}",
        ships="Liger, Quack, TransformerEngine",
    ),
    Way(
        name="G of products with 0, less p sum(G)",
        operator="cross_entropy",
        gives="gradients",
        function=partial(extended_backward, cross_entropy_multiplied_backward),
        grade="lossy",
        loses=TIMES_ZERO,
        ships="torch.compile",
    ),
    Way(
        name="mean over a converted number of rows",
        operator="cross_entropy",
        gives="result",
        function=partial(extended, cross_entropy_of_a_converted_size),
        grade="lossy",
        loses=CONVERTED,
        ships="torch.compile with dynamic shapes",
    ),
    Way(
        name="gradient of a mean over a converted number of rows",
        operator="cross_entropy",
        gives="gradients",
        function=partial(extended_backward, cross_entropy_of_a_converted_size_backward),
        grade="lossy",
        loses=CONVERTED,
        ships="torch.compile with dynamic shapes",
    ),
)
