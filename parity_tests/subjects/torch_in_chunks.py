"""torch's linear_cross_entropy in chunks, as subjects: ``--subject torch.chunked:accurate,8``.

With `options` torch makes the gradients in the forward, a chunk of rows after the other, and never holds all
logits. What the options choose are other orders of operations and other formats: each choice is a subject of
its own, called ``torch.chunked:POLICY,CHUNKS`` or ``torch.chunked:POLICY,CHUNKS,own``. POLICY is an
``acc_policy``; CHUNKS a number of rows, or a ``chunking_method``. Half precision is accumulated in float32,
or in its ``own`` dtype, which is what a policy that is named by itself does.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

PREFIX = "torch.chunked:"
POLICIES = ("auto", "accurate", "balanced", "compact")
CHUNKS = ("auto", "1", "8", "64", "aspect_ratio", "aspect_ratio:2")
HALVES = (torch.float16, torch.bfloat16)


def in_chunks(name: str) -> Any:
    """The namespace of a subject, from what follows the prefix.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    policy, _, rest = name.partition(",")
    chunks, _, own = rest.partition(",")
    size = int(chunks) if chunks.isdigit() else None
    if policy not in POLICIES or not (size or chunks in CHUNKS) or own not in ("", "own"):
        raise ValueError(
            f"{PREFIX}{name} is no subject; it is {PREFIX}POLICY,CHUNKS or {PREFIX}POLICY,CHUNKS,own, with a "
            f"policy among {', '.join(POLICIES)}, and a number of rows or one of "
            f"{', '.join(each for each in CHUNKS if not each.isdigit())}"
        )
    function = getattr(torch.nn.functional, "linear_cross_entropy", None)
    if function is None:  # before torch 2.13
        return SimpleNamespace()

    def linear_cross_entropy(
        input: torch.Tensor, linear_weight: torch.Tensor, target: torch.Tensor, **given: Any
    ) -> torch.Tensor:
        """What torch computes in chunks: class indices, not smoothed, of a layer without positions."""
        for reason, composes in (
            ("label smoothing", given.get("label_smoothing", 0.0) != 0.0),
            ("targets other than int64", target.dtype != torch.int64),
            ("a layer with positions", linear_weight.ndim > 2),
        ):
            if composes:
                raise NotImplementedError(f"{reason}: torch composes, and computes nothing in chunks")
        accumulated = torch.float32 if input.dtype in HALVES and not own else None
        make: Any = torch.nn.LinearCrossEntropyOptions
        options = make(
            allow_retain_graph=True,
            batch_chunk_size=size,
            chunking_method=None if size else chunks,
            acc_policy=policy,
            acc_dtype=accumulated,
        )
        result: torch.Tensor = function(input, linear_weight, target, options=options, **given)
        return result

    return SimpleNamespace(linear_cross_entropy=linear_cross_entropy)
