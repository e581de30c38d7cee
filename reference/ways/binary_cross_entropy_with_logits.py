"""The ways of binary_cross_entropy_with_logits and of its gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.binary_cross_entropy_with_logits import (
    BinaryCrossEntropyWithLogitsGradients,
    sigmoid,
    softplus,
)
from torch_loss_parity.reference.reduction import reduce_backward, reduce_elements
from torch_loss_parity.reference.ways.nll_loss import MIXED_SIGNS
from torch_loss_parity.reference.ways.rows import SCALED
from torch_loss_parity.reference.ways.sigmoids import (
    Elementwise,
    sigmoid_by_exp2,
    sigmoid_by_tanh,
    sigmoid_of_softplus,
    softplus_by_exp2,
    softplus_in_base_2,
)
from torch_loss_parity.reference.ways.sizes import Size, converted, exactly
from torch_loss_parity.reference.ways.two_exponentials import (
    of_two_exponentials,
    of_two_exponentials_backward,
    of_two_exponentials_less_the_product,
    of_two_exponentials_less_the_product_backward,
)
from torch_loss_parity.reference.ways.way import Way


def subtracted(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """(1 - t) x - (1 + (p - 1) t) logsigmoid(x): cancels for x << 0, where the loss is exp(x)."""
    xp = namespace(input=input)
    zeros = xp.zeros_like(input)
    log_sigmoid = -xp.maximum(-input, zeros) - xp.log1p(xp.exp(-abs(input)))
    if pos_weight is not None:
        log_sigmoid = log_sigmoid * ((pos_weight - 1) * target + 1)
    losses = (1 - target) * input - log_sigmoid
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def by_powers_of_two(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """(1 - t) x + (1 + (p - 1) t) softplus(-x) by exp2 and log2."""
    xp = namespace(input=input)
    tail = softplus_by_exp2(xp, -input)
    if pos_weight is not None:
        tail = tail * ((pos_weight - 1) * target + 1)
    return reduce_elements(xp, (1 - target) * input + tail, weight, reduction, prod(input.shape))


def less_the_product(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """max(x, 0) - x t + log1p(exp(-|x|)); with pos_weight p, (1 - t) x + (1 + (p - 1) t) softplus(-x)."""
    if pos_weight is not None:
        return subtracted(input, target, weight, reduction, pos_weight)
    xp = namespace(input=input)
    losses = xp.maximum(input, xp.zeros_like(input)) - input * target + xp.log1p(xp.exp(-abs(input)))
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def softplus_less_the_product(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    *,
    softplus: Elementwise = softplus,
    with_pos_weight: Callable[..., Any] = subtracted,
) -> Any:
    """softplus(x) - x t; with pos_weight p, (1 - t) x + (1 + (p - 1) t) softplus(-x)."""
    if pos_weight is not None:
        return with_pos_weight(input, target, weight, reduction, pos_weight)
    xp = namespace(input=input)
    losses = softplus(xp, input) - input * target
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def of_the_terms_that_count(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """The definition without the terms that are multiplied by 0: of targets 0 and 1 one term is left, also
    where the other is infinite.
    """
    xp = namespace(input=input)
    zeros = xp.zeros_like(input)
    positive = target * softplus(xp, -input)
    if pos_weight is not None:
        positive = pos_weight * positive
    positive = xp.where(target == 0, zeros, positive)
    losses = positive + xp.where(target == 1, zeros, (1 - target) * softplus(xp, input))
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def of_softplus_pairs(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    *,
    softplus: Elementwise = softplus,
) -> Any:
    """The definition, p t softplus(-x) + (1 - t) softplus(x), of another softplus."""
    xp = namespace(input=input)
    positive = target * softplus(xp, -input)
    if pos_weight is not None:
        positive = pos_weight * positive
    losses = positive + (1 - target) * softplus(xp, input)
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def of_softplus_pairs_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    *,
    sigmoid: Elementwise = sigmoid,
) -> BinaryCrossEntropyWithLogitsGradients:
    """(1 - t) sigmoid(x) - p t sigmoid(-x); of the target, p softplus(-x) - softplus(x), whose difference
    cancels.
    """
    xp = namespace(input=input)
    positive, tilt = target * sigmoid(xp, -input), softplus(xp, -input)
    if pos_weight is not None:
        positive, tilt = pos_weight * positive, pos_weight * tilt
    slope, tilt = (1 - target) * sigmoid(xp, input) - positive, tilt - softplus(xp, input)
    if weight is not None:
        slope, tilt = slope * weight, tilt * weight
    g = reduce_backward(grad_output, reduction, prod(input.shape))
    return BinaryCrossEntropyWithLogitsGradients(g * slope, g * tilt)


def divided_first(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """sum(l / N): each loss is divided before they are added up."""
    if reduction != "mean":
        return less_the_product(input, target, weight, reduction, pos_weight)
    losses = less_the_product(input, target, weight, "none", pos_weight)
    return namespace(input=input).sum(losses / prod(input.shape))


def subtracted_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    size: Size = exactly,
    *,
    sigmoid: Elementwise = sigmoid,
    softplus: Elementwise = softplus,
) -> BinaryCrossEntropyWithLogitsGradients:
    """sigmoid(x) (1 + p t - t) - p t: cancels for t = 1 and x >> 0.

    Each product with the upstream gradient and weight is last.
    """
    xp = namespace(input=input)
    if pos_weight is None:
        slope, tilt = sigmoid(xp, input) - target, -input
    else:
        weighted = pos_weight * target
        slope = sigmoid(xp, input) * (weighted + 1 - target) - weighted
        tilt = pos_weight * softplus(xp, -input) - softplus(xp, input)
    slope, tilt = slope * grad_output, tilt * grad_output
    if weight is not None:
        slope, tilt = slope * weight, tilt * weight
    denominator = size(input, prod(input.shape))
    return BinaryCrossEntropyWithLogitsGradients(
        reduce_backward(slope, reduction, denominator), reduce_backward(tilt, reduction, denominator)
    )


def folded_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    *,
    sigmoid: Elementwise = sigmoid,
) -> BinaryCrossEntropyWithLogitsGradients:
    """(1 - t) - (1 + (p - 1) t) sigmoid(-x): cancels for x << 0."""
    xp = namespace(input=input)
    slope, tilt = sigmoid(xp, -input), -input
    if pos_weight is not None:
        slope = slope * ((pos_weight - 1) * target + 1)
        tilt = pos_weight * softplus(xp, -input) - softplus(xp, input)
    g = reduce_backward(grad_output, reduction, prod(input.shape))
    g = g if weight is None else g * weight
    return BinaryCrossEntropyWithLogitsGradients(g * ((1 - target) - slope), g * tilt)


of_a_converted_size_backward = partial(subtracted_backward, size=converted)
CONFIDENT = "confident logits: "
LOST_LOSS = CONFIDENT + "a loss of exp(-|x|) is what is left of two numbers of the size of x, and is lost"
LOST_LOG1P = "a logarithm near 1 loses what log1p keeps"
LOST_GRADIENT = CONFIDENT + "the gradient is what is left of two nearly equal numbers"

WAYS = (
    Way(
        name="max(x, 0) - x t + log1p(exp(-|x|))",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=less_the_product,
        grade="textbook",
        loses="large logits with targets near 1, but not 1: x - x t cancels",
        ships="TensorFlow, torch before 2.0, torchvision",
        by_autograd=True,
    ),
    Way(
        name="softplus(x) - x t",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=softplus_less_the_product,
        grade="textbook",
        loses="large logits with targets near 1: what softplus(x) has beside x is lost",
        ships="logaddexp(0, x) - x t: JAX, Theano, textbooks",
        by_autograd=True,
    ),
    Way(
        name="terms times 0 are left out",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=of_the_terms_that_count,
        grade="sharp",
        loses="",
        ships="softplus((1 - 2 t) x) of hard targets",
    ),
    Way(
        name="(1 - t) x - logsigmoid(x)",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=subtracted,
        grade="textbook",
        loses=LOST_LOSS,
        ships="torch",
        by_autograd=True,
    ),
    Way(
        name="(1 - t) x + m + log(exp(-m) + exp(-x - m))",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=of_two_exponentials,
        grade="textbook",
        loses=f"{LOST_LOSS}; {LOST_LOG1P}",
        ships="torch.func, torch before 2.1",
    ),
    Way(
        name="x - x t + m + log(exp(-m) + exp(-x - m))",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=of_two_exponentials_less_the_product,
        grade="textbook",
        loses=f"{LOST_LOSS}; {LOST_LOG1P}; large logits with targets near 1, but not 1: x - x t cancels",
        ships="torch before 0.4.1, copies of it in focal losses",
    ),
    Way(
        name="softplus pairs in base 2",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=partial(of_softplus_pairs, softplus=softplus_in_base_2),
        grade="textbook",
        loses=SCALED,
        ships="tinygrad, torch.logaddexp2",
        by_autograd=True,
    ),
    Way(
        name="softplus(x) - x t by exp2 and log2",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=partial(
            softplus_less_the_product, softplus=softplus_by_exp2, with_pos_weight=by_powers_of_two
        ),
        grade="textbook",
        loses=LOST_LOG1P + "; large logits with targets near 1: what softplus(x) has beside x is lost",
        ships="tinygrad, log(1 + exp(-|x|)) in NumPy, Triton and CUDA kernels on ex2 and lg2",
    ),
    Way(
        name="(1 - t) x + softplus(-x) by exp2 and log2",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=by_powers_of_two,
        grade="textbook",
        loses=f"{LOST_LOSS}; {LOST_LOG1P}",
        ships="Triton and CUDA kernels on ex2 and lg2, of torch's formula",
    ),
    Way(
        name="sum(l / N)",
        operator="binary_cross_entropy_with_logits",
        gives="result",
        function=divided_first,
        grade="textbook",
        loses=f"{LOST_LOSS}; {MIXED_SIGNS}",
        ships="kernels that scale each element's loss",
    ),
    Way(
        name="(sigmoid(x) - t) g",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=subtracted_backward,
        grade="textbook",
        loses=LOST_GRADIENT,
        ships="torch, textbooks",
    ),
    Way(
        name="(sigmoid(x) - t) g, sigmoid by tanh",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=partial(subtracted_backward, sigmoid=sigmoid_by_tanh),
        grade="textbook",
        loses=CONFIDENT
        + "a sigmoid near 0 is lost beside 1/2, and the gradient is of two nearly equal numbers",
        ships="XLA's logistic, CUDA kernels on tanh.approx",
    ),
    Way(
        name="(sigmoid(x) - t) g by exp2 and log2",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=partial(subtracted_backward, sigmoid=sigmoid_by_exp2, softplus=softplus_by_exp2),
        grade="textbook",
        loses=LOST_GRADIENT + "; a logit is scaled by 1 / ln 2, and rounded",
        ships="tinygrad, Triton and CUDA kernels on ex2 and lg2",
    ),
    Way(
        name="softplus(-x) - softplus(x) of the target",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=of_softplus_pairs_backward,
        grade="textbook",
        loses="logits near 0: the gradient of the target, -x, is a difference of two numbers near log 2",
        ships="autograd of softplus or logsigmoid pairs",
    ),
    Way(
        name="(1 - t) s(x) - p t s(-x), s(x) = exp(x - softplus(x))",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=partial(of_softplus_pairs_backward, sigmoid=sigmoid_of_softplus),
        grade="textbook",
        loses="logits on the wrong side: x and softplus(x) are nearly equal, and the latter is rounded",
        ships="JAX, optax: the derivative of jax.numpy.logaddexp",
    ),
    Way(
        name="through two exponentials",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=of_two_exponentials_backward,
        grade="textbook",
        loses=LOST_GRADIENT + "; what flows through m is 0, and cancels",
        ships="torch.func",
    ),
    Way(
        name="through two exponentials, g and g t in any order",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=of_two_exponentials_less_the_product_backward,
        grade="textbook",
        loses=LOST_GRADIENT + "; what flows through m is 0, and cancels; so do g and g t",
        ships="torch before 0.4.1, copies of it in focal losses",
    ),
    Way(
        name="((1 - t) - (1 + (p - 1) t) sigmoid(-x)) g, sigmoid by tanh",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=partial(folded_backward, sigmoid=sigmoid_by_tanh),
        grade="textbook",
        loses=CONFIDENT
        + "a sigmoid near 0 is lost beside 1/2, and the gradient is of two nearly equal numbers",
        ships="torch's formula, differentiated by hand, on tanh",
    ),
    Way(
        name="mean over a converted number of elements",
        operator="binary_cross_entropy_with_logits",
        gives="gradients",
        function=of_a_converted_size_backward,
        grade="lossy",
        loses="half precision: the number of elements is rounded to it before a mean divides",
        ships="torch.compile with dynamic shapes",
    ),
)
