"""Special values and semantics: what comes out at each corner of an operator's domain, in every dtype.

Every row of the facet ``semantics`` of an operator's record is a case: nan, infinities and finite values must
be where the definition has them in the rounding arithmetic of the dtype, and finite values within its bound.
What a row states besides, as "-> nan, gradient 0" does, is held against that bound too, so the definition
itself is watched; where no bound holds, as an intermediate result may overflow, it must come out exactly. The
sign of a zero is no number, and is checked in ``meta/test_reference_semantics.py``.

At standard effort an operator's rows about shapes alone take turns over the dtypes. At quick effort they are
left out, and the others take turns. Arguments that have a default are left out too, see ``defaults``.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.checks import TallyOf
from torch_loss_parity.claims.semantics import checks, defaults
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.semantics import Promotion, Row
from torch_loss_parity.subjects.settings import SETTINGS, Settings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each row, named after the operator and the row's sentence; one for each operator where
    there is no row.
    """
    option = metafunc.config.getoption
    dtypes = list(metafunc.config.stash[SETTINGS].dtypes)
    if not {"row", "promotion"} & {*metafunc.fixturenames}:
        every = [(operator, dtypes) for operator in OPERATORS.values()]
        marked = pytest.mark.parametrize(("operator", "dtypes"), every, ids=list(OPERATORS))
        metafunc.definition.add_marker(marked)
        return
    name = "row" if "row" in metafunc.fixturenames else "promotion"
    parameters: list[tuple[Operator, list[str], Row | Promotion]] = []
    for operator in OPERATORS.values():
        if name == "row":
            dealt_out = operator.family.dealt_out
            rows = checks.rows_to_run(each(operator.semantics), dtypes, option("effort"), dealt_out)
            parameters += [(operator, dtype, row) for row, dtype in rows]
        else:
            parameters += [(operator, dtypes, promotion) for promotion in each(operator.promotions)]
    ids = [f"{operator.name}: {case.sentence}" for operator, _, case in parameters]
    metafunc.definition.add_marker(pytest.mark.parametrize(("operator", "dtypes", name), parameters, ids=ids))


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_semantics(
    operator: Operator, dtypes: list[str], row: Row, settings: Settings, tally_of: TallyOf
) -> None:
    checks.row_holds(operator, dtypes, settings, tally_of, row=row)


def test_result_dtype(
    operator: Operator, dtypes: list[str], promotion: Promotion, settings: Settings, tally_of: TallyOf
) -> None:
    checks.result_has_the_promoted_dtype(operator, dtypes, settings, tally_of, promotion=promotion)


def test_what_is_left_out_has_its_default(
    operator: Operator, dtypes: list[str], settings: Settings, tally_of: TallyOf
) -> None:
    defaults.what_is_left_out_has_its_default(operator, dtypes, settings, tally_of)
