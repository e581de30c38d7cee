"""The catalogue of planted faults covers what it claims to, and the campaign notices when its record no
longer holds.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from torch_loss_parity.campaign import campaign, right_record, worth
from torch_loss_parity.campaign.campaign_runs import Judged
from torch_loss_parity.faults import FAULTS, KINDS, record
from torch_loss_parity.judging.tally import claim_of
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS
from torch_loss_parity.processes.folders import files_of_claims
from torch_loss_parity.reports import readme
from torch_loss_parity.subjects import SubjectError, load

CLAIMS = {claim_of(str(path)) for path in files_of_claims()}
CAUGHT = Judged({"forward": 2}, ("errors",), 5.0, assert_close=False, gradcheck=True, exitcode=1)


def test_there_are_faults_of_every_kind_in_every_operator_and_each_says_what_it_is_modelled_on() -> None:
    assert len(FAULTS) >= 120
    assert {fault.kind for fault in FAULTS.values()} == set(KINDS)
    assert {fault.operator for fault in FAULTS.values()} == set(OPERATORS)
    for fault in FAULTS.values():
        assert set(fault.catches) <= CLAIMS, fault
        assert fault.effort in EFFORTS, fault
        assert fault.dtype in DTYPES, fault
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+|[\w./-]+: .+", fault.thread), fault
        assert fault.sentence.endswith("."), fault


def test_every_operator_has_faults_in_its_result_and_in_its_gradient() -> None:
    met = Counter(
        (fault.operator, claim)
        for fault in FAULTS.values()
        for claim in campaign.recorded()[fault.name]["claims"]
    )
    assert all(met[name, claim] >= 3 for name in OPERATORS for claim in ("forward", "gradients"))


def test_the_record_has_every_fault_and_each_is_caught_by_what_was_expected_to_catch_it() -> None:
    known = campaign.recorded()
    assert set(known) == set(FAULTS)
    for name, fault in FAULTS.items():
        assert set(fault.catches) <= set(known[name]["claims"]), name


def test_the_readme_has_the_score_of_the_record() -> None:
    faults = campaign.as_recorded()
    assert campaign.section(faults) == readme.section("campaign")
    assert worth.section(faults, right_record.as_recorded()) == readme.section("worth")


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (replace(CAUGHT, claims={}), "is caught by no check"),
        (replace(CAUGHT, exitcode=-6), "is caught by no check"),
    ],
)
def test_drift_from_the_record_is_named(
    judged: Judged, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "MATRIX", tmp_path / "matrix.json")
    campaign.MATRIX.write_text(json.dumps({"torch": "", "faults": {"zeros": {"claims": {"forward": 9}}}}))
    assert campaign.drift({"zeros": CAUGHT}) == []
    assert campaign.drift({"zeros": judged}) == [f"zeros {message}"]
    assert campaign.news({"zeros": CAUGHT}) == []
    by_others = {"zeros": replace(CAUGHT, claims={"bits": 1})}
    assert campaign.drift(by_others) == []
    assert campaign.news(by_others) == ["zeros is caught by bits; recorded: forward"]
    assert campaign.drift({"every-probability-is-the-same": CAUGHT}) == [
        "every-probability-is-the-same is not in the record"
    ]


def test_what_was_not_caught_as_expected_is_named() -> None:
    assert campaign.unexpected({"zeros": CAUGHT}) == []
    assert campaign.unexpected({"zeros": replace(CAUGHT, claims={"bits": 1})}) == [
        "zeros: forward was expected to catch it, and did not"
    ]
    lines = campaign.summary({"zeros": replace(CAUGHT, claims={}), "nan-is-left-out": CAUGHT})
    assert "caught by no check: zeros" in lines
    assert "claims that caught nothing: errors" in lines


def test_a_fault_that_is_not_there_is_refused_with_the_choices() -> None:
    with pytest.raises(SubjectError, match=r"there is no fault 'zero'; choose from .*zeros"):
        load("fault:zero", tuple(OPERATORS))


@pytest.mark.parametrize(
    ("kind", "catches", "doc"),
    [("XYZ", ("forward",), "Wrong."), ("ORC", (), "Wrong."), ("ORC", ("forward",), "")],
)
def test_a_fault_that_is_not_described_is_refused(kind: str, catches: tuple[str, ...], doc: str) -> None:
    def some_new_fault() -> None: ...

    some_new_fault.__doc__ = doc
    with pytest.raises(ValueError, match="fault some-new-fault: it needs a kind among"):
        record.whole("softmax", kind, "a/b#1", *catches)(some_new_fault)
    assert "some-new-fault" not in FAULTS
