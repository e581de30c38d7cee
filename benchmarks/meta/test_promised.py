"""What is timed lies inside the promise of a subject: what it declines is replaced, or named."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch.nn.functional as F

from torch_loss_parity.benchmarks.matrix import Sheet, cells
from torch_loss_parity.benchmarks.paths import PATHS, of_subject
from torch_loss_parity.benchmarks.promised import dtypes_inside, inside, sentences, works_inside
from torch_loss_parity.benchmarks.workload import FORWARD, TRAINING, VARIANTS, WORKS, Work, is_plain, traffic
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.promise import EVERYTHING
from torch_loss_parity.subjects.written_promise import of_mapping

PARTIAL = of_mapping({"target": "indices", "weight": None, "reduction": "sum", "label_smoothing": 0.0})


@pytest.mark.parametrize(
    ("work", "given", "name", "outside"),
    [
        ("cross_entropy", {}, "cross_entropy", ""),
        ("cross_entropy", {"reduction": ("mean", "sum")}, "cross_entropy", ""),
        ("cross_entropy", {"reduction": "sum"}, "cross_entropy, reduction=sum", ""),
        ("cross_entropy", {"target": "probabilities"}, "cross_entropy, target=probabilities", ""),
        ("cross_entropy", {"ndim": 3}, "cross_entropy", "an input of 2 dimensions"),
        ("cross_entropy, weight", {"weight": None}, "cross_entropy, weight", "weight=positive"),
        ("cross_entropy, weight", {"reduction": "sum"}, "cross_entropy, weight, reduction=sum", ""),
        ("softmax", {"dim": 0}, "softmax, dim=0", ""),
    ],
)
def test_a_work_lies_inside_or_says_why_not(work: str, given: Any, name: str, outside: str) -> None:
    works = inside(WORKS[work], of_mapping(given))
    assert (works.name, works.outside) == (name, outside)
    if not outside:
        promise = of_mapping(given)
        case = works.case("float32", (4, 8), 0)
        for option, values in promise.limits(works.operator).options.items():
            assert case.option[option] in values
        assert traffic(works, TRAINING, (4, 8), "float32").bytes > 0
    assert is_plain(works.name) == (work not in VARIANTS)


def test_cells_are_of_what_is_promised_and_the_rest_is_named() -> None:
    subject = Subject("kernel.py", SimpleNamespace(cross_entropy=F.cross_entropy), "", promise=PARTIAL)
    works, refused = works_inside(PARTIAL), Counter[str]()
    paths = {"torch": PATHS["torch"], "subject": of_subject(subject)}
    sheet = Sheet(tuple(WORKS), (TRAINING,), ((4, 8),), ("float32",))
    chosen = list(cells([sheet], paths, "cpu", operators=["cross_entropy"], refused=refused, works=works))
    assert [cell.work for cell in chosen if cell.path == "subject"] == ["cross_entropy, reduction=sum"]
    assert "cross_entropy, reduction=sum" in [cell.work for cell in chosen if cell.path == "torch"]
    assert "kernel.py does not promise cross_entropy, weight: weight=positive" in refused
    assert "as --subject promises: cross_entropy, reduction=sum" in sentences(works, PARTIAL)


def test_a_backward_pass_that_is_not_promised_is_not_timed() -> None:
    promise = of_mapping({"softmax": {"gradients": None}})
    subject = Subject("kernel.py", SimpleNamespace(softmax=F.softmax), "", promise=promise)
    refused = Counter[str]()
    sheet = Sheet(tuple(WORKS), (FORWARD, TRAINING), ((4, 8),), ("float32",))
    of_rows = cells([sheet], {"subject": of_subject(subject)}, "cpu", operators=["softmax"], refused=refused)
    assert {cell.mode for cell in of_rows} == {FORWARD}
    assert "kernel.py does not promise the gradient of input" in refused


def test_without_a_promise_nothing_is_replaced() -> None:
    assert works_inside(EVERYTHING) == WORKS
    assert sentences(works_inside(EVERYTHING), EVERYTHING) == ()


def test_dtypes_are_those_in_which_the_result_is_of_the_same() -> None:
    assert dtypes_inside(of_mapping({"dtypes": ("float32", "bfloat16")})) == ("bfloat16", "float32")
    assert dtypes_inside(of_mapping({"result_dtype": "float32"})) == ("float32", "float64")
    assert isinstance(inside(WORKS["softmax"], EVERYTHING), Work)
