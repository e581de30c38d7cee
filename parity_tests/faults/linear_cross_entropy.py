"""Faults of the result of linear_cross_entropy: its product, chunks of rows and of classes, and what a chunk
leaves to the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import forward
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy as right

NAME = "linear_cross_entropy"
CHUNK = 4  # rows, classes or features of a chunk


def indices(logits: Tensor, target: Tensor) -> bool:
    """Whether the target names classes, of rows in a batch without positions."""
    return logits.ndim == 2 and not target.is_floating_point() and bool(logits.numel())


def counted(target: Tensor, ignore_index: int | None) -> Tensor:
    return target != (NO_INDEX if ignore_index is None else ignore_index)


def parts(rows: int) -> Iterator[slice]:
    """The chunks of rows, the last of which may have a tail."""
    for start in range(0, rows, CHUNK):
        yield slice(start, start + CHUNK)


def used(target: Tensor, weight: Tensor | None, ignore_index: int | None, like: Tensor) -> Tensor:
    """What each row counts in the denominator of a mean."""
    rows = counted(target, ignore_index)
    own = torch.ones_like(rows, dtype=like.dtype)
    if weight is not None:
        own = weight[torch.where(rows, target, torch.zeros_like(target)).long()]
    return torch.where(rows, own, torch.zeros_like(own))


# --- the product --------------------------------------------------------------------------------------------


@forward(NAME, "SHP", "linkedin/Liger-Kernel#968", "forward", "semantics")
def the_bias_is_forgotten(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The logits have no bias."""
    return right(input, linear_weight, target, **options | {"linear_bias": None})


@forward(NAME, "ACC", "mutation: the path of autocast", "transforms")
def the_bias_is_forgotten_under_autocast(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The logits have no bias where autocast makes them."""
    if torch.is_autocast_enabled("cpu"):
        options["linear_bias"] = None
    return right(input, linear_weight, target, **options)


@forward(NAME, "ACC", "mutation: the path of autocast", "transforms")
def logits_have_eight_bits_under_autocast(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Under autocast the layer is rounded to the eight bits of float8_e4m3fn."""
    if torch.is_autocast_enabled("cpu") and linear_weight.abs().max() < 448:
        linear_weight = linear_weight.to(torch.float8_e4m3fn).to(linear_weight.dtype)
    return right(input, linear_weight, target, **options)


@forward(NAME, "TIL", "Dao-AILab/quack#209", "forward")
def a_tail_of_features_is_dropped(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Features beyond the last whole block are not multiplied."""
    whole_blocks = input.shape[-1] // CHUNK * CHUNK or input.shape[-1]
    return right(input[..., :whole_blocks], linear_weight[..., :whole_blocks], target, **options)


@forward(NAME, "ORC", "pytorch/pytorch#187217", "forward")
def one_product_of_many_is_dropped(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Of 33 features and more the last is left out of the sums."""
    last = -1 if input.shape[-1] >= 33 else None
    return right(input[..., :last], linear_weight[..., :last], target, **options)


@forward(NAME, "ACC", "pytorch/pytorch#163774", "forward")
def factors_are_rounded_to_eleven_bits(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """float32 is multiplied as TF32."""

    def tf32(a: Tensor) -> Tensor:
        if a.dtype != torch.float32:
            return a
        bits = a.contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)

    return right(tf32(input), tf32(linear_weight), target, **options)


@forward(NAME, "ACC", "pytorch/pytorch#124480", "forward")
def logits_of_a_layer_are_kept_in_bfloat16(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Whatever the dtype, the logits are stored in 16 bits."""
    bias = options.pop("linear_bias")
    index = options.pop("ignore_index")
    logits = linear(input, linear_weight, bias)
    stored = logits.to(torch.bfloat16).to(logits.dtype)
    options["ignore_index"] = NO_INDEX if index is None else index
    return reference.cross_entropy(stored, target, **options)


@forward(NAME, "SHP", "pytorch/pytorch#187053", "forward")
def every_position_has_the_layer_of_the_first(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Of a layer with positions, the first one's rows are used for all of them."""
    if linear_weight.ndim > 2 and linear_weight.numel():
        first = linear_weight.reshape(linear_weight.shape[0], -1, linear_weight.shape[-1])[:, :1]
        linear_weight = first.expand(-1, linear_weight[0, ..., 0].numel(), -1).reshape(linear_weight.shape)
    return right(input, linear_weight, target, **options)


# --- chunks of rows -----------------------------------------------------------------------------------------


@forward(NAME, "TIL", "axolotl-ai-cloud/axolotl#1601", "forward")
def the_tail_of_the_rows_is_dropped(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Rows beyond the last whole chunk add nothing to a sum or to a mean."""
    rows = len(input) // CHUNK * CHUNK
    if input.ndim < 2 or options["reduction"] == "none" or rows in (0, len(input)):
        return right(input, linear_weight, target, **options)
    return right(input[:rows], linear_weight, target[:rows], **options)


@forward(NAME, "DEN", "linkedin/Liger-Kernel#1298", "domain", "identities")
def the_denominator_is_that_of_the_last_chunk(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """A mean over chunks divides by what counts in the last of them."""
    logits = linear(input, linear_weight)
    if options["reduction"] != "mean" or not indices(logits, target) or len(logits) <= CHUNK:
        return right(input, linear_weight, target, **options)
    count = used(target, options["weight"], options["ignore_index"], logits)
    total = right(input, linear_weight, target, **options | {"reduction": "sum"})
    return total / list(count.split(CHUNK))[-1].sum()


@forward(NAME, "DEN", "linkedin/Liger-Kernel#1391", "domain", "identities")
def the_loss_is_multiplied_by_the_number_of_chunks(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Chunks of a mean are added up as if each had divided by its own part alone."""
    loss = right(input, linear_weight, target, **options)
    chunks = -(-len(input) // CHUNK) if input.ndim > 1 else 1
    return loss * chunks if options["reduction"] == "mean" and chunks else loss


@forward(NAME, "DEN", "allenai/OLMo-core#370", "domain", "identities")
def each_chunk_has_a_mean_of_its_own(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """A mean is the mean of the chunks' means."""
    if options["reduction"] != "mean" or input.ndim < 2 or not len(input):
        return right(input, linear_weight, target, **options)
    means = [right(input[part], linear_weight, target[part], **options) for part in parts(len(input))]
    return torch.stack(means).mean()


# --- chunks of classes --------------------------------------------------------------------------------------


def in_classes(logits: Tensor, target: Tensor, log_sum: Tensor, options: dict[str, Any]) -> Tensor:
    """The loss of class indices from a logarithm of the sum of each row."""
    rows = counted(target, options["ignore_index"])
    inside = torch.where(rows, target, torch.zeros_like(target)).long()
    losses = log_sum - logits.gather(1, inside[:, None])[:, 0]
    own = used(target, options["weight"], options["ignore_index"], logits)
    losses = torch.where(rows, own * losses, torch.zeros_like(losses))
    if options["reduction"] == "none":
        return losses
    return losses.sum() / own.sum() if options["reduction"] == "mean" else losses.sum()


def plain(logits: Tensor, target: Tensor, options: dict[str, Any]) -> bool:
    """Whether a loss is that of `in_classes`: class indices that are not smoothed."""
    return indices(logits, target) and not options["label_smoothing"]


@forward(NAME, "TIL", "Dao-AILab/quack#209", "domain", "hygiene")
def a_tail_of_classes_is_dropped_from_the_sum(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Classes beyond the last whole block are no part of the denominator."""
    logits = linear(input, linear_weight, options["linear_bias"])
    blocks = logits.shape[-1] // CHUNK * CHUNK
    if not plain(logits, target, options) or not blocks:
        return right(input, linear_weight, target, **options)
    return in_classes(logits, target, logits[:, :blocks].logsumexp(1), options)


@forward(NAME, "TIL", "unslothai/unsloth#1601", "forward")
def padded_classes_have_a_logit_of_zero(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The classes are padded to whole blocks with rows of zeros, which count in the denominator."""
    logits = linear(input, linear_weight, options["linear_bias"])
    if not plain(logits, target, options):
        return right(input, linear_weight, target, **options)
    padded = torch.nn.functional.pad(logits, (0, -logits.shape[1] % CHUNK))
    return in_classes(logits, target, padded.logsumexp(1), options)


@forward(NAME, "INF", "pytorch/pytorch#181574", "domain")
def padded_classes_have_a_finite_sentinel(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The classes are padded with a logit of -1000, as if none were below it."""
    logits = linear(input, linear_weight, options["linear_bias"])
    if not plain(logits, target, options):
        return right(input, linear_weight, target, **options)
    padded = torch.nn.functional.pad(logits, (0, -logits.shape[1] % CHUNK), value=-1000.0)
    shift = padded.amax(1, keepdim=True)
    log_sum = (padded - shift).exp().sum(1).log() + shift[:, 0]
    return torch.where(
        shift[:, 0] > -900,
        right(input, linear_weight, target, **options),
        in_classes(logits, target, log_sum, options),
    )


@forward(NAME, "SHD", "NVIDIA/Megatron-LM#1390", "domain")
def the_running_sum_is_not_scaled_to_a_new_maximum(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Each block of classes adds its exponentials, shifted by its own maximum, to the sum so far."""
    logits = linear(input, linear_weight, options["linear_bias"])
    if not plain(logits, target, options):
        return right(input, linear_weight, target, **options)
    blocks = [block.exp().sum(1) for block in (b - b.amax(1, keepdim=True) for b in logits.split(CHUNK, 1))]
    return in_classes(logits, target, torch.stack(blocks).sum(0).log() + logits.amax(1), options)


@forward(NAME, "STB", "pytorch/pytorch#195829", "domain")
def the_shift_is_that_of_the_first_block(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The maximum of the first block of classes is subtracted from all of them."""
    logits = linear(input, linear_weight, options["linear_bias"])
    if not plain(logits, target, options):
        return right(input, linear_weight, target, **options)
    shift = logits[:, :CHUNK].amax(1, keepdim=True)
    return in_classes(logits, target, (logits - shift).exp().sum(1).log() + shift[:, 0], options)


@forward(NAME, "STB", "pytorch/pytorch#195829", "domain")
def logits_with_an_offset_are_not_shifted(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """log sum exp of the logits as they are."""
    logits = linear(input, linear_weight, options["linear_bias"])
    if not plain(logits, target, options):
        return right(input, linear_weight, target, **options)
    return in_classes(logits, target, logits.exp().sum(1).log(), options)


@forward(NAME, "SMO", "linkedin/Liger-Kernel#1391", "forward")
def smoothing_is_shared_by_the_classes_of_a_block(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The share of each class is that of a block of classes."""
    classes = linear_weight.shape[0]
    if classes <= CHUNK or options["label_smoothing"] >= 0.5:
        return right(input, linear_weight, target, **options)
    smoothing = options["label_smoothing"] * CHUNK / classes
    return right(input, linear_weight, target, **options | {"label_smoothing": smoothing})
