"""Mutants of the definitions: each differs in one place, those on record are caught or no faults, and some
are caught again.
"""

from __future__ import annotations

import ast
import difflib

import pytest

from torch_loss_parity.campaign.mutants import record
from torch_loss_parity.campaign.mutants.__main__ import main
from torch_loss_parity.campaign.mutants.judge_mutants import judge
from torch_loss_parity.campaign.mutants.mutated_kernels import all_mutants, sources, with_mutant
from torch_loss_parity.campaign.mutants.mutation import mutants_of, mutated
from torch_loss_parity.reports import readme

SOURCE = '''
def mean(x, weight=None, shift=0):
    """The mean of x."""
    if weight is not None and weight < 0:
        raise ValueError(f"weight is {weight + 1}")
    check(x)
    return -(sum(x) + shift) / len(x)
'''
CHANGES = {
    "0  ->  1",
    "0  ->  -1",
    "if weight is not None and weight < 0: ...  ->  if not (weight is not None and weight < 0): ...",
    "weight is not None and weight < 0  ->  weight is not None or weight < 0",
    "weight is not None and weight < 0  ->  weight is not None",
    "weight is not None and weight < 0  ->  weight < 0",
    "weight is not None  ->  weight is None",
    "weight < 0  ->  weight <= 0",
    "weight < 0  ->  weight >= 0",
    "raise ValueError(f'weight is {weight + 1}')  ->  pass",
    "check(x)  ->  pass",
    "-(sum(x) + shift) / len(x)  ->  -(sum(x) + shift) * len(x)",
    "-(sum(x) + shift) / len(x)  ->  -(sum(x) + shift)",
    "-(sum(x) + shift) / len(x)  ->  len(x)",
    "-(sum(x) + shift)  ->  sum(x) + shift",
    "sum(x) + shift  ->  sum(x) - shift",
    "sum(x) + shift  ->  sum(x)",
    "sum(x) + shift  ->  shift",
}


def test_every_place_is_changed_and_nothing_that_only_speaks() -> None:
    keys = [mutant.key.removeprefix("m.mean: ") for mutant in mutants_of("m", SOURCE)]
    assert {key.removesuffix("  (2)") for key in keys} == CHANGES
    assert len(set(keys)) == len(keys) == len(CHANGES) + 2  # 0 stands there twice


@pytest.mark.parametrize("module", sources())
def test_a_mutant_differs_in_one_place(module: str) -> None:
    plain = ast.unparse(ast.parse(sources()[module])).splitlines()
    mutants = [mutant for mutant in all_mutants() if mutant.module == module]
    assert mutants
    for mutant in mutants[::7]:
        changed = mutated(sources()[module], mutant.number).splitlines()
        blocks = [
            op
            for op in difflib.SequenceMatcher(None, plain, changed, False).get_opcodes()
            if op[0] != "equal"
        ]
        assert len(blocks) == 1, mutant


def test_a_mutant_reaches_what_its_module_is_part_of() -> None:
    reached = {
        module: with_mutant(next(m for m in all_mutants() if m.module == module)).operators()
        for module in ("logsumexp", "nll_loss", "reduction")
    }
    assert reached["logsumexp"] == ["cross_entropy", "logsumexp", "linear_cross_entropy"]  # of z-losses
    assert "cross_entropy" in reached["nll_loss"]
    assert "softmax" not in reached["reduction"]


def test_the_record_is_of_these_mutants_and_all_that_are_faults_are_caught() -> None:
    known = record.recorded()
    assert set(known) == {mutant.key for mutant in all_mutants()}
    assert record.drift(known) == []
    assert record.section() == readme.section("mutants")
    assert len(known) >= 400
    faults = [key for key in known if key not in record.equivalents()]
    assert sum(bool(known[key]) for key in faults) >= 0.99 * len(faults), record.survivors(known)
    assert all(len(why) > 20 for why in record.equivalents().values())


def test_some_are_caught_again_and_one_that_is_no_fault_is_not() -> None:
    known = record.recorded()
    chosen = [key for key, claim in known.items() if key.startswith("logsumexp") and claim == "forward"][:3]
    same = next(key for key in record.equivalents() if key.startswith("logsumexp"))
    caught = judge([*chosen, same], claims=("forward", "gradients"))
    assert caught == {**dict.fromkeys(chosen, "forward"), same: ""}


def test_a_wrong_number_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--sample", "0"])
    assert "--sample is 0; it must be at least 1" in capsys.readouterr().err
