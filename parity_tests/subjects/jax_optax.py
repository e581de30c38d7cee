"""JAX and optax as a subject: ``--subject torch_loss_parity.subjects.jax_optax`` (extra: jax).

What optax has no argument for is not promised: class weights, ``pos_weight``, smoothing of class indices, and
losses of probabilities.
Reductions are written with jax.numpy, as people who use optax write them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch
from torch.utils.dlpack import from_dlpack

from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.subjects.bridge import Bridge

jax.config.update("jax_enable_x64", True)
# A gradient comes back as a number: torch differentiates it no further, and transforms nothing.
PROMISES = {
    "softmax": {"ndim": (1, 2, 3, 4, 5)},  # no numbers without dimensions
    "log_softmax": {"ndim": (1, 2, 3, 4, 5)},
    "cross_entropy": {"weight": None, "label_smoothing": 0.0},
    "binary_cross_entropy_with_logits": {"weight": None, "pos_weight": None},
    "double_backward": False,
    "forward_mode": False,
    "transforms": False,
}
DTYPES = {
    torch.float16: jnp.float16,
    torch.bfloat16: jnp.bfloat16,
    torch.float32: jnp.float32,
    torch.float64: jnp.float64,
}


@partial(jax.jit, static_argnums=0)
def _vjp(function: Callable[..., Any], arrays: Sequence[Any], others: Sequence[Any]) -> Any:
    return jax.vjp(lambda *each: function(*each, *others), *arrays)


_pull = jax.jit(lambda pull_back, grad_output: pull_back(grad_output))


def _compiled_vjp(
    function: Callable[..., Any], arrays: Sequence[Any], others: Sequence[Any]
) -> tuple[Any, Callable[[Any], Sequence[Any]]]:
    """JAX compiles for every shape: the result as one program and the gradients as another, not each
    operation by itself.
    """
    result, pull_back = _vjp(function, list(arrays), list(others))
    return result, partial(_pull, pull_back)


_BRIDGE = Bridge(to=lambda tensor: jnp.from_dlpack(tensor.contiguous()), back=from_dlpack, vjp=_compiled_vjp)


def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """jax.nn.softmax."""
    return _along(jax.nn.softmax, input, dim, dtype)


def log_softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """jax.nn.log_softmax."""
    return _along(jax.nn.log_softmax, input, dim, dtype)


def _along(
    function: Callable[..., Any], input: torch.Tensor, dim: int, dtype: torch.dtype | None
) -> torch.Tensor:
    if input.ndim == 0:
        raise NotImplementedError("a number without dimensions")
    return _BRIDGE.call(_row_function(function, dim, None if dtype is None else DTYPES[dtype]), (input,))


@cache
def _row_function(function: Callable[..., Any], dim: int, dtype: Any) -> Callable[..., Any]:
    return lambda x: function(x if dtype is None else x.astype(dtype), axis=dim)


def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """optax.softmax_cross_entropy_with_integer_labels, or of probabilities."""
    if weight is not None:
        raise NotImplementedError("class weights")
    dim = class_dim(input)
    if target.shape == input.shape:
        if label_smoothing and dim != input.ndim - 1:
            raise NotImplementedError("smoothing of classes that are not the last dimension")
        return _BRIDGE.call(_of_probabilities(dim, label_smoothing, reduction), (input, target))
    if label_smoothing:
        raise NotImplementedError("label smoothing of class indices")
    return _BRIDGE.call(_of_indices(dim, ignore_index, reduction), (input,), target)


@cache
def _of_probabilities(dim: int, label_smoothing: float, reduction: str) -> Callable[..., Any]:
    def loss(x: Any, t: Any) -> Any:
        t = optax.smooth_labels(t, label_smoothing) if label_smoothing else t
        return _reduced(
            optax.softmax_cross_entropy(jnp.moveaxis(x, dim, -1), jnp.moveaxis(t, dim, -1)), reduction, None
        )

    return loss


@cache
def _of_indices(dim: int, ignore_index: int, reduction: str) -> Callable[..., Any]:
    def loss(x: Any, t: Any) -> Any:
        counted = t != ignore_index
        losses = optax.softmax_cross_entropy_with_integer_labels(
            jnp.moveaxis(x, dim, -1), jnp.where(counted, t, 0)
        )
        return _reduced(losses, reduction, counted)

    return loss


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
) -> torch.Tensor:
    """The losses of optax, of logits by jax.numpy.tensordot."""
    factors = (input, linear_weight) if linear_bias is None else (input, linear_weight, linear_bias)
    dim, index = input.ndim - 1, -100 if ignore_index is None else ignore_index
    if target.shape == (*input.shape[:-1], *linear_weight.shape[:-1]):
        return _BRIDGE.call(_of_layer(_of_probabilities(dim, 0.0, reduction)), (*factors, target))
    return _BRIDGE.call(_of_layer(_of_indices(dim, index, reduction)), factors, target)


@cache
def _of_layer(of_logits: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of logits, as one of an input, a layer, its bias if it has one, and a target."""

    def loss(x: Any, w: Any, *others: Any) -> Any:
        *bias, target = others
        logits = jnp.tensordot(x, w, axes=((-1,), (-1,)))
        return of_logits(logits + bias[0] if bias else logits, target)

    return loss


def binary_cross_entropy_with_logits(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    pos_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """optax.sigmoid_binary_cross_entropy."""
    if weight is not None or pos_weight is not None:
        raise NotImplementedError("weight and pos_weight")
    return _BRIDGE.call(_of_logits(reduction), (input, target))


@cache
def _of_logits(reduction: str) -> Callable[..., Any]:
    return lambda x, t: _reduced(optax.sigmoid_binary_cross_entropy(x, t), reduction, None)


def _reduced(losses: Any, reduction: str, counted: Any) -> Any:
    if counted is not None:
        losses = jnp.where(counted, losses, 0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if counted is None else losses.sum() / counted.sum().astype(losses.dtype)
