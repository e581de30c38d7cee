"""The audit measures what the record of an operator says, and names what a record does not have.

Claims shown here: an operator that is not audited is named, and nothing is planned of it; one whose record
has no numbers to try is named too; an operator that is registered with a record alone is planned, searched,
swept with its own closed forms, and certified without shortening its rows, if it has none; logits of a layer
are measured by its features too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest

from torch_loss_parity import reference
from torch_loss_parity.audit import (
    axes,
    certify,
    exhaustive,
    exhaustive_figures,
    exhaustive_parts,
    parts_of_calls,
    plan,
    sweep,
)
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.audit.operator_facets import audited, gaps
from torch_loss_parity.audit.search import Search
from torch_loss_parity.audit.single_row import extent, logit_range
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.operators import OPERATORS, Gap, Operator
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.families import audits
from torch_loss_parity.subjects import load
from torch_loss_parity.subjects.settings import Settings

WHY = "nobody has written it down"
SOFTMIN = "softmin"


def register(monkeypatch: pytest.MonkeyPatch, record: Operator) -> None:
    monkeypatch.setitem(OPERATORS, record.name, record)


def softmin(input: Any, dim: int, dtype: Any = None) -> Any:
    return reference.softmax(-input, dim, dtype)


def softmin_backward(grad_output: Any, input: Any, dim: int) -> Any:
    return -reference.softmax_backward(grad_output, -input, dim)


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """softmin, as a file from elsewhere would have it; of its gradient in pairs nothing is said."""
    softmax = OPERATORS["softmax"]
    assert isinstance(softmax.audit, Audited)
    assert not isinstance(softmax.audit.every_number, Gap)
    tried = replace(
        softmax.audit.every_number,
        targets=audits.target_of_pairs(
            forward=("sigmoid(-x)", "sigmoid(x)", "sigmoid(x)", "sigmoid(-x)"),
            gradient=("-product", "product", "-product", "product"),
        ),
        undefined_at=(-inf,),
        gradient=Gap(WHY),
    )
    record = replace(
        softmax,
        name=SOFTMIN,
        forward=softmin,
        backward=softmin_backward,
        function="torch.nn.functional.softmin",
        audit=replace(softmax.audit, shortened=Gap(WHY), every_number=tried),
    )
    register(monkeypatch, record)
    yield record
    exhaustive._of_each.cache_clear()


def test_an_operator_that_is_not_audited_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, replace(OPERATORS["softmax"], audit=Gap(WHY)))
    settings = Settings.of("torch", "cpu", "float16,float32", "standard", 0)
    both = plan.planned(
        [(name, dtype) for name in ("softmax", "nll_loss") for dtype in settings.dtypes], settings
    )
    assert all("softmax" not in {operator for operator, _ in unit.cells} for unit in both.units)
    assert [missing.why for missing in both.missing if missing.what == "softmax"] == [f"not audited: {WHY}"]
    alone = plan.planned([("softmax", "float16")], settings)
    assert not alone.units
    assert [missing.what for missing in alone.missing] == ["softmax"]
    assert sweep.planned(["softmax"], ["float16"], thorough=True) == ([], [])
    with pytest.raises(ValueError, match=f"softmax is not audited: {WHY}"):
        audited("softmax")


def test_numbers_that_are_not_tried_are_named() -> None:
    assert [missing.what for missing in gaps(OPERATORS)] == [
        "every number there is, nll_loss",
        "every number there is, linear_cross_entropy",
        "a search for the worst of linear_cross_entropy",
    ]


def test_every_telling_distribution_and_path_is_one_that_the_operator_has() -> None:
    for operator in (each for each in OPERATORS.values() if not isinstance(each.audit, Gap)):
        facet = audited(operator.name)
        assert set(facet.telling) <= set(operator.values)
        assert len(facet.telling) >= 3  # as many as an effort asks for
        for options in (facet.base, *facet.paths):
            assert all(value in operator.options[name] for name, value in options.items())
        assert (facet.features == ()) == (facet.logits is None)
        arguments = operator.call(next(plan.cases(operator, "float32", plan.EXTENTS["quick"], 0))).arguments
        assert set(facet.probabilities) <= set(arguments)


def test_an_invented_operator_is_planned_from_its_record(invented: Operator) -> None:
    settings = Settings.of("torch", "cpu", "float16", "quick", 0)
    units = plan.planned([(SOFTMIN, "float16")], settings).units
    assert {unit.work for unit in units} == {"draw", "search", "axes", "exhaust"}


def test_an_invented_operator_is_swept_by_its_closed_forms(invented: Operator) -> None:
    one = Sweep(SOFTMIN, "float16")
    for first in (0x3C00, 0x7BF0, 0xFBF0):  # beside 1, and to nan at both ends
        result = exhaustive_parts.measure(one, first, 32, "torch", "cpu")
        part = exhaustive_parts.Part.model_validate(result["parts"]["torch forward "])
        assert part.errors.max_ulp < 3
    (figure, *_) = exhaustive_figures.figures(
        one, [exhaustive_parts.measure(one, 0x3C00, 8, "torch", "cpu")], "torch", "cpu"
    )
    assert (figure.operator, figure.classes, figure.values) == (
        SOFTMIN,
        2,
        "every float16 x in (x, 0) and (0, x)",
    )


def test_rows_are_shortened_only_where_the_record_says_so(invented: Operator) -> None:
    call = invented.call(invented.case("float16", (3, 200), "ties", {}, 0))
    assert not parts_of_calls.repeats(call, 0)
    assert parts_of_calls.repeats(
        OPERATORS["softmax"].call(OPERATORS["softmax"].case("float16", (3, 200), "ties", {}, 0)), 0
    )
    true = certify.truths(call, (FORWARD,))[FORWARD]
    right = invented.forward(call.arguments["input"], call.arguments["dim"])
    for index in (0, 199, 599):
        (ball,) = true.balls(np.asarray([index]), 100)
        assert abs(float(ball) - right.reshape(-1)[index]) < 1e-15


def test_an_invented_operator_is_searched(invented: Operator) -> None:
    rows = list(Search(load("torch", (SOFTMIN,)), "cpu", SOFTMIN, "float32", FORWARD, 256, 0).worst_rows())
    assert len(rows) == 2
    assert all(one.call.operator == SOFTMIN and np.isfinite(one.score) for one in rows)


def test_of_a_layer_the_number_of_features_is_met_too_and_no_row_is_climbed_from() -> None:
    operator = OPERATORS["linear_cross_entropy"]
    drawn = list(plan.cases(operator, "float32", plan.EXTENTS["quick"], 0))
    assert {8, *audits.LAYER_FEATURES} <= {case.option["features"] for case in drawn}
    settings = Settings.of("torch", "cpu", "float32", "quick", 0)
    units = plan.planned([(operator.name, "float32")], settings).units
    assert {unit.work for unit in units} == {"draw", "axes"}
    call = operator.call(operator.case("float32", (6, 5), "products", audits.LAYER_BASE, 0))
    logits = call.arguments["input"] @ call.arguments["linear_weight"].T
    assert extent(call) == (6, 5)
    assert logit_range(call) == np.max(np.ptp(logits, axis=1))


def test_rows_that_share_a_layer_are_compared_alone_without_its_gradient() -> None:
    operator = OPERATORS["linear_cross_entropy"]
    call, grad_output = axes.drawn_call(operator.case("float64", (6, 5), "products", audits.LAYER_BASE, 0))
    subject = load("torch", (operator.name,))
    together = axes.plainly(subject, call, "cpu", grad_output)
    alone = axes.one_by_one(subject, call, "cpu", grad_output)
    assert set(together) - set(alone) == {"linear_weight"}
    for quantity, result in alone.items():
        bound = expected(call, (quantity,), None if quantity == FORWARD else grad_output)[quantity]
        assert np.all(np.abs(result - together[quantity]) <= 2 * bound.total_error())
