"""Checks of modes: a derivative is the same however torch is asked for it, of first and of second order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.modes.directional import FORWARD_AD, JVP
from torch_loss_parity.claims.modes.first_order import FIRST_ORDER
from torch_loss_parity.claims.modes.second_order import SECOND_ORDER, verify_second_order
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.run_cases import check_cases, check_random_cases
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.sampling import EFFORTS, everyday, grid, share
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

verify_first_order = verify_in_modes(FIRST_ORDER)
# One random case for so many of a plain claim: each is judged in a handful of modes.
RANDOM_SHARE, SECOND_SHARE = 3, 5
LONGEST = 40
FORWARD_MODES = tuple(mode for mode in SECOND_ORDER if mode.name in (JVP, FORWARD_AD))
ALL_ARGUMENTS = (
    ("target", "soft"),
    ("target", "probabilities"),
    ("weight", "positive"),
    ("linear_bias", "any_sign"),
    ("reduction", "sum"),
)
# As in training, with everything that a loss is weighed by.
WEIGHED = (
    ("target", "indices"),
    ("target", "soft"),
    ("weight", "positive"),
    ("weight", "full"),
    ("pos_weight", "last dimension"),
    ("linear_bias", "any_sign"),
    ("label_smoothing", 0.1),
    ("ignored", "some"),
    ("reduction", "mean"),
    ("dim", 0),
)


def pairs(operator: Operator, dtype: str, settings: Settings, every: int = 1) -> list[Case]:
    """Cases in which every pair of options meets, and at thorough effort every three; else one of ``every``,
    others for each dtype.
    """
    thorough = settings.effort_name == "thorough"
    cases = list(grid(operator, dtype, EFFORTS["thorough" if thorough else "quick"], settings.seed))
    step = 1 if thorough else every * (3 if settings.effort_name == "quick" else 1)
    cases = cases[DTYPES.index(dtype) % min(step, len(cases)) :: step]
    return list(share(operator, cases, dtype, settings.dtypes, settings.seed, settings.effort))


def gradients_in_random_cases(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    check_random_cases(
        operator,
        dtype,
        verify_first_order,
        settings,
        tally,
        name="modes",
        one_in=RANDOM_SHARE,
        longest=LONGEST,
    )


def gradients_in_every_pair_of_options(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    seed = settings.seed
    beside = (everyday(operator, dtype, seed), _with_all_arguments(operator, dtype, seed))
    cases = [*dict.fromkeys(beside), *pairs(operator, dtype, settings)]
    check_cases(cases, verify_first_order, settings, tally)


def second_order_in_random_cases(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    check_random_cases(
        operator,
        dtype,
        verify_second_order,
        settings,
        tally,
        name="second order",
        one_in=SECOND_SHARE,
        longest=LONGEST,
    )


def second_order_in_every_pair_of_options(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    weighed = _small(operator, dtype, settings.seed, WEIGHED)
    cases = dict.fromkeys((weighed, *pairs(operator, dtype, settings, every=2)))
    check_cases(list(cases), verify_second_order, settings, tally)


def _small(operator: Operator, dtype: str, seed: int, asked: tuple[tuple[str, Any], ...]) -> Case:
    """A small call with those of the options that the operator has."""
    options = {name: value for name, value in asked if value in operator.options.get(name, ())}
    return operator.case(dtype, (3, 4), next(iter(operator.values)), options, seed)


def _with_all_arguments(operator: Operator, dtype: str, seed: int) -> Case:
    """A small call in which as many arguments are differentiated as the operator has."""
    return _small(operator, dtype, seed, ALL_ARGUMENTS)


def forward_mode_along_every_argument(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Of the many arguments of few cases chance leaves some out: here each has its turn, in one of the dtypes
    where several are run.
    """
    case = _with_all_arguments(operator, dtype, settings.seed)
    names = OPERATORS[operator.name].call(case).differentiable
    if len(settings.dtypes) > 1 and settings.effort_name != "thorough":
        names = (names[(DTYPES.index(dtype) + settings.seed) % len(names)],)

    def verify(subject: Subject, case: Case, device: str, *, certify: bool = False) -> Iterator[Finding]:
        for along in names:
            yield from verify_second_order(
                subject, case, device, certify=certify, modes=FORWARD_MODES, along=along
            )

    check_cases([case], verify, settings, tally)


CHECKS: tuple[Check, ...] = (
    gradients_in_random_cases,
    gradients_in_every_pair_of_options,
    second_order_in_random_cases,
    second_order_in_every_pair_of_options,
    forward_mode_along_every_argument,
)


def checks_of(operator: Operator) -> tuple[Check, ...]:
    """The same for every operator, but for what asks for several arguments."""
    return CHECKS if len(operator.differentiable_arguments) > 1 else CHECKS[:-1]
