"""A result of many rows, judged row by row: what does not fit the cache is seen once, and most rows in a fast
arithmetic.

Note [Doubtful rows]
    In each block the fast arithmetic of `torch_loss_parity.expectation.lower_bounds` shows most rows to be
    right. The others are doubtful, and the rounding arithmetic decides on them, the most doubtful first: one
    that is wrong settles that the definition, or a way, does not explain the whole. A way is first asked for
    the rows that nothing before it has explained, then for the first block: the one that leaves least in
    doubt there is looked at first. So a wrong tensor costs about what a right one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import arithmetic_of, expected
from torch_loss_parity.expectation.lower_bounds import Low, stored
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.expectation.second_order import gradient_of
from torch_loss_parity.expectation.share import Share
from torch_loss_parity.judging import explanations, totals
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity
from torch_loss_parity.judging.rows import Rows, as_sum, numbers, rows_of
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject

BLOCK = 2**16  # elements of a block: half a megabyte of float64, and few enough calls of NumPy
CLEARLY = 1 - 2.0**-7  # what is left out of the fast arithmetic is less than the rest
FEW = 2**13  # elements: so many are looked at before more are


@dataclass(frozen=True)
class Doubtful:
    """Rows that the fast arithmetic does not show to be right: their places, the most doubtful first."""

    places: np.ndarray
    by: np.ndarray  # how far off each is, in what it is at least allowed

    @classmethod
    def of(cls, parts: Sequence[Doubtful]) -> Doubtful:
        """Those of all blocks."""
        places = np.concatenate([part.places for part in parts])
        by = np.concatenate([part.by for part in parts])
        order = np.argsort(-by, kind="stable")
        return cls(places[order], by[order])


def wrong_by_rows(
    subject: Subject,
    call: Call,
    tensors: Mapping[str, Any],
    observed: Mapping[str, torch.Tensor],
    grad_output: torch.Tensor | None,
) -> list[Finding] | None:
    """What is wrong, quantity by quantity; None where it is not judged row by row.

    Parameters
    ----------
    call : Call
        The options of the call, and its dtypes.
    tensors : mapping
        Its arguments that are tensors.
    observed : mapping
        The result and the gradients.
    """
    rows = rows_of(call, tensors, observed, grad_output, subject.profile)
    if rows is None:
        return None
    of_rows = {name: tensor for name, tensor in observed.items() if not (rows.reduced and name == FORWARD)}
    total = observed[FORWARD] if rows.reduced and FORWARD in observed else None
    losses: list[Low] = []
    failing = _failing_in_the_first_block(rows, of_rows)
    left = {name: tensor for name, tensor in of_rows.items() if name not in failing}
    for name, doubtful in _doubtful(rows, left, None, None if total is None else losses).items():
        failing[name] = _failing(rows, name, left[name], None, doubtful.places)
    if total is not None and not _total_is_right(rows, tensors, losses, total):
        return None
    wrong = []
    for name, tensor in of_rows.items():
        explained = not failing[name].size or _explained_by_a_way(rows, name, tensor, failing[name])
        if isinstance(explained, np.ndarray):
            finding = _finding(subject, rows, name, tensor, explained)
            if finding.verdict.passes:
                return None
            wrong.append(finding)
        elif not explained:
            return None
    return wrong


def _failing_in_the_first_block(rows: Rows, judged: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Of each quantity that breaks its bound there, some rows that show it."""
    failing = {
        name: _failing(rows, name, judged[name], None, doubtful.places)
        for name, doubtful in _doubtful(rows, judged, None, blocks=1).items()
    }
    return {name: places for name, places in failing.items() if places.size}


def _total_is_right(
    rows: Rows, tensors: Mapping[str, torch.Tensor], losses: list[Low], total: torch.Tensor
) -> bool:
    """Whether a mean or a sum is shown to be right, of the definition's losses or of those of a way."""
    if totals.is_right(rows, tensors, losses, total):
        return True
    for way in explanations.ways(rows.call, FORWARD):
        losses.clear()
        _doubtful(rows, {}, way, losses)
        if not way.arithmetic and totals.is_right(rows, tensors, losses, total):
            return True
    return False


def _explained_by_a_way(
    rows: Rows, name: str, tensor: torch.Tensor, failing: np.ndarray
) -> np.ndarray | bool:
    """Whether a way explains a quantity, or some rows that no way explains; False where that is to be seen in
    the whole.

    Parameters
    ----------
    failing : ndarray
        Rows that break the bound of the definition.
    """

    def left_by(way: Explanation) -> np.ndarray:
        doubtful = _doubtful(rows, {name: tensor}, way)[name]
        return _failing(rows, name, tensor, way, doubtful.places)

    later: list[tuple[int, Explanation]] = []  # ways, by how much they leave in doubt in the first block
    for way in explanations.ways(rows.call, name):
        if _failing(rows, name, tensor, way, failing).size:
            continue
        if way.arithmetic:
            return False
        if in_doubt := len(_doubtful(rows, {name: tensor}, way, blocks=1)[name].places):
            later.append((in_doubt, way))
            continue
        if not (more := left_by(way)).size:
            return True
        failing = np.union1d(failing, more)
    for _, way in sorted(later, key=lambda each: each[0]):
        if not (more := left_by(way)).size:
            return True
        failing = np.union1d(failing, more)
    return failing


def _finding(subject: Subject, rows: Rows, name: str, tensor: torch.Tensor, failing: np.ndarray) -> Finding:
    """Why a quantity is wrong: by those rows that are most off, and some that no way explains."""
    doubtful = _doubtful(rows, {name: tensor}, None)[name]
    places = np.union1d(_failing(rows, name, tensor, None, doubtful.places), failing)
    call, upstream = _part(rows, name, places)
    bound, observed = _bound(rows, name, places), _observed(rows, tensor, places)
    finding = judge_quantity(subject, "cpu", None, call, name, observed, bound, upstream)
    return _in_the_whole(rows, finding, places, tensor)


def _in_the_whole(rows: Rows, finding: Finding, places: np.ndarray, tensor: torch.Tensor) -> Finding:
    """A finding on some rows, told of the tensor that they are of."""

    def moved(index: tuple[int, ...]) -> tuple[int, ...]:
        if rows.of_elements:
            return tuple(int(i) for i in np.unravel_index(places[index[0]], rows.shape))
        return (int(places[index[0]]), *index[1:])

    verdict, strict = (
        replace(each, index=moved(each.index), elements=tensor.numel())
        for each in (finding.verdict, finding.strict)
    )
    return replace(finding, verdict=verdict, strict=strict)


# --- in the fast arithmetic ---------------------------------------------------------------------------------


def _doubtful(
    rows: Rows,
    judged: Mapping[str, torch.Tensor],
    way: Explanation | None,
    losses: list[Low] | None = None,
    blocks: int | None = None,
) -> dict[str, Doubtful]:
    """The rows of each quantity that are not shown to be right, of a definition or of a way, in the first
    ``blocks`` or in all; the losses of the rows go to ``losses``.
    """
    if not judged and losses is None:
        return {}

    def look_at(block: slice) -> tuple[dict[str, Doubtful], Low | None]:
        with np.errstate(all="ignore"):
            lows = _evaluated(rows, block, list(judged), losses is not None, way)
            return (
                {name: _in_block(rows, block, name, lows[name], tensor) for name, tensor in judged.items()},
                lows.get(FORWARD),
            )

    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        looked = list(pool.map(look_at, rows.blocks(BLOCK)[:blocks]))
    if losses is not None:
        losses += [forward for _, forward in looked if forward is not None]
    return {name: Doubtful.of([parts[name] for parts, _ in looked]) for name in judged}


def _evaluated(
    rows: Rows, block: slice, names: Sequence[str], losses: bool, way: Explanation | None
) -> dict[str, Low]:
    """The quantities of a block in the fast arithmetic."""
    call, upstream = rows.block(block)
    operator, arithmetic = OPERATORS[call.operator], arithmetic_of(call, FORWARD, rows.profile)
    function = way.function if way else None
    arguments = {
        name: Low(value, arithmetic) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "dtype"
    }
    lows: dict[str, Low] = {}
    if FORWARD in names or losses:
        lows[FORWARD] = (function or operator.forward)(**arguments)
    if gradients := [name for name in names if name != FORWARD]:
        if isinstance(upstream, Share):
            arriving = upstream.evaluated(lambda array: Low(array, arithmetic))
        else:
            arriving = Low(upstream, arithmetic)
        if rows.reduced:
            arguments["reduction"] = "sum"
        every = (function or operator.backward)(arriving, **arguments)
        lows |= {name: gradient_of(every, name) for name in gradients}
    return lows


def _in_block(rows: Rows, block: slice, quantity: str, low: Low, tensor: torch.Tensor) -> Doubtful:
    """The rows of a block that are not shown to be right, by what they are off at least allowed."""
    low = stored(low, format_of(rows.call, quantity))
    difference = numbers(tensor[block]) - low.value
    own = np.broadcast_to(0.0 if low.own is None else low.own * CLEARLY, difference.shape)
    within = np.abs(difference) <= own
    if within.all():
        return Doubtful(np.empty(0, dtype=np.int64), np.empty(0))
    if rows.of_elements:
        at = np.flatnonzero(~within)
        return Doubtful(
            at + block.start * prod(rows.shape[1:]), _off(difference.reshape(-1)[at], own.reshape(-1)[at])
        )
    doubtful = np.flatnonzero(~within.reshape(len(within), -1).all(axis=1))
    difference, own = difference[doubtful], own[doubtful]
    total = own
    if low.shared:
        shape, axis = (len(within), *difference.shape[1:]), min(rows.axis, difference.ndim - 1)
        shared = [np.broadcast_to(error, shape)[doubtful] for error in low.shared.values()]
        left = ~_explained(difference, own, sum(shared[1:], shared[0]), axis)
        doubtful, difference, own = doubtful[left], difference[left], own[left]
        shared = [error[left] for error in shared]
        total = own + sum(np.abs(error) for error in shared)
        if len(shared) > 1 and len(doubtful):
            left = ~_explained_whichever_is_kept(difference, own, shared, axis)
            doubtful, difference, total = doubtful[left], difference[left], total[left]
    off = _off(difference, total).reshape(len(doubtful), prod(difference.shape[1:]))
    return Doubtful(doubtful + block.start, np.max(off, axis=1, initial=0.0))


def _off(difference: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """By how many times what is allowed each element is off; infinite where it is no number."""
    off = np.where(difference == 0, 0.0, np.abs(difference) / allowed)
    return np.where(np.isnan(off), np.inf, off)


def _explained_whichever_is_kept(
    difference: np.ndarray, own: np.ndarray, shared: list[np.ndarray], axis: int
) -> np.ndarray:
    """Of which indices one shared error explains every row, the others folded into own ones: the rounding
    arithmetic keeps the one that matters most, and any may be that one.
    """
    explained = np.ones(len(difference), dtype=bool)
    for kept in shared:
        others = sum(np.abs(error) for error in shared if error is not kept)
        explained &= _explained(difference, own + CLEARLY * others, kept, axis)
    return explained


def _explained(difference: np.ndarray, own: np.ndarray, shared: np.ndarray, axis: int) -> np.ndarray:
    """Of which indices of the first dimension one shared error explains every row."""
    low, high = (difference - own) / shared, (difference + own) / shared
    low, high = np.minimum(low, high), np.maximum(low, high)
    alone = np.abs(difference) <= own  # of what does not share it, nothing else is asked
    low = np.where(shared == 0, np.where(alone, -np.inf, np.inf), low)
    high = np.where(shared == 0, np.inf, high)
    least = np.maximum(np.max(low, axis=axis, keepdims=True), -CLEARLY)
    most = np.minimum(np.min(high, axis=axis, keepdims=True), CLEARLY)
    return np.all((least <= most).reshape(len(difference), -1), axis=1)


# --- in the rounding arithmetic -----------------------------------------------------------------------------


def _failing(
    rows: Rows, name: str, tensor: torch.Tensor, way: Explanation | None, places: np.ndarray
) -> np.ndarray:
    """Of some rows, the most doubtful first, a few among which a definition or a way does not explain all;
    none where it explains every one.
    """

    def explains(part: np.ndarray) -> bool:
        bound, observed = _bound(rows, name, part, way), _observed(rows, tensor, part)
        return judge(observed, bound, format_of(rows.call, name), refine=False).passes

    few, threads = max(1, FEW // rows.size), max(1, torch.get_num_threads())
    if not places.size or not explains(places[:few]):
        return places[:few]
    size = max(1, min(BLOCK // rows.size, -(-(len(places) - few) // threads)))
    parts = [places[start : start + size] for start in range(few, len(places), size)]
    with ThreadPoolExecutor(threads) as pool:
        explained = pool.map(explains, parts)
        wrong = next((part for part, right in zip(parts, explained, strict=True) if not right), places[:0])
        pool.shutdown(cancel_futures=True)
    while len(wrong) > few:
        first, others = wrong[: len(wrong) // 2], wrong[len(wrong) // 2 :]
        wrong = others if explains(first) else first
    return wrong


def _part(rows: Rows, name: str, places: np.ndarray) -> tuple[Call, Any]:
    """The call of some rows that gives a quantity, and its upstream gradient."""
    call, upstream = rows.elements(places) if rows.of_elements else rows.block(torch.from_numpy(places))
    return (call, None) if name == FORWARD else (as_sum(rows, call), upstream)


def _bound(rows: Rows, name: str, places: np.ndarray, way: Explanation | None = None) -> Rounded:
    call, upstream = _part(rows, name, places)
    changes, function = (way.arithmetic, way.function) if way else (None, None)
    return expected(call, (name,), upstream, profile=rows.profile, changes=changes, function=function)[name]


def _observed(rows: Rows, tensor: torch.Tensor, places: np.ndarray) -> np.ndarray:
    at = torch.from_numpy(places)
    return numbers(tensor.reshape(-1)[at] if rows.of_elements else tensor[at])
