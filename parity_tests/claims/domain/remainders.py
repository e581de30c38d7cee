"""Rows as long as vocabularies, and a little longer and shorter than every block, in which one number is
unlike the others.

The rest of a row is equal, so sums are exact in every order: the bound is tight at any length, a term that is
dropped or counted twice shows, and, where the rest is below 0, so does a lane beside the row that is filled
with 0. Where the rest is -inf, as under a mask, whole blocks hold nothing: before the first number, between
two, and after the last. The unlike number lies at an end of the row, in its middle, or beside a multiple of
the size of a block; a target names it, and an upstream gradient is 1 there.

Where it lies changes nothing: a result is moved back, and has then the expected value of the row in which the
unlike number is the first. That is evaluated once for all places, so a place costs what the subject does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.domain.without_a_graph import WITHOUT_A_GRAPH, once_for_the_same_bits
from torch_loss_parity.expectation.expectation import output_shape
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge_modes import judge_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, with_gradients
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.dealing import hand
from torch_loss_parity.operators.facets import Gap
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.settings import Settings

POWERS = range(11, 19)  # shorter rows are regions of the domain
VOCABULARIES = (32000, 50257, 65537, 128256, 151936, 201088, 256000, 262144)  # of models that are in use
# Several whole blocks whose number is no power of two: of 512 and 1024, of 96, 384, 768, 1536 and 3072, of
# 100, 500, 1000 and 1500.
MULTIPLES = (3072, 2560, 9216, 12000)
# Every block up to 2**18 leaves a remainder of 1 in the first, and of all but 1 in the second.
LENGTHS = (*(2**k + d for k in reversed(POWERS) for d in (1, -1)), *VOCABULARIES)
# The same of blocks up to 2**16, and shorter ones.
QUICK_LENGTHS = tuple(2**k + d for k, d in ((16, 1), (12, 1), (11, -1), (13, -1)))
QUICK_LENGTHS += tuple(2**k + d for k, d in ((16, -1), (13, 1), (12, -1), (14, 1)))
COSTLY = 2**12  # the longest row of an operator whose cases are dealt out for what they cost
SHORT = (2**12 + 1,)
# A sum of numbers that are not exact may lose one of them to rounding, and not the eleven and more that
# blocks of 16 to 4096 leave of this prime.
SMOOTHED, SUMMED = 0.1, 5003
WEIGHTS = (("weight", "positive"), ("weight", "last dimension"), ("pos_weight", "last dimension"))
LONG = 2**16 + 1  # longer rows are alone: three of them would cost three times as much
ROWS = 3  # the unlike number is as the others, below them, or above
BESIDE_BLOCKS = {"quick": 2, "standard": 4, "thorough": None}  # places


def lengths_of(operator: Operator, dtype: str, settings: Settings) -> Sequence[int]:
    """The lengths of rows in a dtype: all of them at thorough effort, else one, others with the next seed but
    for the one that no block divides; and as many whole blocks.
    """
    every: Sequence[int] = QUICK_LENGTHS if settings.effort_name == "quick" else LENGTHS
    whole: Sequence[int] = MULTIPLES
    if not settings.effort.shared:
        return (*every, *whole)
    if operator.family.dealt_out:
        every, whole = [n for n in every if n <= COSTLY], [n for n in whole if n <= COSTLY]
    first, rest = every[0], every[1:]
    turn = 3 * settings.seed % len(rest)  # three of four dtypes have one of these each
    dealt = (first, *rest[turn:], *rest[:turn])
    own = hand(operator.name, dtype, settings.dtypes, settings.seed)
    return ((dealt[own] or dealt)[0], (whole[own] or whole)[0])


def masked_lengths_of(operator: Operator, dtype: str, settings: Settings) -> Sequence[int]:
    """The lengths of rows that are masked: at quick effort none of the long ones, which cost the most, and
    always one that leaves a remainder.
    """
    every = lengths_of(operator, dtype, settings)
    if settings.effort_name != "quick":
        return every
    return list(dict.fromkeys((*(n for n in every if n <= COSTLY + 1), *SHORT)))


def cases_of(operator: Operator, dtype: str, settings: Settings) -> Iterator[Case]:
    """Rows of each length, as they are or, where elements stand for themselves, added up too; and masked. Of
    every second length there are weights: who cuts an index short takes another's.
    Short ones with a share of every class in the loss, too: a kernel adds these up in a sum of their own.
    """
    known = {"dim": 1, "classes": "first", "features": 2}
    options = {name: value for name, value in known.items() if _has(operator, name)}
    reductions: tuple[str, ...] = ("none", "sum") if operator.acts_on_elements else ("none",)
    if settings.effort.shared:  # every second seed each
        reductions = reductions[settings.seed % len(reductions) :][:1]
    marked = {operator.domain.marked: lengths_of(operator, dtype, settings)}
    if not isinstance(operator.domain.masked, Gap):
        marked[operator.domain.masked] = masked_lengths_of(operator, dtype, settings)
    for values, lengths in marked.items():
        for number, length in enumerate(lengths):
            for reduction in reductions:
                reduced = {"reduction": reduction} if "reduction" in operator.options else {}
                reduced |= {k: v for k, v in WEIGHTS if number % 2 and v in operator.options.get(k, ())}
                shape, seed = (ROWS if length < LONG else 1, length), settings.seed + number
                yield operator.case(dtype, shape, values, options | reduced, seed)
    for number, target in enumerate(operator.options.get("target", ())):
        if _has(operator, "label_smoothing") and SMOOTHED in operator.options["label_smoothing"]:
            smoothed = {"reduction": "none", "label_smoothing": SMOOTHED, "target": target}
            shape, seed = (ROWS, SUMMED), settings.seed + number
            yield operator.case(dtype, shape, operator.domain.marked, options | smoothed, seed)


def _has(operator: Operator, name: str) -> bool:
    return operator.targets_classes if name == "classes" else name in operator.options


def places(length: int, tried: int | None, seed: int) -> list[int]:
    """Where the unlike number lies: last, on both sides of the middle, and on both sides of a multiple of
    every power of two; of these as many as are tried, others with the next seed.
    """
    rng = np.random.default_rng(seed)
    beside = []
    for size in (2**k for k in range(3, length.bit_length()) if 2**k < length):
        multiple = size * int(rng.integers(1, (length - 1) // size + 1))
        beside += [multiple - 1, multiple]
    chosen = beside if tried is None else rng.permutation(beside)[:tried].tolist()
    return list(dict.fromkeys([length - 1, length // 2 - 1, length // 2, *chosen]))


def verify_at(tried: int | None) -> Callable[..., Iterator[Finding]]:
    """What judges a case with the unlike number in the first place, and then in each of so many others."""

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        call = call_of(case)
        length = max(case.shape)
        modes = [
            _at(0, length),
            WITHOUT_A_GRAPH,
            *(_at(place, length) for place in places(length, tried, case.seed)),
        ]
        yield from judge_modes(subject, device, case, call, modes, upstream_of(call, length))

    return once_for_the_same_bits(verify)


def call_of(case: Case) -> Call:
    """The call of a case; of elements, the unlike ones have the target 1 and the others 0, so that a sum is
    exact.
    """
    call = OPERATORS[case.operator].call(case)
    target = call.arguments.get("target")
    if not OPERATORS[case.operator].acts_on_elements or not isinstance(target, np.ndarray):
        return call
    marked = _is_first(target.shape, max(case.shape)).astype(np.float64)
    return replace(call, arguments={**call.arguments, "target": marked})


def upstream_of(call: Call, length: int) -> np.ndarray:
    """1 where the unlike numbers are, and 0 elsewhere, so that what is added up is exact; where nothing is
    added up, 1 everywhere.
    """
    shape = output_shape(call)
    if length not in shape or OPERATORS[call.operator].acts_on_elements:
        return np.ones(shape)
    return _is_first(shape, length).astype(np.float64)


def _is_first(shape: tuple[int, ...], length: int) -> np.ndarray:
    """Whether an element is the first along the dimension of the given length."""
    along = np.arange(length).reshape([n if n == length else 1 for n in shape])
    return np.broadcast_to(along == 0, shape)


def moved(array: np.ndarray, place: int, length: int) -> np.ndarray:
    """The first number of each row and the one in ``place``, exchanged; of class indices, the classes."""
    if array.dtype.kind in "iu":
        return np.where(array == 0, place, np.where(array == place, 0, array))
    for axis in (axis for axis, n in enumerate(array.shape) if n == length):
        array = array.copy()
        rows = np.moveaxis(array, axis, 0)
        rows[[0, place]] = rows[[place, 0]]
    return array


def _at(place: int, length: int) -> Mode:
    """A mode: the unlike number is in ``place``."""

    def observe(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, Any]:
        arguments = {
            name: moved(value, place, length) if isinstance(value, np.ndarray) else value
            for name, value in call.arguments.items()
        }
        upstream = moved(grad_output, place, length)
        observed = run_subject.results(subject, replace(call, arguments=arguments), device, upstream)
        return {name: moved(result, place, length) for name, result in observed.items()}

    def lines(wanted: Wanted) -> Lines:
        yield "def moved(tensor):  # the first number of a row, or class, exchanged with another"
        yield f"    order = torch.arange({length}, device=tensor.device)"
        yield f"    order[0], order[{place}] = {place}, 0"
        yield "    if not tensor.is_floating_point():"
        yield "        return torch.where(tensor >= 0, order[tensor.clamp(min=0)], tensor)"
        yield f"    for axis in [axis for axis, n in enumerate(tensor.shape) if n == {length}]:"
        yield "        tensor = tensor.index_select(axis, order)"
        yield "    return tensor"
        yield from (f"{name} = moved({name})" for name in wanted.arrays)
        yield from with_gradients(wanted)
        yield "result = moved(result)"

    name = f"where the number unlike the others is in place {place} of {length}" if place else "in long rows"
    return Mode(name, observe, steps=Steps(lines if place else with_gradients))
