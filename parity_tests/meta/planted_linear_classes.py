"""Wrong subjects for the identities of linear_cross_entropy: each is torch but for one thing, and named for
what is wrong.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
MORE = 1.5


def loss(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    result: Tensor = F.linear_cross_entropy(input, linear_weight, target, **options)
    return result


def multiplied(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    return MORE * loss(input, linear_weight, target, **options)


def layer_clamped(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Numbers of the layer beyond 1 are cut, whatever all classes have in common."""
    return loss(input, linear_weight.clamp(-1, 1), target, **options)


def first_class_enlarged(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    return loss(input, torch.cat([linear_weight[:1] * MORE, linear_weight[1:]]), target, **options)


def last_feature_dropped(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    return loss(input[..., :-1], linear_weight[..., :-1], target, **options)


def first_row_enlarged(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    return loss(torch.cat([input[:1] * MORE, input[1:]]), linear_weight, target, **options)


def bias_halved(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    if (bias := options.get("linear_bias")) is not None:
        options["linear_bias"] = bias / 2
    return loss(input, linear_weight, target, **options)


def scaled_by_features(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    return loss(input / input.shape[-1], linear_weight, target, **options)


def first_position_for_all(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    if linear_weight.ndim == 3:
        linear_weight = linear_weight[:, :1].expand_as(linear_weight)
    return loss(input, linear_weight, target, **options)
