"""torch's linear_cross_entropy in chunks: its subjects, and the numbers that it gets wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from packaging.version import Version

from torch_loss_parity import assert_close_to_truth
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import certified, expected
from torch_loss_parity.issue_report.issue_report import printed_by
from torch_loss_parity.ledger import verified
from torch_loss_parity.ledger.ledger import LONGEST_SCRIPT
from torch_loss_parity.meta.torch_in_chunks_numbers import NUMBERS, Number
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.double_double import nearest
from torch_loss_parity.subjects import SubjectError, load, torch_in_chunks

OPERATOR = "linear_cross_entropy"
NAMES = ("auto,auto", "accurate,8", "balanced,1", "compact,64", "compact,aspect_ratio:2", "accurate,8,own")

offered = pytest.mark.skipif(
    Version(Version(torch.__version__).base_version) < Version("2.13"),
    reason="torch has linear_cross_entropy since 2.13",
)


@pytest.mark.parametrize("name", ["", "accurate", "accurate,0", "exact,8", "auto,auto,theirs", "auto,-1"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SubjectError, match="is no subject; it is torch"):
        load(torch_in_chunks.PREFIX + name, tuple(OPERATORS))


def test_a_release_without_it_does_not_offer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.nn.functional, OPERATOR, raising=False)
    assert not load("torch.chunked:auto,auto", tuple(OPERATORS)).offers(OPERATOR)


@offered
@pytest.mark.parametrize("name", NAMES)
def test_a_subject_computes_in_chunks_what_torch_composes(name: str) -> None:
    function = load(torch_in_chunks.PREFIX + name, tuple(OPERATORS)).function(OPERATOR)
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (9, 5))
    target = torch.arange(9) % 5
    assert_close_to_truth(function(x, w, target), OPERATOR, x, w, target)
    assert_close_to_truth(torch.nn.functional.linear_cross_entropy(x, w, target), OPERATOR, x, w, target)
    with pytest.raises(NotImplementedError, match="torch composes"):
        function(x, w, target, label_smoothing=0.5)


def truth(number: Number) -> float:
    """The true value, enclosed by balls; of float64 arguments, so that the bound is narrow."""
    arguments = {**number.arguments, "linear_bias": None, "weight": None}
    call = Call(OPERATOR, arguments, "float64", "float64", ("input", "linear_weight"))
    upstream = None if number.quantity == "forward" else np.asarray(number.upstream)
    bound = expected(call, (number.quantity,), upstream)[number.quantity]
    enclosed = certified(call, number.quantity, upstream, bound)
    assert enclosed is not None
    assert np.all(enclosed.total_error() < 1e-6)
    return float(nearest(enclosed.value)[number.index])


@offered
@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_the_script_prints_a_number_that_is_wrong(number: Number) -> None:
    """On the releases that are recorded; a later one that is right is news, as its number is another."""
    assert len(number.script.splitlines()) <= LONGEST_SCRIPT
    printed, right = printed_by(number.script), truth(number)
    if printed != number.prints and verified.is_later("cpu"):
        pytest.skip(f"torch {torch.__version__} prints {printed!r}, recorded is {number.prints!r}")
    assert printed == number.prints
    wrong = float(printed.splitlines()[-1])
    assert abs(abs(wrong) - abs(right)) > 0.25 * abs(right)
