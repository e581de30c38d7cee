"""Checks of layouts: views of every kind in `torch_loss_parity.claims.layouts.layouts`, of each argument and
of the upstream gradient, give the right results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.layouts.layouts import (
    APART,
    CHANNELS_LAST,
    GRAD_OUTPUT,
    LAYOUTS,
    OFFSET,
    ONE_NUMBER,
    PADDED,
    ROTATED,
    SHARED,
    STRIDED,
    TRANSPOSED,
    Layout,
    called,
    from_views,
    in_views,
    place,
    shared,
)
from torch_loss_parity.expectation.expectation import upstream_gradient
from torch_loss_parity.judging.finding import reproduced_by
from torch_loss_parity.judging.judge import Finding, judge_results, output_shape
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.judging.run_cases import check_cases
from torch_loss_parity.judging.sentence import Sentence
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import verified
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.large import large
from torch_loss_parity.operators.sampling import grid, share
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import TORCH_DTYPES

CLAIM = "layouts"
ARRAYS = ("input", "linear_weight", "target", "linear_bias", "weight", "pos_weight", GRAD_OUTPUT)
Choice = Callable[[str, int], Layout]  # of an argument and its number of dimensions

Shapes = tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...]

# Of what shares memory: the script of a failure spells such arrays out.
MIXED: Mapping[str, Mapping[str, Layout]] = {
    "of all kinds": {
        "input": TRANSPOSED,
        "linear_weight": PADDED,
        "target": STRIDED,
        "linear_bias": STRIDED,
        "weight": OFFSET,
        "pos_weight": PADDED,
        GRAD_OUTPUT: ROTATED,
    },
    "of all other kinds": {
        "input": PADDED,
        "linear_weight": APART,
        "target": CHANNELS_LAST,
        "linear_bias": OFFSET,
        "weight": STRIDED,
        "pos_weight": TRANSPOSED,
        GRAD_OUTPUT: APART,
    },
}


def _of_all(layout: Layout) -> Choice:
    return lambda name, dims: layout.fitting(dims)


def _of_each(layouts: Mapping[str, Layout]) -> Choice:
    return lambda name, dims: layouts[name].fitting(dims)


def choices() -> Iterator[tuple[str, Choice, Callable[[Call], bool]]]:
    """Which layout each argument has: all the same, one of them strided, and each another one."""

    def of_one(argument: str) -> Choice:
        return lambda name, dims: APART.fitting(dims) if name == argument else OFFSET

    def at_least(least: int) -> Callable[[Call], bool]:
        return lambda call: call.arguments["input"].ndim >= least

    for layout in LAYOUTS:
        yield f"from {layout.name} views", _of_all(layout), at_least(layout.least)
    for argument in ARRAYS:
        yield f"from a strided {argument}", of_one(argument), partial(_has_strides, argument=argument)
    for name, layouts in MIXED.items():
        yield f"from views {name}", _of_each(layouts), at_least(2)


def _has_strides(call: Call, argument: str) -> bool:
    if argument == GRAD_OUTPUT:
        return len(output_shape(call)) > 0
    return isinstance(value := call.arguments.get(argument), np.ndarray) and value.ndim > 0


def mode(name: str, choice: Choice, applies: Callable[[Call], bool], tally: Tally) -> Mode:
    """Views in these layouts, as a mode; what is not a matter of numbers and is recorded in the ledger is
    counted there.
    """

    def strides_of(argument: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return choice(argument, len(shape)).strides(shape)

    def observe(
        subject: Subject, call: Call, device: str, grad_output: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        dims = call.arguments["input"].ndim
        strides = from_views(subject, call, device, grad_output, strides_of)
        sentence = f"{dims}-D {choice('input', dims).name} input"
        return recorded_or_right(strides, subject, device, call, f"{call.operator} {name}", sentence, tally)

    return Mode(name, observe, applies, steps=Steps(partial(in_views, strides_of)))


def recorded_or_right(
    results: Iterator[tuple[str, np.ndarray]],
    subject: Subject,
    device: str,
    call: Call,
    what: str,
    sentence: str,
    tally: Tally,
) -> Mapping[str, np.ndarray]:
    """The results; those that there are, where the ledger records that the rest cannot be had.

    Raises
    ------
    NotOffered
        If the subject declines the call.
    WrongResult
        If a call fails that is not recorded.
    """
    stated = Sentence(subject.judged_as, device, CLAIM, call.operator, call.dtype, sentence)
    observed: dict[str, np.ndarray] = {}
    try:
        with subject.declining():
            observed.update(results)  # what came before an error stays
    except NotOffered:
        raise
    except Exception as error:
        if stated.shortfall is None:
            raise WrongResult(
                f"{what} ({sentence}), {call.dtype}, {described(call)}: {type(error).__name__}: {error}"
            ) from error
        stated.count(f"{type(error).__name__}: {error}", tally)
    else:
        stated.count("", tally)
    return observed


def described(call: Call) -> str:
    return ", ".join(
        f"{k} {v.shape}" if isinstance(v, np.ndarray) else f"{k}={v}"
        for k, v in call.arguments.items()
        if v is not None
    )


def cases(operator: Operator, dtype: str, settings: Settings) -> Iterator[Case]:
    values = list(operator.values)
    views = list(enumerate(operator.layouts.views))
    for number, (shape, options) in share(
        operator, views, dtype, settings.dtypes, settings.seed, settings.effort
    ):
        if settings.effort_name == "quick" and number not in (1, 3):
            continue
        yield operator.case(dtype, shape, values[number % len(values)], options, settings.seed + number)
    if settings.effort_name == "thorough":
        yield from grid(operator, dtype, settings.effort, settings.seed)


def views_give_the_right_results(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    modes = [mode(name, choice, applies, tally) for name, choice, applies in choices()]
    check_cases(cases(operator, dtype, settings), verify_in_modes(modes), settings, tally)


def views_of_large_calls_give_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """At an offset, with rows apart, and in layouts of all kinds."""
    named: dict[str, Choice] = {f"from {each.name} views": _of_all(each) for each in (OFFSET, PADDED)}
    named |= {f"from views {name}": _of_each(layouts) for name, layouts in MIXED.items()}
    modes = [mode(name, choice, lambda call: True, tally) for name, choice in named.items()]
    cases_of_dtype = large(operator, dtype, settings.dtypes, settings.seed)
    check_cases(cases_of_dtype, verify_in_modes(modes), settings, tally)


def views_whose_elements_share_memory_give_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    groups = (
        ARRAYS,
        (GRAD_OUTPUT,),
        ("input",),  # of rows that are one, each has a target and a gradient of its own
        ("linear_weight", "target", "linear_bias", "weight", "pos_weight"),
    )[: 3 if settings.effort_name == "quick" else None]

    def verify(subject: Subject, case: Case, device: str, *, certify: bool = False) -> Iterator[Finding]:
        for sharing, strides_of in SHARED.items():
            for names in groups:
                yield from _verify_shared(subject, case, device, certify, tally, sharing, names, strides_of)

    shape, weight = operator.family.shared
    options: list[Mapping[str, Any]] = [
        {
            "reduction": "none",
            "weight": weight,
            "pos_weight": "full",
            "target": "soft",
        },
        {"reduction": "mean", "target": "probabilities", "label_smoothing": 0.1, "dim": 0},
    ]
    chosen = [{k: v for k, v in each.items() if v in operator.options.get(k, ())} for each in options]
    # An upstream gradient of rows is to have a dimension that is expanded, and one that is not.
    cases_of_options = [
        operator.case(dtype, each_shape, next(iter(operator.values)), each, settings.seed)
        for each_shape, each in zip((shape, shape[:2]), chosen, strict=True)
    ]
    if settings.effort_name == "quick":
        cases_of_options = cases_of_options[:1]
    shared_out = share(operator, cases_of_options, dtype, settings.dtypes, settings.seed, settings.effort)
    check_cases(shared_out, verify, settings, tally)

    def verify_added_up(
        subject: Subject, case: Case, device: str, *, certify: bool = False
    ) -> Iterator[Finding]:
        one = GRAD_OUTPUT  # as whoever adds up many losses makes it
        yield from _verify_shared(
            subject, case, device, certify, tally, ONE_NUMBER, (one,), SHARED[ONE_NUMBER]
        )

    check_cases(large(operator, dtype, settings.dtypes, settings.seed), verify_added_up, settings, tally)


def _verify_shared(
    subject: Subject,
    case: Case,
    device: str,
    certify: bool,
    tally: Tally,
    sharing: str,
    names: tuple[str, ...],
    strides_of: Callable[[tuple[int, ...]], tuple[int, ...]],
) -> Iterator[Finding]:
    call = OPERATORS[case.operator].call(case)
    present = [name for name in names if _has_strides(call, name)]
    if not present or (names != ARRAYS and len(present) == sum(_has_strides(call, name) for name in ARRAYS)):
        return
    drawn = upstream_gradient(call, case)
    call, grad_output = shared(call, drawn, names, strides_of)

    def strides(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return strides_of(shape) if name in names else OFFSET.strides(shape)

    mode, steps = f"from {sharing} {' and '.join(present)}", Steps(partial(in_views, strides))
    results = from_views(subject, call, device, grad_output, strides)
    with reproduced_by(call=call, steps=steps, mode=mode, grad_output=grad_output):
        observed = recorded_or_right(
            results,
            subject,
            device,
            call,
            f"{call.operator} {mode}",
            f"{call.arguments['input'].ndim}-D {sharing} input",
            tally,
        )
    yield from judge_results(
        subject, device, case, call, observed, grad_output, certify=certify, mode=mode, steps=steps
    )


def the_result_lies_in_memory_as_recorded(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """torch documents no layout of a result; that it changes is worth knowing, so it is recorded in
    the operator's record.
    """
    if settings.subject.name not in ("torch", "torch.nn") or settings.device != "cpu":
        pytest.skip(
            f"the layout of results is recorded for torch on cpu; {settings.subject.name} on "
            f"{settings.device} may have its own"
        )
    for number, (shape, options) in enumerate(
        operator.layouts.views[:: 3 if settings.effort_name == "quick" else 1]
    ):
        chosen = {name: value for name, value in options.items() if name not in ("weight", "pos_weight")} | {
            "reduction": "none"
        }
        case = operator.case(dtype, shape, next(iter(operator.values)), chosen, number)
        call = replace(operator.call(case), differentiable=())
        for layout in LAYOUTS:
            if min(len(shape), len(case.shape)) < layout.least:  # a promise may leave fewer dimensions
                continue
            views = {
                name: place(value, layout.strides(value.shape), TORCH_DTYPES[call.dtype], "cpu").view
                if isinstance(value, np.ndarray) and value.dtype.kind == "f"
                else torch.from_numpy(value)
                if isinstance(value, np.ndarray)
                else TORCH_DTYPES.get(value, value)
                for name, value in call.arguments.items()
            }
            output = called(settings.subject, call, views)
            keeps = operator.layouts.result == "kept"
            like = torch.empty_like(views["input"]) if keeps else torch.empty(output.shape)
            wanted = like.stride() if output.numel() else output.stride()
            tally.count()
            if output.stride() != wanted:
                text = (
                    f"the result of {operator.name} from {layout.name} views of {shape} has strides "
                    f"{output.stride()}, recorded are "
                    f"{wanted}: {operator.layouts.result}. If that is intended, edit the layouts of "
                    f"parity_tests/operators/{operator.name}.py."
                )
                recorded = verified.is_recorded(settings.device)
                tally.tell(
                    News("layouts", operator.name, f"{dtype}: {layout.name} views of {shape}", text, recorded)
                )


CHECKS: tuple[Check, ...] = (
    views_give_the_right_results,
    views_of_large_calls_give_the_right_results,
    views_whose_elements_share_memory_give_the_right_results,
    the_result_lies_in_memory_as_recorded,
)


def checks_of(operator: Operator) -> tuple[Check, ...]:
    """The same for every operator."""
    return CHECKS
