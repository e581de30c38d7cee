"""What is exhausted is exhausted, and measured fast it is what it is measured slowly.

Claims shown here: every input is there once, and an element is found again from its number; closed forms are
within their bound of balls; blocks give the figures of the usual means, cell by cell; an error of 3 ulps
planted in one value is the worst, with that input and a script that shows it; a ledger's entry that does not
explain every broken bound is not taken; parts add up; what is left out is named.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.audit import exhaustive, float32_fraction, float32_sweep, sweep
from torch_loss_parity.audit.closed_forms import (
    RELATIVE,
    form,
    forms_of,
    has_pairs,
    of_logits,
    of_pairs,
    of_probabilities,
)
from torch_loss_parity.audit.exhaustive import Sweep, sweeps
from torch_loss_parity.audit.exhaustive_figures import figures
from torch_loss_parity.audit.exhaustive_parts import Part, measure
from torch_loss_parity.audit.float32_result import SweepResult, has_closed_form
from torch_loss_parity.audit.float32_tally import Tally
from torch_loss_parity.audit.operator_facets import every_number, targets_of
from torch_loss_parity.expectation.expectation import FORWARD, in_balls, output_shape
from torch_loss_parity.judging import comparison
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.processes import task_pool
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import load

LOGITS = "binary_cross_entropy_with_logits"
TRIED = tuple(name for name in OPERATORS if targets_of(name))  # with every number
FORMS = tuple(
    (operator, target, quantity)
    for operator in TRIED
    for target in targets_of(operator)
    for quantity in (FORWARD, "input")
    if forms_of(operator, target, quantity)
)
# Tiny logits, whose sigmoid is next to 1/2, are at 0x22BCCB6C.
RANGES = (0x00000000, 0x22BCCB6C, 0xA361D67A, 0x3F7FFF00, 0x42B00000, 0x7F7FFF00, 0xC1800000, 0xC2CFFF00)
PROBABILITIES = (0x00000000, 0x3E800000, 0x3F7FFC01)

# Right but for one input, where it is 3 ulps off; its gradient is right.
PLANTED = """
import torch

class Planted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, target):
        ctx.save_for_backward(input, target)
        x, t = input.double(), target.double()
        softplus = torch.nn.functional.softplus
        right = (t * softplus(-x) + (1 - t) * softplus(x)).to(input.dtype)
        units = right.view({bits}) + 3
        return torch.where(input == {at!r}, units.view(input.dtype), right)

    @staticmethod
    def backward(ctx, grad_output):
        input, target = ctx.saved_tensors
        x, t, g = input.double(), target.double(), grad_output.double()
        by_input = g * ((1 - t) * torch.sigmoid(x) - t * torch.sigmoid(-x))
        return by_input.to(input.dtype), grad_output * -input

def binary_cross_entropy_with_logits(input, target, weight=None, reduction="none", pos_weight=None):
    return Planted.apply(input, target)
"""


def planted(folder: Path, at: float, bits: str) -> str:
    path = folder / "planted.py"
    path.write_text(PLANTED.format(at=at, bits=bits))
    return str(path)


def part(result: dict[str, Any], key: str) -> Part:
    return Part.model_validate(result["parts"][key])


# --- every input, once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_number_is_there_once(dtype: str) -> None:
    x = Sweep(LOGITS, dtype, "0").inputs(0, 2**16)
    assert np.isnan(x).sum() == {"float16": 2 * (2**10 - 1), "bfloat16": 2 * (2**7 - 1)}[dtype]
    numbers = x[~np.isnan(x)]
    assert len(np.unique(numbers)) == len(numbers) - 1  # 0 and -0
    assert FORMATS[dtype].holds(numbers).all()
    probabilities = Sweep("binary_cross_entropy", dtype, "0")
    p = probabilities.inputs(0, probabilities.patterns)
    assert np.array_equal(p, np.unique(numbers[(numbers >= 0) & (numbers <= 1)]))


def test_numbers_of_float32_are_those_of_their_patterns() -> None:
    every = Sweep(LOGITS, "float32", "0")
    assert every.patterns == 2**32
    assert every.inputs(0x3F800000, 2).tolist() == [1.0, 1 + 2.0**-23]
    assert every.inputs(2**32 - 1, 1)[0] != every.inputs(2**32 - 1, 1)[0]  # the last is nan
    assert Sweep("binary_cross_entropy", "float32", "0").inputs(0, 1).tolist() == [0.0]


@pytest.mark.parametrize("one", sweeps(tuple(OPERATORS), ("bfloat16",)), ids=lambda one: one.name)
def test_an_element_is_found_again_from_its_number(one: Sweep) -> None:
    """The upstream gradient too; and parts of a range are the range."""
    whole = one.call(0x3E00, 40)
    for quantity, kind in exhaustive.quantities(one):
        each = one.of_each(quantity)
        upstream = one.grad_output(kind or "1", whole, 0x3E00)
        for pattern in (0x3E00, 0x3E11, 0x3E27):
            single, first = one.call(pattern, 1), pattern - 0x3E00
            g = one.grad_output(kind or "1", single, pattern)
            each_row = len(g)
            assert np.array_equal(upstream[first * each_row : (first + 1) * each_row], g)
            rows = len(single.arguments["input"])
            assert np.array_equal(
                whole.arguments["input"][first * rows : (first + 1) * rows], single.arguments["input"]
            )
            assert each == (
                rows
                if quantity == FORWARD and output_shape(single) == (rows,)
                else single.arguments["input"].size
            )
    assert len(np.unique(one.grad_output("random", whole, 0))) > 20


def test_what_is_left_out_is_named() -> None:
    dtypes = ("float16", "bfloat16", "float32", "float64")
    chosen, missing = sweep.planned(tuple(OPERATORS), dtypes, thorough=False)
    tried = {name for name in OPERATORS if not isinstance(every_number(name), Gap)}
    assert {one.operator for one in chosen} == tried == {*TRIED}
    assert {one.dtype for one in chosen} == {"float16", "bfloat16"}
    assert {m.why for m in missing} == {"left to --effort thorough"}
    assert len(missing) == len(chosen) / 2
    chosen, missing = sweep.planned(tuple(OPERATORS), dtypes, thorough=True)
    by_element = [name for name in TRIED if not OPERATORS[name].family.has_rows]
    assert {m.what.split(":")[0] for m in missing} == {f"{name} float32 soft" for name in by_element}
    assert sum(one.dtype == "float32" for one in chosen) == 8
    for one in chosen:
        ranges = [chunk.arguments[1:3] for chunk in sweep.chunks_of(one, "torch", "cpu")]
        assert ranges[0][0] == 0
        assert all(first + count == after for (first, count), (after, _) in pairwise(ranges))
        assert sum(ranges[-1]) == one.patterns


# --- closed forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operator", "target", "quantity"), FORMS)
def test_closed_forms_are_within_their_bound_of_balls(operator: str, target: str, quantity: str) -> None:
    one, rng = Sweep(operator, "float32", target), np.random.default_rng(0)
    patterns = rng.integers(0, 0x3F800001 if operator == "binary_cross_entropy" else 0x42D00000, 150)
    if operator != "binary_cross_entropy":
        patterns = np.concatenate([patterns, rng.integers(0x3D000000, 0x42D00000, 100)])
        patterns = np.concatenate([patterns, patterns + 2**31])
    else:
        patterns = np.concatenate(
            [patterns, rng.integers(0x3D000000, 0x3F800000, 100), [0, 1, 0x3F800000, 0x3F000000]]
        )
    x = one.numbers(patterns.astype(np.uint32))
    call = one.call_on(x)
    g = None if quantity == FORWARD else one.grad_output("1", call, 0)
    values = (of_probabilities if operator == "binary_cross_entropy" else of_logits)(x)
    with balls.precision(400):
        true = np.asarray(in_balls(call, quantity, g), dtype=object).reshape(len(x), -1)
        for column, name in enumerate(forms_of(operator, target, quantity)):
            sign, size = form(values, name)
            for ball, value in zip(true[:, column], sign * size, strict=True):
                assert abs(flint.arb(ball) - value) <= abs(flint.arb(ball)) * RELATIVE + 2.0**-1074, name


@pytest.mark.parametrize("kind", ["1", "random"])
@pytest.mark.parametrize("operator", [name for name in TRIED if has_pairs(name, FORWARD)])
def test_pairs_are_within_their_bound_of_balls(operator: str, kind: str) -> None:
    one = Sweep(operator, "bfloat16")
    x = one.numbers(
        np.concatenate([np.arange(0x3C00, 0x4300, 31), np.arange(0xBC00, 0xC300, 37), [0, 0xFF80]]).astype(
            np.uint32
        )
    )
    call = one.call_on(x)
    for quantity in (FORWARD, "input"):
        g = None if quantity == FORWARD else one.grad_output(kind, call, 0)
        assert has_pairs(operator, quantity)
        value, error = of_pairs(operator, x, quantity, g)
        true = in_balls_of(call, quantity, g)
        assert true.size == value.size
        finite = 0
        for ball, at, bound in zip(true.reshape(-1), value.reshape(-1), error.reshape(-1), strict=True):
            if flint.arb(ball).is_finite():
                assert abs(flint.arb(ball) - at) <= bound
                finite += 1
        assert finite > 0.9 * value.size


def in_balls_of(call: Any, quantity: str, g: Any) -> np.ndarray:
    with balls.precision(500):
        return np.asarray(in_balls(call, quantity, g), dtype=object)


# --- blocks against the usual means -------------------------------------------------------------------------


@pytest.mark.whole_runs
@pytest.mark.parametrize(
    "one",
    [s for s in sweeps(tuple(OPERATORS), ("float32",)) if has_closed_form(s)],
    ids=lambda one: one.name,
)
def test_blocks_give_the_figures_of_the_usual_means(one: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float32_sweep, "BLOCK", 2**7)
    for first in PROBABILITIES if one.operator == "binary_cross_entropy" else RANGES:
        count = 2**9 + 17 if first + 2**9 + 17 <= one.patterns else 2**9
        fast, slow = (
            float32_sweep.measure(one, first, count, "torch", "cpu"),
            measure(one, first, count, "torch", "cpu"),
        )
        for key in fast["parts"]:
            a, b = part(fast, key), part(slow, key)
            assert a.errors.cells == b.errors.cells, (hex(first), key)
            assert (a.errors.elements, a.errors.correctly_rounded) == (
                b.errors.elements,
                b.errors.correctly_rounded,
            ), (hex(first), key)
            assert f"{a.errors.max_ulp:.3g}" == f"{b.errors.max_ulp:.3g}" or b.errors.max_ulp < 2.0**-12, (
                hex(first),
                key,
            )
            assert abs(a.errors.signed - b.errors.signed) <= a.errors.slack + b.errors.slack + 2.0**-40 * abs(
                b.errors.signed
            )
            smaller, larger = sorted((a.fraction, b.fraction))
            assert larger <= comparison.RESOLUTION * smaller, (hex(first), key)  # either is known to that
            assert (a.standing, a.divergence) == (b.standing, b.divergence), (hex(first), key)


def test_a_planted_error_is_found_by_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float32_sweep, "BLOCK", 2**9)
    one, first, at = Sweep(LOGITS, "float32", "1"), 0x3F400000, 1234
    x = one.inputs(first + at, 1)[0]
    result = float32_sweep.measure(one, first, 2**11, planted(tmp_path, float(x), "torch.int32"), "cpu")
    name = str(tmp_path / "planted.py")
    sweep = part(result, f"{name} forward ")
    assert sweep.errors.worst == first + at
    assert 2.5 <= sweep.errors.max_ulp <= 3.5
    assert sweep.errors.correctly_rounded == sweep.errors.elements - 1
    assert part(result, "torch forward ").errors.worst != first + at


def test_an_entry_must_explain_every_broken_bound() -> None:
    one, first, count = Sweep(LOGITS, "float32", "0"), 0xC1900000, 2**11
    torch, x = load("torch", (LOGITS,)), one.inputs(0xC1900000, 2**11)
    tally = Tally(count, 1, block=2**8)
    for at in range(0, count, tally.block):
        numbers = x[at : at + tally.block].astype(np.float32)
        observed, _ = float32_sweep.observed_block(one, torch, "cpu", numbers)
        tally.add(
            at, numbers, observed[FORWARD], [form(of_logits(numbers.astype(np.float64)), "softplus(x)")]
        )
    result = SweepResult(one, first, FORWARD, torch, "cpu")
    finding = float32_fraction.worst_fraction(result, tally)
    assert (finding.verdict.passes, finding.divergence) == (True, "bce-with-logits-cancels")
    # One more element is wrong by what no cancellation explains, and none of the samples.
    sampled = np.unique(np.concatenate([tally.worst, np.arange(0, count, 3)]))
    at = next(i for i in range(700, count) if i not in sampled)
    tally.observed[at] = 2.0**-10
    tally.largest_absolute[at // tally.block] = 2.0**-10
    known = float32_fraction._known(
        result, tally, sampled, np.full((len(tally.largest_absolute), 1), 1e-6), finding
    )
    assert not known.verdict.passes
    assert known.verdict.fraction > 1


def test_blocks_that_lose_the_largest_error_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = SweepResult.errors
    smaller = {"max_ulp": 0.1}
    monkeypatch.setattr(SweepResult, "errors", lambda self, *of: errors(self, *of).model_copy(update=smaller))
    with pytest.raises(AssertionError, match="the largest error of the blocks is"):
        float32_sweep.measure(Sweep(LOGITS, "float32", "0"), 0x3F800000, 2**9, "torch", "cpu")


# --- figures ------------------------------------------------------------------------------------------------


@pytest.mark.whole_runs
def test_three_ulps_in_one_value_of_65536_are_the_worst_of_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, at = Sweep(LOGITS, "float16", "1"), -1.2841796875
    name = planted(tmp_path, at, "torch.int16")
    result = measure(one, 0, one.patterns, name, "cpu")
    forward = next(f for f in figures(one, [result], name, "cpu") if f.quantity == FORWARD)
    assert forward.how == "exhaustive"
    assert forward.subject.elements == 2**16
    assert forward.subject.standing == "fail"
    assert 2.5 <= forward.subject.max_ulp <= 3.5
    assert float.fromhex(forward.worst.arguments["input"]) == at
    assert forward.worst.ulps == forward.subject.max_ulp
    assert forward.torch is not None
    assert forward.torch.standing == "known"
    exec(forward.worst.script, {})
    assert capsys.readouterr().out.split()[0] == repr(float.fromhex(forward.worst.observed))


def test_parts_of_a_sweep_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for operator, target in ((LOGITS, "soft"), ("softmax", ""), ("cross_entropy", "")):
        one = Sweep(operator, "bfloat16", target, seed=3)
        whole = measure(one, 0x3F00, 300, "torch", "cpu")
        halves = [measure(one, 0x3F00, 100, "torch", "cpu"), measure(one, 0x3F64, 200, "torch", "cpu")]
        for key in whole["parts"]:
            a, b = part(whole, key), part(halves[0], key) + part(halves[1], key)
            assert a.errors.cells == b.errors.cells
            assert (a.errors.max_ulp, a.fraction, a.standing) == (b.errors.max_ulp, b.fraction, b.standing)


class Here:
    """A pool that does the work at once, in this process."""

    size = 1

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def renew(self) -> None: ...

    def check(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.whole_runs
def test_the_command_shows_figures_and_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(task_pool, "LocalPool", lambda *_: Here())
    command = [
        "--dtype",
        "bfloat16",
        "--operator",
        "binary_cross_entropy",
        "--store",
        str(tmp_path / "store"),
    ]
    written: list[str] = []
    for name in ("first", "second"):
        assert sweep.main([*command, "--output", str(tmp_path / name)]) == 0
        out = capsys.readouterr().out
        assert "binary_cross_entropy bfloat16 0: 16257 inputs in" in out
        assert "input for random: at most" in out
        written.append((tmp_path / name).read_text())
        if name == "first":
            assert len(list((tmp_path / "store").iterdir())) == 3
            monkeypatch.setattr(Here, "submit", lambda *_: pytest.fail("nothing is run again"))
    assert written[0] == written[1]
    assert len(written[0].splitlines()) == 3 * 5


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--operator", "relu"], "--operator is 'relu'; choose from"),
        (["--dtype", "int8"], "--dtype is 'int8'; choose from"),
        (["--workers", "0"], "--workers is 0; it must be at least 1"),
    ],
)
def test_a_wrong_option_is_named(option: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(option) == 1
    assert message in capsys.readouterr().err
