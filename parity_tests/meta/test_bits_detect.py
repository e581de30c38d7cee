"""The table of bit invariances sees what it is for: each fault planted here breaks exactly the invariances
named beside it.

log_softmax along the last dim keeps its bits in torch whatever is changed, so what is broken here is the
fault's own doing. Each fault is far within every bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.claims.bits import bits, checks
from torch_loss_parity.claims.bits.bits import Row
from torch_loss_parity.claims.bits.calls import INVARIANCES, SIZES, families_of
from torch_loss_parity.claims.bits.measure import Measurement, threads
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger.environment import here
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "standard", 0)
LOG_SOFTMAX = OPERATORS["log_softmax"]
FAMILY = next(each for each in families_of(LOG_SOFTMAX) if each.name == "log_softmax along the last dim")
HOLDS: Mapping[str, Row] = {name: {"holds": list(INVARIANCES)} for name in ("forward", "gradient")}
FEW = {probe: sizes[:3] for probe, sizes in SIZES.items()}
OFF = 1 + 2.0**-20
COUNT = {"calls": 0}


class OfGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad * ctx.factor, None


def honest(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(())


def another_path_for_one_row(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(OFF if len(x) == 1 else 1.0)


def chunks_by_the_size_of_the_batch(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(OFF if len(x) > 16 else 1.0)


def a_vector_of_rows_and_what_is_left_over(x: torch.Tensor) -> torch.Tensor:
    left_over = torch.arange(len(x)) >= len(x) // 4 * 4
    return torch.where(left_over & (len(x) > 3), OFF, 1.0)[:, None]


def chunks_by_the_number_of_threads(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(OFF if torch.get_num_threads() > 1 else 1.0)


def another_path_for_views(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(1.0 if x.is_contiguous() else OFF)


def another_path_without_gradients(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(1.0 if x.requires_grad else OFF)


def another_order_each_time(x: torch.Tensor) -> torch.Tensor:
    COUNT["calls"] += 1
    return torch.tensor(1.0 + 2.0**-20 * (COUNT["calls"] % 5))


FAULTS: Mapping[Callable[[torch.Tensor], torch.Tensor], tuple[str, ...]] = {
    honest: (),
    another_path_for_one_row: ("alone",),
    chunks_by_the_size_of_the_batch: ("alone", "batches"),
    a_vector_of_rows_and_what_is_left_over: ("alone", "batches"),
    chunks_by_the_number_of_threads: ("threads",),
    another_path_for_views: ("layouts",),
    another_path_without_gradients: ("gradients",),
}


def planted(fault: Callable[[torch.Tensor], torch.Tensor], name: str = "planted") -> Subject:
    def log_softmax(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return functional.log_softmax(x, dim, dtype=dtype) * fault(x).to(x.dtype)

    return Subject(name, SimpleNamespace(log_softmax=log_softmax), "")


def of_gradient(fault: Callable[[torch.Tensor], torch.Tensor]) -> Subject:
    def log_softmax(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return functional.log_softmax(OfGradient.apply(x, fault(x).to(x.dtype)), dim, dtype=dtype)

    return Subject("planted", SimpleNamespace(log_softmax=log_softmax), "")


def broken(subject: Subject, rows: Mapping[str, Row] = HOLDS) -> set[tuple[str, str]]:
    """The claims and invariances that are not as recorded."""
    news = checks.changes(Measurement(subject, FAMILY, "float32"), rows, FEW)
    return {(row.split(".")[0], row.split(".")[1]) for row in news}


def named(value: Callable[..., Any]) -> str:
    return value.__name__.replace("_", " ")


@pytest.mark.parametrize("fault", list(FAULTS), ids=named)
def test_a_fault_breaks_the_invariance_it_is_about(fault: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert {invariance for of_claim, invariance in broken(planted(fault)) if of_claim == "forward"} == set(
        FAULTS[fault]
    )


@pytest.mark.parametrize(
    "fault", [fault for fault, breaks in FAULTS.items() if breaks not in (("gradients",), ())], ids=named
)
def test_a_fault_of_the_gradient_alone_breaks_it_for_the_gradient_alone(
    fault: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    assert broken(of_gradient(fault)) == {("gradient", invariance) for invariance in FAULTS[fault]}


def test_an_order_that_changes_from_call_to_call_fails_whoever_it_is() -> None:
    assert ("forward", "twice") in broken(planted(another_order_each_time))
    settings = replace(SETTINGS, subject=planted(another_order_each_time))
    with pytest.raises(
        AssertionError,
        match=r"the same call of log_softmax along the last dim .* gives "
        r"other "
        r"bits",
    ):
        checks.the_same_call_gives_the_same_bits(
            OPERATORS["log_softmax"], "float32", settings, Tally("log_softmax", "float32")
        )


def test_what_is_recorded_as_broken_and_holds_is_noticed_too() -> None:
    how = "2 x 3: a row alone and in position 0 of 2"
    rows = {**HOLDS, "forward": {"holds": [], "alone": {"float32": how}}}
    changed = checks.changes(Measurement(planted(honest), FAMILY, "float32"), rows, FEW)
    assert changed == {
        "forward.alone.float32": f"the bits are the same here; recorded is that they change: {how!r}"
    }
    assert checks.changes(Measurement(planted(honest), FAMILY, "float64"), rows, FEW) == {}


def test_a_recorded_counterexample_is_tried_at_its_size() -> None:
    """Also where it is none of the sizes that are tried for what holds."""

    def at_width_61(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(OFF if x.shape == (1, 61) else 1.0)

    rows = {
        **HOLDS,
        "forward": {"holds": [], "alone": {"float32": "2 x 61: a row alone and in position 0 of 2"}},
    }
    assert ("forward", "alone") not in broken(planted(at_width_61), rows)
    assert ("forward", "alone") in broken(planted(honest), rows)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of its own."""
    path = tmp_path / "bits.toml"
    path.write_text("# how to read it\n")
    monkeypatch.setattr(bits, "PATH", path)
    monkeypatch.setattr(bits, "table", lambda: bits.read(path))
    for module in (bits, checks):
        monkeypatch.setattr(module, "families_of", lambda operator: (FAMILY,) * (operator is LOG_SOFTMAX))
    return path


def told_by(subject: Subject) -> list[dict[str, Any]]:
    """The news of a comparison with the table."""
    tally = Tally("log_softmax", "float32")
    check = checks.bits_change_where_the_table_says_so_and_nowhere_else
    check(OPERATORS["log_softmax"], "float32", replace(SETTINGS, subject=subject), tally)
    assert tally.failed == 0
    return tally.news


def part_of(subject: Subject) -> dict[str, Any]:
    return {bits.ENVIRONMENT: here().as_dict(), **bits.measure_subject(subject, "cpu")}


def test_a_recorded_subject_is_compared_and_the_news_names_the_row(table: Path) -> None:
    subject = planted(another_path_for_one_row)
    name = bits.part_name(subject, here())
    bits.record(part_of(subject), name, table)
    assert table.read_text().startswith("# how to read it\n")
    assert set(bits.read(table)) == {name}
    assert set(bits.read(table)[name][FAMILY.name]["forward"]["alone"]) >= {"float32", "float64"}
    assert told_by(subject) == []
    news = told_by(planted(another_path_for_views))
    assert all(each["contradicts"] and "in this very environment" in each["text"] for each in news)
    texts = {each["place"]: each["text"] for each in news}
    assert "the bits are the same here; recorded is that they change" in texts["forward.alone.float32"]
    assert ("the bits change here: '3 x 5: contiguous and strided'; recorded is that") in texts[
        "forward.layouts.float32"
    ]


def test_an_environment_without_a_part_is_compared_with_the_nearest(table: Path) -> None:
    subject = planted(honest)
    part = part_of(planted(another_path_for_one_row))
    for change in (
        {"vendor": "GenuineIntel", "functions": "MKL 1"},
        {"vendor": "Other", "capability": "OTHER"},
    ):
        environment = replace(here(), **change)
        bits.record(
            {**part, bits.ENVIRONMENT: environment.as_dict()}, bits.part_name(subject, environment), table
        )
    news = told_by(subject)
    assert {each["place"] for each in news} >= {"forward.alone.float32"}
    assert not any(each["contradicts"] for each in news)
    # Not the one with another capability.
    assert all("recorded with vendor GenuineIntel (here " in each["text"] for each in news)
    assert told_by(planted(another_path_for_one_row)) == []


def test_other_bits_of_the_same_call_fail_whatever_is_recorded(table: Path) -> None:
    subject = planted(another_order_each_time)
    part = part_of(planted(honest))
    for environment in (here(), replace(here(), vendor="Other")):
        bits.record(
            {**part, bits.ENVIRONMENT: environment.as_dict()}, bits.part_name(subject, environment), table
        )
        with pytest.raises(pytest.fail.Exception, match="the same call of log_softmax along the last dim"):
            told_by(subject)


def test_a_subject_without_a_part_is_skipped_with_the_command_that_records_it(table: Path) -> None:
    with pytest.raises(
        pytest.skip.Exception,
        match=r"no bits of planted .*torch-loss-parity bits planted --record",
    ):
        told_by(planted(honest))
    tally, check = (
        Tally("log_softmax", "float32"),
        checks.bits_change_where_the_table_says_so_and_nowhere_else,
    )
    with pytest.raises(pytest.skip.Exception):
        check(OPERATORS["log_softmax"], "float32", SETTINGS, tally)
    # Torch.
    assert ["to record them: torch-loss-parity bits --record" in each["text"] for each in tally.news] == [
        True
    ]


def test_a_family_that_is_not_recorded_is_news(table: Path) -> None:
    subject = planted(honest)
    bits.record(
        {bits.ENVIRONMENT: here().as_dict(), "another": HOLDS}, bits.part_name(subject, here()), table
    )
    assert ["is not recorded" in each["text"] for each in told_by(subject)] == [True]


def test_the_number_of_threads_is_restored() -> None:
    before = torch.get_num_threads()
    inside = []

    def fail() -> None:
        with threads(before + 1):
            inside.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before
