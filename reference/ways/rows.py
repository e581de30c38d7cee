"""The ways of softmax, log_softmax and logsumexp, and of their gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch_loss_parity.reference.arguments import namespace, normalized_dims
from torch_loss_parity.reference.logsumexp import of_rows
from torch_loss_parity.reference.nll_loss import device_of
from torch_loss_parity.reference.softmax import along, softmax, with_dimension
from torch_loss_parity.reference.ways import row_forms as forms
from torch_loss_parity.reference.ways.row_forms import Form
from torch_loss_parity.reference.ways.way import Way, stored


def in_form(form: Form, input: Any, dim: int) -> Any:
    """Probabilities, or their logarithms, in one of `row_forms`."""
    return along(input, dim, None, lambda xp, x, axis: form(x, axis))


def kept(probabilities: Form, input: Any, dim: int) -> Any:
    """Probabilities as the backward finds them in memory."""
    return stored(probabilities(input, dim))


def exp_of_kept(log_probabilities: Form, input: Any, dim: int) -> Any:
    """The exponential of log-probabilities as the backward finds them in memory."""
    xp = namespace(input=input)
    return _as_input(xp, xp.exp(stored(log_probabilities(input, dim))), input)


def softmax_backward_textbook(
    grad_output: Any, input: Any, dim: int, *, probabilities: Form = softmax
) -> Any:
    """p (g - sum(g p))."""
    xp = namespace(grad_output=grad_output, input=input)
    p, g, axis = with_dimension(xp, probabilities(input, dim), grad_output, dim)
    return _as_input(xp, p * (g - xp.sum(g * p, axis=axis, keepdims=True)), input)


def softmax_backward_expanded(
    grad_output: Any, input: Any, dim: int, *, probabilities: Form = softmax
) -> Any:
    """p g - p sum(p g)."""
    xp = namespace(grad_output=grad_output, input=input)
    p, g, axis = with_dimension(xp, probabilities(input, dim), grad_output, dim)
    product = g * p
    return _as_input(xp, product - p * xp.sum(product, axis=axis, keepdims=True), input)


def softmax_backward_less_that_of_the_largest(
    grad_output: Any, input: Any, dim: int, *, probabilities: Form = softmax
) -> Any:
    """p (d - sum(d p)), with d the upstream gradient less that of the largest logit, the first of several."""
    xp = namespace(grad_output=grad_output, input=input)
    p, g, axis = with_dimension(xp, probabilities(input, dim), grad_output, dim)
    x = xp.reshape(input, p.shape)
    is_first = _first_of_the_largest(xp, x, axis)
    d = g - xp.sum(xp.where(is_first, g, xp.zeros_like(g)), axis=axis, keepdims=True)
    return _as_input(xp, p * (d - xp.sum(d * p, axis=axis, keepdims=True)), input)


def softmax_backward_through_the_shift(grad_output: Any, input: Any, dim: int) -> Any:
    """(g / s - sum(g p / s)) e, of e = exp(x - m) and s = sum(e), less the sum of them at the largest logit:
    m is differentiated too. In exact arithmetic that sum is 0; what it is after rounding lands there.
    """
    xp = namespace(grad_output=grad_output, input=input)
    x, g, axis = with_dimension(xp, input, grad_output, dim)
    largest = xp.max(x, axis=axis, keepdims=True)
    e = xp.exp(x - largest)
    total = xp.sum(e, axis=axis, keepdims=True)
    through_total = xp.sum(g * (e / total) / total, axis=axis, keepdims=True)
    of_logits = (g / total - through_total) * e
    of_shift = xp.sum(of_logits, axis=axis, keepdims=True)
    zeros = xp.zeros_like(of_logits)
    return _as_input(xp, of_logits - xp.where(x == largest, of_shift + zeros, zeros), input)


def _first_of_the_largest(xp: Any, x: Any, axis: int) -> Any:
    length = x.shape[axis]
    places = xp.arange(length, device=device_of(x))[(...,) + (None,) * (x.ndim - axis % x.ndim - 1)]
    is_largest = x == xp.max(x, axis=axis, keepdims=True)
    zeros = xp.zeros_like(x)
    last_first = xp.where(is_largest, zeros - places, zeros - length)
    return xp.max(last_first, axis=axis, keepdims=True) == zeros - places


def log_softmax_backward_textbook(
    grad_output: Any, input: Any, dim: int, *, probabilities: Form = softmax
) -> Any:
    """g - p sum(g)."""
    xp = namespace(grad_output=grad_output, input=input)
    p, g, axis = with_dimension(xp, probabilities(input, dim), grad_output, dim)
    return _as_input(xp, g - p * xp.sum(g, axis=axis, keepdims=True), input)


log_softmax_textbook = partial(in_form, forms.log_probabilities)
log_softmax_from_log_sum = partial(in_form, forms.log_probabilities_from_log_sum)
log_softmax_of_logsumexp = partial(in_form, forms.log_probabilities_of_logsumexp)
log_softmax_by_exp2 = partial(in_form, forms.log_probabilities_by_exp2)
log_softmax_in_base_2 = partial(in_form, forms.log_probabilities_in_base_2)
softmax_of_logsumexp = partial(in_form, forms.probabilities_of_logsumexp)
softmax_by_exp2 = partial(in_form, forms.probabilities_by_exp2)
softmax_of_logarithms = partial(in_form, forms.probabilities_of_logarithms)
softmax_from_log_sum = partial(in_form, forms.probabilities_from_log_sum)
softmax_in_base_2 = partial(in_form, forms.probabilities_in_base_2)


def logsumexp_textbook(input: Any, dim: int | tuple[int, ...], keepdim: bool = False) -> Any:
    """m + log sum(exp(x - m))."""
    return of_rows(input, dim, keepdim, _log_of_the_sum)


def _log_of_the_sum(xp: Any, input: Any, shift: Any, axes: tuple[int, ...]) -> Any:
    return xp.log(xp.sum(xp.exp(input - shift), axis=axes, keepdims=True)) + shift


def logsumexp_in_base_2(input: Any, dim: int | tuple[int, ...], keepdim: bool = False) -> Any:
    """The base-2 logarithm of the sum of 2**(x / ln 2), times ln 2."""
    return of_rows(input, dim, keepdim, forms.log_sum_in_base_2_with) * forms.LN2


def logsumexp_from_result_backward(
    grad_output: Any, input: Any, dim: int | tuple[int, ...], keepdim: bool = False
) -> Any:
    """g exp(x - y) of the result y as the backward finds it in memory."""
    xp, y = namespace(input=input), stored(logsumexp_textbook(input, dim, True))
    return xp.reshape(grad_output, y.shape) * xp.exp(input - y)


def logsumexp_of_softmax_backward(
    grad_output: Any, input: Any, dim: int | tuple[int, ...], keepdim: bool = False
) -> Any:
    """g p of softmax's p: the largest logit is subtracted where it is infinite too, and the row is nan."""
    xp, axes = namespace(input=input), normalized_dims(dim, input.ndim) if input.ndim else ()
    if 0 in input.shape:  # no maximum of nothing
        return xp.zeros_like(input)
    largest = input
    for axis in axes:
        largest = xp.max(largest, axis=axis, keepdims=True)
    e = xp.exp(input - largest)
    total = xp.sum(e, axis=axes, keepdims=True) if axes else e
    return xp.reshape(grad_output, total.shape) * (e / total)


def logsumexp_in_base_2_backward(
    grad_output: Any, input: Any, dim: int | tuple[int, ...], keepdim: bool = False
) -> Any:
    """g 2**(z - lse2), with z = x / ln 2."""
    xp, y = namespace(input=input), of_rows(input, dim, True, forms.log_sum_in_base_2_with)
    return xp.reshape(grad_output, y.shape) * forms.exp2(xp, forms.in_base_2(input) - y)


def _as_input(xp: Any, gradient: Any, input: Any) -> Any:
    return xp.reshape(gradient, ()) if input.ndim == 0 else gradient


CONFIDENT = "rows where one class holds nearly all of the probability: "
OFFSET = "rows far from 0: the error grows with the offset that their logits have in common"
LONG = "long rows: the error grows with the logarithm of the sum"
SCALED = "logits far from 0: each is scaled by 1 / ln 2, and rounded, before it is shifted"
AT_THE_LARGEST = (
    "long rows with an upstream gradient that is nearly constant: at the largest logit, what is left of the "
    "sum of all gradients"
)
NEARLY_CONSTANT = "an upstream gradient that is nearly constant: products of its size cancel"
LIKE_NO_OTHER = (
    "an upstream gradient that is another at the largest logit than elsewhere, where its class holds "
    "little of the probability"
)
INFINITE = "rows with an infinite logit: -inf, and probabilities of 0, where the definition has nan"
MEMORY = "half precision: what the backward reads was rounded to the dtype of the result"
LOST_LOSS = CONFIDENT + "a log-probability near 0 is lost below the unit roundoff"
LOST_GRADIENT = CONFIDENT + "their gradient is what is left of two nearly equal numbers"

WAYS = (
    Way(
        name="exp(log_softmax)",
        operator="softmax",
        gives="result",
        function=softmax_of_logarithms,
        grade="textbook",
        loses=LONG,
        ships="exp of F.log_softmax; vocabulary-parallel kernels (Megatron-LM)",
    ),
    Way(
        name="exp(x - lse)",
        operator="softmax",
        gives="result",
        function=softmax_from_log_sum,
        grade="textbook",
        loses=OFFSET,
        ships="attention kernels that keep the logarithm of each row's sum (FlashAttention)",
    ),
    Way(
        name="2**((x - m) / ln 2) / sum",
        operator="softmax",
        gives="result",
        function=softmax_by_exp2,
        grade="textbook",
        loses="logits far below the largest: their distance is scaled by 1 / ln 2, and rounded once more",
        ships="Triton and CUDA kernels on ex2",
    ),
    Way(
        name="2**(x / ln 2 - lse2)",
        operator="softmax",
        gives="result",
        function=softmax_in_base_2,
        grade="textbook",
        loses=SCALED,
        ships="Triton and CUDA kernels on ex2 (FlashAttention-2, the Triton tutorials)",
    ),
    *(
        Way(
            name=name + suffix,
            operator="softmax",
            gives="gradients",
            function=function if form is softmax else partial(function, probabilities=form),
            grade="textbook",
            loses=loses + (f"; {more}" if more else ""),
            ships=ships,
        )
        for suffix, form, more in (
            ("", softmax, ""),
            (", p = 2**(x / ln 2 - lse2)", softmax_in_base_2, SCALED),
            (", p from memory", partial(kept, softmax_in_base_2), MEMORY),
        )
        for name, function, loses, ships in (
            ("p (g - sum(g p))", softmax_backward_textbook, LOST_GRADIENT, "torch, JAX, Triton kernels"),
            ("p g - p sum(p g)", softmax_backward_expanded, NEARLY_CONSTANT, "torch.compile"),
        )
        if more != MEMORY or function is softmax_backward_textbook
    ),
    Way(
        name="through e / sum(e) and the shift by m",
        operator="softmax",
        gives="gradients",
        function=softmax_backward_through_the_shift,
        grade="textbook",
        loses=f"{LOST_GRADIENT}; {AT_THE_LARGEST}",
        ships="autograd of e = exp(x - x.max()); e / e.sum(), the maximum not detached",
    ),
    Way(
        name="p (d - sum(d p)), d = g - g of the largest",
        operator="softmax",
        gives="gradients",
        function=softmax_backward_less_that_of_the_largest,
        grade="textbook",
        loses=LIKE_NO_OTHER,
        ships="this project: nobody is known to ship it",
    ),
    Way(
        name="x - m - log(sum)",
        operator="log_softmax",
        gives="result",
        function=log_softmax_textbook,
        grade="textbook",
        loses=LOST_LOSS,
        ships="torch, JAX, TensorFlow",
        by_autograd=True,
    ),
    Way(
        name="x - lse",
        operator="log_softmax",
        gives="result",
        function=log_softmax_from_log_sum,
        grade="textbook",
        loses=f"{LOST_LOSS}; {OFFSET}",
        ships="x - torch.logsumexp(x), fused cross-entropy kernels",
        by_autograd=True,
    ),
    Way(
        name="x - logsumexp(x)",
        operator="log_softmax",
        gives="result",
        function=log_softmax_of_logsumexp,
        grade="textbook",
        loses=f"{LOST_LOSS}; {OFFSET}; {INFINITE}",
        ships="compositions of torch.logsumexp",
        by_autograd=True,
    ),
    Way(
        name="x - lse by exp2 and log2",
        operator="log_softmax",
        gives="result",
        function=log_softmax_by_exp2,
        grade="textbook",
        loses=f"{LOST_LOSS}; {OFFSET}",
        ships="Triton and CUDA kernels on ex2 and lg2",
    ),
    Way(
        name="(x / ln 2 - lse2) ln 2",
        operator="log_softmax",
        gives="result",
        function=log_softmax_in_base_2,
        grade="textbook",
        loses=f"{LOST_LOSS}; {SCALED}",
        ships="Triton and CUDA kernels on ex2 and lg2",
    ),
    *(
        Way(
            name="g - p sum(g)" + suffix,
            operator="log_softmax",
            gives="gradients",
            function=partial(log_softmax_backward_textbook, probabilities=form),
            grade="textbook",
            loses=LOST_GRADIENT + (f"; {more}" if more else ""),
            ships=ships,
        )
        for suffix, form, more, ships in (
            ("", softmax, "", "Triton kernels"),
            (", p = exp(y)", softmax_of_logarithms, LONG, "torch, JAX"),
            (", p = exp(x - lse)", softmax_from_log_sum, OFFSET, "kernels that keep each row's lse"),
            (
                ", p = exp(x - logsumexp(x))",
                softmax_of_logsumexp,
                f"{OFFSET}; {INFINITE}",
                "compositions of torch.logsumexp",
            ),
            (", p = 2**(x / ln 2 - lse2)", softmax_in_base_2, SCALED, "Triton and CUDA kernels on ex2"),
            (
                ", p = exp(y from memory)",
                partial(exp_of_kept, log_softmax_in_base_2),
                MEMORY,
                "torch in half precision",
            ),
        )
    ),
    Way(
        name="m + log(sum)",
        operator="logsumexp",
        gives="result",
        function=logsumexp_textbook,
        grade="textbook",
        loses="rows whose maximum is near 0 and far above the rest: log(1 + s) loses what log1p(s) keeps",
        ships="torch, JAX, SciPy before 1.15",
        by_autograd=True,
    ),
    Way(
        name="lse2 ln 2",
        operator="logsumexp",
        gives="result",
        function=logsumexp_in_base_2,
        grade="textbook",
        loses=SCALED,
        ships="Triton and CUDA kernels on ex2 and lg2",
    ),
    Way(
        name="g exp(x - y)",
        operator="logsumexp",
        gives="gradients",
        function=logsumexp_from_result_backward,
        grade="textbook",
        loses=f"{OFFSET}; {MEMORY}",
        ships="torch, JAX",
    ),
    Way(
        name="g softmax(x)",
        operator="logsumexp",
        gives="gradients",
        function=logsumexp_of_softmax_backward,
        grade="sharp",
        loses="",
        ships="MLX: LogSumExp::vjp; whoever has a softmax at hand",
    ),
    Way(
        name="g 2**(x / ln 2 - lse2)",
        operator="logsumexp",
        gives="gradients",
        function=logsumexp_in_base_2_backward,
        grade="textbook",
        loses=SCALED,
        ships="Triton and CUDA kernels on ex2",
    ),
)
