"""Right kernels of softmax: how its gradient is made."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.definition import wide
from torch_loss_parity.faults.right.probabilities import softmax
from torch_loss_parity.faults.right.record import TEXTBOOK, of_rows

Tensor = torch.Tensor


def _products_first(g: Tensor, p: Tensor) -> Tensor:
    products = p * g
    return products - p * products.sum(-1, keepdim=True)


@of_rows("softmax", _products_first, ships="ml-explore/mlx: Softmax::vjp", grade=TEXTBOOK)
def gradient_is_pg_minus_p_times_the_sum(x: Tensor) -> tuple[Tensor, ...]:
    """p g - p sum(p g)."""
    p = softmax(x)
    return p, p


def _recomputed(g: Tensor, x: Tensor) -> Tensor:
    p = softmax(x)
    return p * (g - (g * p).sum(-1, keepdim=True))


@of_rows("softmax", _recomputed, ships="pytorch/pytorch: torch.utils.checkpoint", grade=TEXTBOOK)
def probabilities_are_computed_again_in_the_backward(x: Tensor) -> tuple[Tensor, ...]:
    """The forward keeps its input, and the backward computes the probabilities again."""
    return softmax(x), x


def _from_what_was_stored(g: Tensor, stored: Tensor) -> Tensor:
    p = wide(stored)
    return p * (g - (g * p).sum(-1, keepdim=True))


@of_rows("softmax", _from_what_was_stored, ships="pytorch/pytorch: softmax of half precision", grade=TEXTBOOK)
def backward_has_the_probabilities_as_they_were_stored(x: Tensor) -> tuple[Tensor, ...]:
    """In half precision the backward begins with the rounded result."""
    p = softmax(x).to(x.dtype)
    return p, p


def _dot_by_lanes(g: Tensor, p: Tensor) -> Tensor:
    return (g - sums.by_lanes(g * p).unsqueeze(-1)) * p


@of_rows("softmax", _dot_by_lanes, ships="NVIDIA/apex: scaled_masked_softmax backward", grade=TEXTBOOK)
def dot_product_is_summed_by_the_lanes_of_a_warp(x: Tensor) -> tuple[Tensor, ...]:
    """The sum of g p is made by 32 lanes, each with a 32nd."""
    p = softmax(x, sums.by_lanes)
    return p, p


def _dot_in_float64(g: Tensor, p: Tensor) -> Tensor:
    return p * (g - (g.double() * p.double()).sum(-1, keepdim=True).to(p.dtype))


@of_rows(
    "softmax", _dot_in_float64, ships="ggml-org/ggml: soft_max_back, a dot product in double", grade=TEXTBOOK
)
def dot_product_is_accumulated_in_float64(x: Tensor) -> tuple[Tensor, ...]:
    """The sum of g p is accumulated in float64."""
    p = softmax(x, sums.in_float64)
    return p, p


def _shifted_upstream(g: Tensor, p: Tensor) -> Tensor:
    at_largest = g.gather(-1, p.argmax(-1, keepdim=True))
    above = g - at_largest
    return p * (above - (above * p).sum(-1, keepdim=True))


@of_rows("softmax", _shifted_upstream, ships="this project: nobody is known to ship it", grade=TEXTBOOK)
def upstream_gradient_is_taken_from_that_of_the_largest(x: Tensor) -> tuple[Tensor, ...]:
    """p (h - sum h p) with h = g minus the upstream gradient of the largest: nothing cancels where one class
    has nearly all.
    """
    p = softmax(x)
    return p, p


JACOBIAN = 64  # classes: that of a longer row is larger than the row by as much


def _by_the_jacobian(g: Tensor, p: Tensor) -> Tensor:
    if p.shape[-1] > JACOBIAN:
        return _products_first(g, p)
    jacobian = torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)
    return (jacobian @ g.unsqueeze(-1)).squeeze(-1)


@of_rows("softmax", _by_the_jacobian, ships="well known: diag(p) - p p^T, times g", grade=TEXTBOOK)
def gradient_is_the_product_with_the_jacobian(x: Tensor) -> tuple[Tensor, ...]:
    """(diag(p) - p p^T) g, of rows of up to 64 classes."""
    p = softmax(x)
    return p, p
