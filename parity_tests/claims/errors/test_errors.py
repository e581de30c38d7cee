"""Errors: malformed arguments are refused with the exception type that torch raises, and leave everything as
it was.

Every row of the facet ``refusals`` of an operator's record is a case, in every dtype. torch itself must raise
exactly the type of the row, and say something; another subject may raise a subclass of it. No message is
compared. A later release of torch than any that was recorded may refuse with another type: that is news.
After the refusal the arguments are what they were, bit by bit, and an ordinary call returns what it returned
before. That the definition refuses too, and says why, is checked in ``meta/test_reference_refusals.py``.

At quick effort each row runs in one dtype: those of an operator take turns; so do, at standard effort,
those of an operator whose cases are dealt out.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.checks import TallyOf
from torch_loss_parity.claims.errors import checks
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.refusals import Refusal
from torch_loss_parity.subjects.settings import SETTINGS, Settings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each row, named after the operator and the row's sentence; one for each operator where no
    row is named.
    """
    dtypes = list(metafunc.config.stash[SETTINGS].dtypes)
    effort = metafunc.config.getoption("effort")
    in_turn = {
        operator.name: effort == "quick" or (effort == "standard" and operator.family.dealt_out)
        for operator in OPERATORS.values()
    }
    if "refusal" not in metafunc.fixturenames:
        every = [(operator, dtypes) for operator in OPERATORS.values() if checks.refusals_of(operator)]
        marked = pytest.mark.parametrize(("operator", "dtypes"), every, ids=[pair[0].name for pair in every])
        metafunc.definition.add_marker(marked)
        return
    parameters = [
        (operator, [dtypes[turn % len(dtypes)]] if in_turn[operator.name] else dtypes, refusal)
        for operator in OPERATORS.values()
        for turn, refusal in enumerate(checks.refusals_of(operator))
    ]
    ids = [f"{operator.name}: {refusal}" for operator, _, refusal in parameters]
    metafunc.definition.add_marker(
        pytest.mark.parametrize(("operator", "dtypes", "refusal"), parameters, ids=ids)
    )


def test_errors(
    operator: Operator, dtypes: list[str], refusal: Refusal, settings: Settings, tally_of: TallyOf
) -> None:
    checks.row_is_refused(operator, dtypes, settings, tally_of, refusal=refusal)


def test_no_rows_are_refused_as_some_are(
    operator: Operator, dtypes: list[str], settings: Settings, tally_of: TallyOf
) -> None:
    checks.no_rows_are_refused_as_some_are(operator, dtypes, settings, tally_of)
