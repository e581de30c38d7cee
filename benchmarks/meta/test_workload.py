"""The bytes that must move, and the cells that are chosen."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
import torch

from torch_loss_parity.benchmarks.buffers import buffers, draw
from torch_loss_parity.benchmarks.matrix import CORRECTNESS, EFFORTS, SHAPES, cells, shape_from, together
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS
from torch_loss_parity.benchmarks.workload import (
    BACKWARD,
    FORWARD,
    ITEMSIZE,
    MODES,
    TRAINING,
    WORKS,
    Traffic,
    not_timed,
    traffic,
    works,
)
from torch_loss_parity.operators import DTYPES, OPERATORS, Gap

N = 2048 * 1024  # elements


@pytest.mark.parametrize(
    ("work", "mode", "dtype", "reads", "writes"),
    [
        ("softmax", FORWARD, "float32", 4 * N, 4 * N),
        ("softmax", BACKWARD, "float32", 8 * N, 4 * N),  # the result and its upstream gradient
        ("softmax", TRAINING, "float32", 8 * N, 8 * N),
        ("log_softmax", TRAINING, "bfloat16", 4 * N, 4 * N),
        ("cross_entropy", FORWARD, "float32", 4 * N + 2048 * 8, 4),
        # Forward may have saved what the target says.
        ("cross_entropy", BACKWARD, "float32", 4 * N + 4, 4 * N),
        ("cross_entropy", TRAINING, "float64", 8 * N + 2048 * 8 + 8, 8 * N + 8),
        ("cross_entropy, weight", FORWARD, "float32", 4 * N + 2048 * 8 + 1024 * 4, 4),
        ("cross_entropy, probabilities", TRAINING, "float32", 8 * N + 4, 4 * N + 4),
        ("nll_loss", FORWARD, "float32", 2048 * (64 + 8), 4),  # one cache line of each row
        ("nll_loss", BACKWARD, "float32", 2048 * 8 + 4, 4 * N),  # the gradient does not depend on the input
        ("binary_cross_entropy", FORWARD, "float16", 4 * N, 2),
        ("binary_cross_entropy_with_logits", BACKWARD, "float32", 4 * N + 4, 4 * N),
        # Logits of a layer of 64 features need not be held: N of them are made of 3072 rows.
        ("linear_cross_entropy", FORWARD, "float32", 3072 * 64 * 4 + 2048 * 8, 4),
        ("linear_cross_entropy", BACKWARD, "float32", 3072 * 64 * 4 + 4, 3072 * 64 * 4),
        ("linear_cross_entropy", TRAINING, "bfloat16", 3072 * 64 * 2 + 2048 * 8 + 2, 3072 * 64 * 2 + 2),
        ("linear_cross_entropy, probabilities", FORWARD, "float32", 3072 * 64 * 4 + 4 * N, 4),
    ],
)
def test_bytes_that_must_move(work: str, mode: str, dtype: str, reads: int, writes: int) -> None:
    assert traffic(WORKS[work], mode, (2048, 1024), dtype) == Traffic(reads, writes)


def test_a_layer_is_multiplied_once_for_logits_and_twice_for_gradients() -> None:
    layer = WORKS["linear_cross_entropy"]
    assert layer.gradients == ("input", "linear_weight")
    assert [layer.products(mode) for mode in MODES] == [1, 0, 3]  # forward may have made the gradients
    assert layer.flops(TRAINING, (2048, 1024)) == 3 * 2 * N * 64
    assert WORKS["cross_entropy"].flops(TRAINING, (2048, 1024)) == 0


def test_a_row_shorter_than_a_cache_line_is_read_whole() -> None:
    assert traffic(WORKS["nll_loss"], FORWARD, (10, 4), "float16") == Traffic(10 * (8 + 8), 2)


@pytest.mark.parametrize("name", [name for name in WORKS if "nll_loss" not in name])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bytes_are_those_of_the_tensors(name: str, dtype: str) -> None:
    """Counted once more on what torch is given and returns."""
    work, shape = WORKS[name], (8, 16)
    held = buffers(draw(work, dtype, shape, 0, 1), "cpu")
    arguments = {k: v for k, v in held.arguments[0].items() if isinstance(v, torch.Tensor)}
    given = sum(tensor.nbytes for tensor in arguments.values())
    step = PATHS[BASELINE].step(work, TRAINING, held)
    result, *gradients = step.call(step.prepare(0))
    assert traffic(work, FORWARD, shape, dtype) == Traffic(given, result.nbytes)
    assert traffic(work, TRAINING, shape, dtype) == Traffic(
        given + held.grad_outputs[0].nbytes, result.nbytes + sum(each.nbytes for each in gradients)
    )


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'sideways'; choose from forward, backward, forward"):
        traffic(WORKS["softmax"], "sideways", (8, 16), "float32")


@pytest.mark.parametrize("name", WORKS)
def test_inputs_are_never_zeros(name: str) -> None:
    first, second = draw(WORKS[name], "float32", (64, 64), 0)
    for each in (first, second):
        assert (each.call.arguments["input"] != 0).mean() > 0.99
        assert (each.grad_output != 0).all()
    assert (first.call.arguments["input"] != second.call.arguments["input"]).mean() > 0.99


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_measures_every_operator_and_path(effort: str) -> None:
    chosen = list(cells(EFFORTS[effort].sheets, PATHS, "cpu"))
    assert len(chosen) == len(set(chosen))
    timed = {name for name, operator in OPERATORS.items() if not isinstance(operator.workload, Gap)}
    assert {WORKS[cell.work].operator for cell in chosen} == timed
    assert {cell.path for cell in chosen} == set(PATHS)


def test_efforts_beyond_quick_measure_every_shape_mode_dtype_and_work() -> None:
    for effort in ("standard", "thorough"):
        chosen = list(cells(EFFORTS[effort].sheets, PATHS, "cpu"))
        assert {cell.mode for cell in chosen} == set(MODES)
        assert set(SHAPES) <= {cell.shape for cell in chosen}
        assert {cell.dtype for cell in chosen} == set(DTYPES) == set(ITEMSIZE)
        assert {cell.work for cell in chosen} == set(WORKS)


def test_without_times_every_path_computes_every_work_that_it_offers() -> None:
    chosen = set(cells(CORRECTNESS, PATHS, "cpu"))
    for path in PATHS.values():
        if not path.compiles:  # the parity tests compile
            offered = {
                (name, mode)
                for name, work in WORKS.items()
                for mode in MODES
                if not path.why_not(work, mode, "float32", "cpu")
            }
            assert offered == {
                (cell.work, cell.mode)
                for cell in chosen
                if cell.path == path.name and cell.dtype == "float32"
            }


@pytest.mark.parametrize("effort", EFFORTS)
def test_cells_that_share_inputs_follow_each_other(effort: str) -> None:
    chosen = list(cells(EFFORTS[effort].sheets, PATHS, "cpu"))
    ordered = together(chosen)
    assert len(ordered) == len(chosen)
    assert set(ordered) == set(chosen)
    inputs = [(cell.work, cell.shape, cell.dtype) for cell in ordered]
    assert len(list(groupby(inputs))) == len(set(inputs))
    groups = [cell.group for cell in ordered]
    assert len(list(groupby(groups))) == len(set(groups))


def test_an_operator_without_a_workload_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "nobody has written it down"
    without = replace(OPERATORS["nll_loss"], workload=Gap(why))
    monkeypatch.setitem(OPERATORS, "nll_loss", without)
    gaps = {name: each.workload.why for name, each in OPERATORS.items() if isinstance(each.workload, Gap)}
    assert set(gaps) == {"nll_loss"}
    assert gaps["nll_loss"] == why
    assert not_timed(OPERATORS) == tuple(f"{name}: {gap}" for name, gap in gaps.items())
    assert not_timed(["softmax"]) == ()
    assert [work.name for work in works()] == [name for name in WORKS if "nll_loss" not in name]


@pytest.mark.parametrize("text", ["", "3", "3x", "axb", "1x7", "-1x8", "2x3x4"])
def test_a_shape_is_rows_by_classes(text: str) -> None:
    with pytest.raises(ValueError, match="--shape is"):
        shape_from(text)
