"""Every way of the catalogue is needed: by a right kernel, as measured, or by an entry of the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torch_loss_parity.campaign import right_ways
from torch_loss_parity.faults.right import RIGHT_KERNELS
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import each

TEXTBOOK = "x - m - log(sum)"
# No right kernel has shown that it needs these, under the seeds that are recorded: each is to go, or a right
# kernel that people ship is to be written for it.
NOT_YET_NEEDED = {
    "softmax: 2**(x / ln 2 - lse2)",
    "log_softmax: x - lse by exp2 and log2",
    "log_softmax: (x / ln 2 - lse2) ln 2",
    "cross_entropy: nll of x - logsumexp(x)",
    "cross_entropy: nll of x - lse by exp2 and log2",
    "cross_entropy: (p - onehot) g, p = exp(x - logsumexp(x))",
    "binary_cross_entropy_with_logits: sum(l / N)",
    "logsumexp: g 2**(x / ln 2 - lse2)",
    # Ways of cross_entropy, of the logits of a layer: its right kernels are of cross_entropy alone.
    "linear_cross_entropy: nll of x - m - log(sum), of stored logits",
    "linear_cross_entropy: nll of x - lse, of stored logits",
    "linear_cross_entropy: nll of x - lse by exp2 and log2",
    "linear_cross_entropy: lse sum(q) - sum(q x)",
    "linear_cross_entropy: lse - e mean(x) - (1 - e) x_t",
    "linear_cross_entropy: -sum(q y), of each class and its share",
    "linear_cross_entropy: sum(l / D), of stored logits",
    "linear_cross_entropy: (p - onehot) g, of stored logits",
    "linear_cross_entropy: (p - onehot) g, p = exp(x - lse), of stored logits",
    "linear_cross_entropy: (p - onehot) g, p = exp(x - lse by exp2 and log2)",
    "linear_cross_entropy: G - p sum(G), p = exp(x - m - log(sum)), of stored logits",
    "linear_cross_entropy: gradient for 1 from memory, times g",
    "linear_cross_entropy: gradient for 1 from memory, times g, of stored logits",
    "linear_cross_entropy: G of products with 0, less p sum(G)",
    "linear_cross_entropy: mean over a converted number of rows",
    "linear_cross_entropy: gradient of a mean over a converted number of rows",
}


def test_every_other_way_is_needed_by_a_right_kernel_or_named_by_the_ledger() -> None:
    assert set(right_ways.unneeded(right_ways.recorded())) == NOT_YET_NEEDED


def test_the_record_has_every_right_kernel_and_only_ways_of_its_operator() -> None:
    recorded = right_ways.recorded()
    assert set(recorded) == set(RIGHT_KERNELS)
    for name, ways in recorded.items():
        assert set(ways) <= {way.name for way in each(OPERATORS[RIGHT_KERNELS[name].operator].ways)}, name


def test_a_way_that_nobody_needs_is_named() -> None:
    recorded = right_ways.recorded()
    without = {name: [way for way in ways if way != "exp(x - lse)"] for name, ways in recorded.items()}
    assert set(right_ways.unneeded(without)) == NOT_YET_NEEDED | {"softmax: exp(x - lse)"}
    # torch.compile's is needed whatever right kernels do.
    assert "softmax: p g - p sum(p g)" not in right_ways.unneeded({})


@pytest.mark.parametrize(
    ("sentence", "needed"),
    [
        (f"forward: {TEXTBOOK} (textbook); loses in confident rows", True),
        (f"input: autograd of {TEXTBOOK} (textbook); loses in confident rows", True),
        (f"input: nan where {TEXTBOOK} is infinite; the documentation leaves it open", True),
        ("forward: x - lse (textbook); loses in rows far from 0", False),
    ],
)
def test_a_sentence_names_the_way(sentence: str, needed: bool) -> None:
    (way,) = (way for way in each(OPERATORS["log_softmax"].ways) if way.name == TEXTBOOK)
    assert right_ways._by(way, sentence) == needed


def test_another_way_than_is_recorded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_ways, "RECORD", tmp_path / "ways.json")
    (tmp_path / "ways.json").write_text(json.dumps({"two-softplus": [], "two-log-sigmoids": ["a"]}))
    assert right_ways.drift({"two-softplus": [], "two-log-sigmoids": ["b"], "new": []}) == [
        "two-log-sigmoids passes by b; recorded is a",
        "new is not in the record",
    ]


def test_what_a_kernel_needs_is_measured() -> None:
    name = "softmax-is-exp-of-log-softmax"
    assert "exp(log_softmax)" in right_ways.measure([name], seeds=(0,))[name]
