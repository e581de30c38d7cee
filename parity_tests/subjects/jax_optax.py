"""JAX and optax as a subject: ``--subject parity_tests.subjects.jax_optax`` (extra: jax).

What optax has no argument for is not offered: class weights, ``pos_weight``, and losses of probabilities. Reductions are written with
jax.numpy, as people who use optax write them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch
from torch.utils.dlpack import from_dlpack

from parity_tests.subjects.bridge import Bridge

jax.config.update("jax_enable_x64", True)
DTYPES = {torch.float16: jnp.float16, torch.bfloat16: jnp.bfloat16, torch.float32: jnp.float32, torch.float64: jnp.float64}
_BRIDGE = Bridge(
    to=lambda tensor: jnp.from_dlpack(tensor.contiguous()),
    back=from_dlpack,
    vjp=jax.vjp,
)


def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """jax.nn.softmax."""
    return _along(jax.nn.softmax, input, dim, dtype)


def log_softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """jax.nn.log_softmax."""
    return _along(jax.nn.log_softmax, input, dim, dtype)


def _along(function: Callable[..., Any], input: torch.Tensor, dim: int, dtype: torch.dtype | None) -> torch.Tensor:
    if input.ndim == 0:
        raise NotImplementedError("a number without dimensions")

    def of(x: Any) -> Any:
        return function(x if dtype is None else x.astype(DTYPES[dtype]), axis=dim)

    return _BRIDGE.call(of, (input,))


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
    dim = 0 if input.ndim == 1 else 1
    if target.shape == input.shape:

        def of_probabilities(x: Any, t: Any) -> Any:
            t = optax.smooth_labels(t, label_smoothing) if label_smoothing and dim == t.ndim - 1 else t
            return _reduced(optax.softmax_cross_entropy(jnp.moveaxis(x, dim, -1), jnp.moveaxis(t, dim, -1)), reduction, None)

        if label_smoothing and dim != input.ndim - 1:
            raise NotImplementedError("smoothing of classes that are not the last dimension")
        return _BRIDGE.call(of_probabilities, (input, target))
    if label_smoothing:
        raise NotImplementedError("label smoothing of class indices")

    def of_indices(x: Any, t: Any) -> Any:
        counted = t != ignore_index
        losses = optax.softmax_cross_entropy_with_integer_labels(jnp.moveaxis(x, dim, -1), jnp.where(counted, t, 0))
        return _reduced(losses, reduction, counted)

    return _BRIDGE.call(of_indices, (input,), target)


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
    return _BRIDGE.call(lambda x, t: _reduced(optax.sigmoid_binary_cross_entropy(x, t), reduction, None), (input, target))


def _reduced(losses: Any, reduction: str, counted: Any) -> Any:
    if counted is not None:
        losses = jnp.where(counted, losses, 0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if counted is None else losses.sum() / counted.sum().astype(losses.dtype)
