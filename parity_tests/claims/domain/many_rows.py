"""More rows than 17 bits count, in a batch and within one sample: a few rows are repeated over and over.

A repetition is the few rows again, so it has their expected values, which are evaluated once: any number of
rows costs what the subject does. Repetitions of the same bits share a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Case
from torch_loss_parity.expectation.expectation import expected, output_shape, upstream_gradient
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity, of_the_subject
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, with_gradients
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import Settings

FEW = 7  # rows that differ; no other dimension of a case is as long
CLASSES = 3
REPETITIONS = 18725  # 2**17 + 3 rows
# In a batch, along one dimension of a single sample, and in an image.
SHAPES: tuple[tuple[int, ...], ...] = ((FEW, CLASSES), (1, CLASSES, FEW), (1, CLASSES, 2, FEW))
OPTIONS: Mapping[str, Any] = {"reduction": "none", "dim": 1, "ignored": "some"}
FAR_APART = "offset"  # rows of which none can be shifted by what is its neighbour's
SMOOTHED: Mapping[str, Any] = {"label_smoothing": 0.1}


def cases_of(operator: Operator, dtype: str, settings: Settings) -> Iterator[Case]:
    """The few rows: in one of the shapes at quick effort, another one in the next dtype and with the next
    seed; once more with a loss that is smoothed. A layer has an output for each row within a sample, so its
    rows repeat in a batch alone.
    """
    shapes = SHAPES[:1] if operator.family.name == "linear classes" else SHAPES
    if settings.effort_name == "quick":
        shapes = shapes[(DTYPES.index(dtype) + settings.seed) % len(shapes) :][:1]
    values = list(operator.values)
    if FAR_APART in values:  # first
        values = [*values[values.index(FAR_APART) :], *values]
    options = {name: value for name, value in OPTIONS.items() if value in operator.options.get(name, ())}
    for number, shape in enumerate(shapes):
        drawn = values[(settings.seed + number) % len(values)]
        case = operator.case(dtype, shape, drawn, options, settings.seed + number)
        if _is_along_the_rows(case):  # the one dim that is promised
            other = tuple({FEW: CLASSES, CLASSES: FEW}.get(size, size) for size in case.shape)
            case = operator.case(dtype, other, drawn, options, settings.seed + number)
        yield case
    if SMOOTHED["label_smoothing"] in operator.options.get("label_smoothing", ()):
        yield operator.case(dtype, shapes[-1], values[0], {**options, **SMOOTHED}, settings.seed)


def _is_along_the_rows(case: Case) -> bool:
    dim = case.option.get("dim", ())
    dims = dim if isinstance(dim, tuple) else (dim,)
    return any(-len(case.shape) <= each < len(case.shape) and case.shape[each] == FEW for each in dims)


def verify_repeated(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge the few rows wherever they are repeated; gradients of what rows share are for other claims."""
    few = OPERATORS[case.operator].call(case)
    own = tuple(name for name in few.differentiable if FEW in few.arguments[name].shape)
    few = replace(few, differentiable=own)
    if FEW not in output_shape(few):
        raise NotOffered("a result for each row is not promised")
    grad_output = upstream_gradient(few, case)
    arguments = {
        name: repeated(value) if isinstance(value, np.ndarray) else value
        for name, value in few.arguments.items()
    }
    many = replace(few, arguments=arguments)
    with of_the_subject(subject):
        observed = run_subject.results(subject, many, device, repeated(grad_output))
    bounds = expected(few, (FORWARD,), profile=subject.profile)
    bounds |= expected(few, own, grad_output, profile=subject.profile)
    for quantity, result in observed.items():
        upstream = None if quantity == FORWARD else grad_output
        for first, repetition in different(result):
            mode = f"in rows {first} to {first + FEW - 1} of {FEW * REPETITIONS}"
            finding = judge_quantity(
                subject, device, case, few, quantity, repetition, bounds[quantity], upstream, mode=mode
            )
            yield replace(finding, steps=Steps(partial(_lines, first)))


def repeated(array: np.ndarray) -> np.ndarray:
    """An array whose rows are repeated."""
    for axis in (axis for axis, n in enumerate(array.shape) if n == FEW):
        array = np.concatenate([array] * REPETITIONS, axis=axis)
    return array


def different(result: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The repetitions of different bits, each with the number of its first row."""
    axis = next((axis for axis, n in enumerate(result.shape) if n == FEW * REPETITIONS), None)
    if axis is None:
        raise run_subject.WrongResult(
            f"the result has shape {result.shape}, and not {FEW * REPETITIONS} rows"
        )
    apart = np.moveaxis(result, axis, 0).reshape(REPETITIONS, -1)
    bits = np.ascontiguousarray(apart).view(np.uint64)
    other = np.flatnonzero((bits != bits[0]).any(axis=1))
    _, places = np.unique(bits[other], axis=0, return_index=True)
    for place in (0, *other[np.sort(places)].tolist()):
        first = FEW * place
        yield first, np.take(result, range(first, first + FEW), axis=axis)


def _lines(first: int, wanted: Wanted) -> Lines:
    yield "def repeated(tensor):  # the rows again and again"
    yield f"    for axis in [axis for axis, n in enumerate(tensor.shape) if n == {FEW}]:"
    yield f"        tensor = torch.cat([tensor] * {REPETITIONS}, axis)"
    yield "    return tensor"
    yield from (f"{name} = repeated({name})" for name in wanted.arrays)
    yield from with_gradients(wanted)
    yield f"axis = list(result.shape).index({FEW * REPETITIONS})"
    yield f"result = result.narrow(axis, {first}, {FEW})"
