"""The peak of the resident set is that of the call."""

from __future__ import annotations

from mmap import mmap
from pathlib import Path

import pytest
import torch

from torch_loss_parity.benchmarks import memory
from torch_loss_parity.benchmarks.buffers import buffers, draw
from torch_loss_parity.benchmarks.paths import PATHS
from torch_loss_parity.benchmarks.workload import FORWARD, WORKS

BYTES = 2**25
HUGE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
# Of an operand: small blocks that come and go, and one huge page where the system has them, as a block may
# begin within one.
ROOM = 0.05 + (int(HUGE_PAGE.read_text()) if HUGE_PAGE.exists() else 0) / BYTES


def measured(call: object) -> float:
    """The peak in operands of `BYTES`."""
    try:
        return memory.peak(call, "cpu", BYTES) / BYTES  # type: ignore[arg-type]
    except memory.NotMeasurable as error:
        pytest.skip(f"memory cannot be measured here: {error}")


@pytest.fixture(autouse=True)
def loaded() -> None:
    """The first call also loads code, which is memory too."""
    torch.ones(BYTES // 4).add_(1)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_peak_is_what_is_held_at_once(number: int) -> None:
    """Blocks that are held together add up; each page that is written counts once."""
    assert measured(lambda: [torch.ones(BYTES // 4) for _ in range(number)]) == pytest.approx(
        number, abs=ROOM
    )


def test_memory_that_is_given_back_before_more_is_taken_counts_once() -> None:
    ones = b"\1" * BYTES

    def in_turn() -> None:
        for _ in range(5):
            with mmap(-1, BYTES) as block:  # an allocator may keep what is freed, and take other memory
                block.write(ones)

    assert measured(in_turn) == pytest.approx(1, abs=ROOM)


def test_what_was_held_before_does_not_count() -> None:
    held = torch.ones(BYTES // 4)
    assert measured(lambda: held.add_(1)) == pytest.approx(0, abs=ROOM)


@pytest.mark.whole_runs
def test_softmax_holds_its_result() -> None:
    held = buffers(draw(WORKS["softmax"], "float32", (64, 2**17), 0, 1), "cpu")
    assert held.operand == BYTES
    step = PATHS["torch"].step(WORKS["softmax"], FORWARD, held)
    step.call(step.prepare(0))  # the first call also loads the code
    assert measured(lambda: step.call(step.prepare(0))) == pytest.approx(1, abs=ROOM)


def test_small_operands_are_not_measured() -> None:
    with pytest.raises(memory.NotMeasurable, match="below 4 MiB"):
        memory.peak(lambda: None, "cpu", 2**20)
