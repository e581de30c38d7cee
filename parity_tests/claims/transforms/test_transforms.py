"""Transforms: what a subject returns under vmap, functorch's gradients, torch.compile and autocast is as
right as a plain call.

Every slice, row and compiled result is judged against the truth of its own call, not against what a loop or
eager mode returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.smallest_inputs import (
    check_divergence,
    judge_smallest_input,
    skip_unless_in_force,
    smallest_input,
)
from torch_loss_parity.claims.transforms import compilation, compilers, modules, transforms
from torch_loss_parity.claims.transforms.autocast import HALF, factors_of, policy_of, verify_under_autocast
from torch_loss_parity.claims.transforms.transform_cases import CLAIM, Attempt, check_attempts
from torch_loss_parity.claims.transforms.transforms import arrays_of
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.run_cases import SHOWN
from torch_loss_parity.judging.tally import PROPERTY, Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import DTYPES, OPERATORS, REDUCTION, Gap, Operator
from torch_loss_parity.operators.facets import REFUSED
from torch_loss_parity.operators.sampling import EFFORTS, everyday, grid, share
from torch_loss_parity.processes import devices
from torch_loss_parity.subjects.settings import Settings

DIMS = ((0, 0), (-1, 0), (0, -1), (-1, -1))
# pytorch#90916 and #105736: an ignored target that is no class reached the gather, and vmap dropped
# ignore_index.
IGNORE_INDEX = {"default": -100, "negative": -1, "a class": 1, "beyond the classes": 7}

WITH_IGNORED = [operator for operator in OPERATORS.values() if "ignore_index" in operator.options]
IGNORED: tuple[Mapping[str, Any], ...] = (
    {"reduction": "mean", "ignored": "some", "weight": "positive"},
    {"reduction": "mean", "ignored": "all"},
    {"reduction": "sum", "ignored": "some", "weight": "some zero", "label_smoothing": 0.1},
    {"reduction": "mean", "ignored": "some", "label_smoothing": 0.1},
    {"reduction": "none", "ignored": "some"},
)


def small_cases(
    operator: Operator, dtype: str, settings: Settings, every: int, first: int = 0
) -> Iterator[Case]:
    """Cases in which pairs of options meet, of small shapes: one of ``every``, another for each dtype; in
    quick effort a single one.
    """
    shapes = operator.family.mapped
    rows = list(grid(operator, dtype, EFFORTS["quick"], settings.seed))
    step = {"quick": len(rows), "standard": every, "thorough": 1}[settings.effort_name]
    chosen = list(enumerate(rows))[(first + DTYPES.index(dtype)) % min(step, len(rows)) :: step]
    for number, row in share(operator, chosen, dtype, settings.dtypes, settings.seed, settings.effort):
        yield operator.case(dtype, shapes[number % len(shapes)], row.values, row.option, row.seed)


def extreme_cases(operator: Operator, dtype: str, settings: Settings) -> Iterator[Case]:
    """Small cases of the numbers that only the domain meets: a transform may take a formula apart that holds
    there. In quick effort every third distribution, another third of them for each
    dtype.
    """
    shapes = operator.family.mapped
    numbered = list(enumerate(operator.domain.values))
    every = 3 if settings.effort_name == "quick" else 1
    chosen = numbered[(DTYPES.index(dtype) + settings.seed) % every :: every]
    for number, values in share(operator, chosen, dtype, settings.dtypes, settings.seed, settings.effort):
        known = {name: operator.options[name] for name in ("reduction", "dim") if name in operator.options}
        options = {name: every[number % len(every)] for name, every in known.items()}
        yield operator.case(dtype, shapes[number % len(shapes)], values, options, settings.seed + number)


def subsets(operator: Operator, case: Case, used: Counter[tuple[str, ...]]) -> tuple[str, ...]:
    """The arguments to map over: of all subsets of the arrays the one that was used least."""
    names = arrays_of(operator.call(case))
    order = {1: 0, len(names): 1}  # each alone, then all at once, then some
    every = [s for n in range(1, len(names) + 1) for s in combinations(names, n)]
    chosen = min(every, key=lambda s: (used[s], order.get(len(s), 2)))
    used[chosen] += 1
    return chosen


def not_in_quick(settings: Settings, what: str) -> None:
    if settings.effort_name == "quick":
        pytest.skip(f"quick effort leaves out {what}")


def sentence(what: str, names: tuple[str, ...], case: Case) -> str:
    options = " ".join(f"{name}={value}" for name, value in case.options)
    return f"{what} over {'+'.join(names)}: {options}"


# --- vmap ---------------------------------------------------------------------------------------------------


def test_each_slice_of_a_mapped_call_is_right(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    def attempts() -> Iterator[Attempt]:
        used: Counter[tuple[str, ...]] = Counter()
        for number, case in enumerate(small_cases(operator, dtype, settings, 2)):
            names = subsets(operator, case, used)
            yield Attempt(
                sentence("vmap", names, case), case, transforms.verify_vmap(names, *DIMS[number % len(DIMS)])
            )
        for number, case in enumerate(extreme_cases(operator, dtype, settings), 1):
            names = subsets(operator, case, used)
            verify = transforms.verify_vmap(names, *DIMS[number % len(DIMS)])
            yield Attempt(sentence(f"vmap of {case.values}", names, case), case, verify)
        empty = operator.case(dtype, (0, 5), next(iter(operator.values)), {}, settings.seed)
        names = arrays_of(operator.call(empty))
        verify = transforms.verify_vmap_of_nothing(names)
        yield Attempt(sentence("vmap of nothing", names, empty), empty, verify)

    check_attempts(attempts(), settings, tally)


def test_each_slice_mapped_twice_is_right(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    not_in_quick(settings, "vmap of vmap")

    def attempts() -> Iterator[Attempt]:
        for case in small_cases(operator, dtype, settings, 12):
            names = arrays_of(operator.call(case))
            yield Attempt(sentence("vmap of vmap", names, case), case, transforms.verify_nested_vmap(names))

    check_attempts(attempts(), settings, tally)


def test_the_gradient_of_each_sample_is_right(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    def attempts() -> Iterator[Attempt]:
        used: Counter[tuple[str, ...]] = Counter()
        for case in small_cases(operator, dtype, settings, 3, first=1):
            names = subsets(operator, case, used)
            yield Attempt(
                sentence("vmap of grad", names, case), case, transforms.verify_per_sample_gradients(names)
            )

    check_attempts(attempts(), settings, tally)


@pytest.mark.parametrize("index", IGNORE_INDEX.values(), ids=IGNORE_INDEX)
@pytest.mark.parametrize("operator", WITH_IGNORED, ids=lambda operator: operator.name)
def test_a_mapped_call_ignores_what_each_of_its_samples_ignores(
    operator: Operator, dtype: str, index: int, settings: Settings, tally: Tally
) -> None:
    def attempts() -> Iterator[Attempt]:
        calls = list(enumerate(IGNORED))
        if settings.effort_name == "quick":  # one of the others, another one for each index
            turn = [*IGNORE_INDEX.values()].index(index) + settings.seed
            calls = [calls[0], calls[1 + turn % (len(calls) - 1)]]
        for number, chosen in share(
            operator, calls, dtype, settings.dtypes, settings.seed + index, settings.effort
        ):
            values = list(operator.values)[number % len(operator.values)]
            options = {name: value for name, value in chosen.items() if name in operator.options} | {
                "ignore_index": index
            }
            case = operator.case(dtype, (4, 5), values, options, settings.seed + number)
            verify = transforms.verify_per_sample_gradients if number == 0 else transforms.verify_vmap
            what = "vmap of grad" if number == 0 else "vmap"
            yield Attempt(sentence(what, ("input", "target"), case), case, verify(("input", "target")))

    check_attempts(attempts(), settings, tally)


# --- torch.func and the modes without a graph ---------------------------------------------------------------


def test_functions_of_torch_func_are_right(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    def attempts() -> Iterator[Attempt]:
        extreme = extreme_cases(operator, dtype, settings)
        for case in (*small_cases(operator, dtype, settings, 4), *extreme):
            yield Attempt(str(case), case, verify_in_modes(transforms.FUNCTION_MODES))
            if case.option.get("reduction", "none") != "none":
                yield Attempt(f"grad: {case}", case, transforms.verify_grad)

    check_attempts(attempts(), settings, tally)


def test_each_row_of_the_jacobian_is_right(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    def attempts() -> Iterator[Attempt]:
        for case in small_cases(operator, dtype, settings, 8, first=2):
            shape = (1, 4) if settings.effort_name == "quick" else (2, 4)
            options = {**case.option, "reduction": "none"} if "reduction" in case.option else case.option
            unreduced = operator.case(dtype, shape, case.values, options, case.seed)
            yield Attempt(f"jacrev: {unreduced}", unreduced, transforms.verify_jacobian)

    check_attempts(attempts(), settings, tally)


# --- autocast -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocast_dtype", HALF)
def test_autocast_computes_in_the_dtype_of_the_table(
    operator: Operator, dtype: str, autocast_dtype: str, settings: Settings, tally: Tally
) -> None:
    if isinstance(operator.autocast, Gap):
        pytest.skip(f"autocast of {operator.name}: {operator.autocast.why}")
    if missing := devices.without_autocast(settings.device):
        pytest.skip(f"autocast on {settings.device}: {missing}")
    factors = factors_of(operator.name)
    if factors and {dtype, autocast_dtype} == set(HALF):
        pytest.skip(
            f"autocast of {operator.name}: {dtype} rounded to {autocast_dtype}, and gradients to both"
        )
    if autocast_dtype == "float16":
        not_in_quick(settings, "autocast to float16")
    usual = everyday(operator, dtype, settings.seed)
    given = {name: operator.options[name][-1] for name in factors if name in operator.options}  # a bias
    with_all = operator.case(dtype, usual.shape, usual.values, {**usual.option, **given}, settings.seed)
    cases = [usual, *small_cases(operator, dtype, settings, 8, first=HALF.index(autocast_dtype))]
    cases += [with_all] if with_all.option != usual.option else []
    if policy_of(settings.subject, operator.name, settings.device) == REFUSED:
        for case in cases:
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                list(verify_under_autocast(autocast_dtype)(settings.subject, case, settings.device))
            tally.count()
        return
    verify = verify_under_autocast(autocast_dtype)
    check_attempts(
        (Attempt(f"autocast to {autocast_dtype}: {case}", case, verify) for case in cases), settings, tally
    )


# --- torch.nn -----------------------------------------------------------------------------------------------


def of_torch_alone(settings: Settings, what: str) -> None:
    if settings.subject.name not in ("torch", "torch.nn"):
        pytest.skip(f"{what} belong to torch; the subject is {settings.subject.name}")


def test_the_modules_of_torch_nn_are_right(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    of_torch_alone(settings, "the modules of torch.nn")
    if isinstance(operator.modules, Gap):
        pytest.skip(f"{operator.name}: {operator.modules.why}")
    of_images = operator.modules.of_images
    images = operator.case(
        dtype,
        (2, 4, 3, 1),
        next(iter(operator.values)),
        {"dim": 1} if operator.family.along_dim and not isinstance(of_images, Gap) else {},
        settings.seed,
    )
    cases = [images, *small_cases(operator, dtype, settings, 4, first=3)]
    verify = verify_in_modes(modules.module_modes())
    check_attempts((Attempt(f"module: {case}", case, verify) for case in cases), settings, tally)


@pytest.mark.parametrize(
    "operator",
    [o for o in OPERATORS.values() if "reduction" in o.options and not isinstance(o.modules, Gap)],
    ids=lambda operator: operator.name,
)
def test_size_average_and_reduce_warn_and_mean_a_reduction(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    of_torch_alone(settings, "size_average and reduce")
    verify, values = verify_in_modes(modules.legacy_modes()), list(operator.values)
    weighted = {"weight": operator.options["weight"][1]} if "weight" in operator.options else {}
    cases = [
        operator.case(
            dtype,
            (4, 5),
            values[number % len(values)],
            {"reduction": reduction, **weighted},
            settings.seed,
        )
        for number, reduction in enumerate(REDUCTION[: 1 if settings.effort_name == "quick" else None])
    ]
    check_attempts(
        (Attempt(f"size_average and reduce: {case}", case, verify) for case in cases), settings, tally
    )


# --- torch.compile ------------------------------------------------------------------------------------------
#
# One test a backend, whatever the operators and dtypes: everything is compiled at once, on one worker.


@pytest.mark.parametrize(
    "backend", compilers.BACKENDS, ids=lambda backend: backend.removeprefix("aot_eager_")
)
def test_compiled_results_are_right(backend: str, settings: Settings, request: pytest.FixtureRequest) -> None:
    if settings.subject.name == "reference":
        pytest.skip(
            "not offered: the reference checks the values of its arguments, which a compiler does not know"
        )
    if settings.subject.name == "torch.compile":
        pytest.skip("torch.compile is the subject: every test compiles it")
    not_in_quick(settings, "torch.compile")
    offered = [operator for operator in OPERATORS.values() if settings.subject.offers(operator.name)]
    tallies = {
        (operator.name, dtype): Tally(operator.name, dtype, CLAIM)
        for operator in offered
        for dtype in settings.dtypes
    }
    try:
        compiled, table = compilation.judge_compiled(settings, backend)
        for finding in compiled:
            tallies[finding.call.operator, finding.call.dtype].add(finding)
        request.node.user_properties.append(("eager and compiled", table))
        failures = [
            explain(finding, settings.subject, settings.device)
            for finding in compiled
            if not finding.verdict.passes
        ]
        assert compiled, "no case was run"
        assert not failures, (f"{len(failures)} of {len(compiled)} cases fail:\n\n") + "\n\n".join(
            [*failures[:SHOWN], *table]
        )
    except compilers.NoCompiler as error:
        pytest.skip(str(error))
    finally:
        request.node.user_properties += [
            (PROPERTY, tally.as_property()) for tally in tallies.values() if tally.cases
        ]


# --- the ledger ---------------------------------------------------------------------------------------------

UNDER_VJP = [
    (entry, quantity, dtype)
    for entry in ledger.entries()
    if transforms.VJP in entry.modes
    for quantity in entry.quantities
    for dtype in entry.dtypes
]


@pytest.mark.parametrize(
    ("entry", "quantity", "of_dtype"),
    UNDER_VJP,
    ids=[f"{entry.id}, {quantity}, {dtype}" for entry, quantity, dtype in UNDER_VJP],
)
def test_the_smallest_input_diverges_under_vjp_as_the_ledger_says(
    entry: ledger.Divergence,
    quantity: str,
    of_dtype: str,
    settings: Settings,
    tell: Callable[[News], None],
    diverged: Callable[[str], None],
) -> None:
    skip_unless_in_force(entry, settings)
    call, grad_output, _ = smallest_input(entry, quantity, of_dtype)
    differentiated = replace(call, differentiable=("input",) if quantity == FORWARD else (quantity,))
    observed = transforms.under_vjp(
        settings.subject, differentiated, settings.device, np.ones(1) if grad_output is None else grad_output
    )[quantity]
    finding = judge_smallest_input(entry, call, quantity, observed, grad_output, settings, transforms.VJP)
    place = f"{transforms.VJP}: {quantity}, {of_dtype}"
    check_divergence(entry, [finding], place, settings, tell, diverged)


def test_the_smallest_inputs_diverge_under_torch_compile_as_the_ledger_says(
    settings: Settings, tell: Callable[[News], None], diverged: Callable[[str], None]
) -> None:
    not_in_quick(settings, "torch.compile")
    smallest = compilation.smallest_of_ledger(settings)
    if not smallest:
        pytest.skip(f"no entry about torch.compile speaks of {settings.subject.name} on {settings.device}")
    programs = [program for _, program in smallest]
    results = compilation.run(programs, settings.subject, settings.device, compilers.DECOMPOSED)
    mode = compilers.compiled_by(compilers.DECOMPOSED)
    for (entry, program), result in zip(smallest, results, strict=True):
        for finding in compilation.judge_programs(
            [program], [result], settings.subject, settings.device, mode
        ):
            if finding.quantity in entry.quantities:
                place = f"{mode}: {finding.quantity}, {program.call.dtype}"
                check_divergence(entry, [finding], place, settings, tell, diverged)
