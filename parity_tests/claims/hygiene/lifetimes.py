"""Checks of what stays: when the arguments of a call, its result and its gradients are dropped, nothing holds
their memory any longer, and however often it is called, memory does not grow.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from torch_loss_parity.claims.hygiene.conduct import Probe, name_of, probes
from torch_loss_parity.claims.layouts.layouts import GRAD_OUTPUT, called
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.run_subject import gradients_of
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.torch_private import memory_is_gone

CALLS = {"quick": 100, "standard": 100, "thorough": 400}  # of the first round
ROUNDS = 4  # each of twice as many calls; in all of them something must stay for each call, if it is to count
LEAST_BLOCK = 512  # bytes: what torch's allocator on a GPU hands out at least


def nothing_that_was_dropped_stays_alive(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """The memory of arguments, upstream gradient, result and gradients; with a backward pass and without."""
    for probe in probes(operator, dtype, settings, tally):
        for backward in (True, False):
            alive = _alive_afterwards(probe, backward=backward)
            tally.count(not alive)
            assert not alive, (
                f"{probe.case}: when all is dropped, something still holds the memory of {', '.join(alive)}\n"
                f"{probe.script(DROPPED)}"
            )


def _alive_afterwards(probe: Probe, *, backward: bool) -> list[str]:
    """What of a call is there when nobody needs it any longer. Cycles of references may wait for the
    collector.
    """
    with _what_is_here_left_alone():
        run = probe.run() if backward else probe.start()
        watched = {name: memory_is_gone(tensor) for name, tensor in run.tensors_given.items()}
        watched |= {name_of(name): memory_is_gone(result) for name, result in run.results.items()}
        del run
        if not all(gone() for gone in watched.values()):
            gc.collect()
        return [name for name, gone in watched.items() if not gone()]


def memory_does_not_grow(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """Call after call with other tensors of the same shapes, each with a backward pass: neither Python nor
    torch's allocator on a GPU holds more with every call. An object takes a block at least.
    """
    counters: dict[str, tuple[Callable[[], int], int]] = {}
    # torch's compiler leaves a few objects behind in each change of its settings.
    if hasattr(sys, "getallocatedblocks") and not settings.subject.compiles:
        counters["blocks of Python's allocator"] = sys.getallocatedblocks, 1
    if settings.device.startswith("cuda"):
        counters["bytes of GPU memory"] = lambda: torch.cuda.memory_allocated(settings.device), LEAST_BLOCK
    if not counters:
        pytest.skip("nothing counts what a call leaves behind: neither this Python, nor where it compiles")
    for probe in probes(operator, dtype, settings, tally)[:1]:
        _call(probe, CALLS[settings.effort_name])  # what is made once is made
        for what, (counted, least) in counters.items():
            rounds = [CALLS[settings.effort_name] * 2**number for number in range(ROUNDS)]
            # Until one has not grown, twice: what others let go of meanwhile hides what stays.
            grown = all(any(_growth(probe, n, counted) >= n * least for _ in range(2)) for n in rounds)
            tally.count(not grown)
            assert not grown, (
                f"{probe.case}: of {rounds[0]} calls each leaves {what} behind, and so does each of the next "
                f"{sum(rounds[1:])}\n{probe.script(GROWING)}"
            )


def _growth(probe: Probe, calls: int, counted: Callable[[], int]) -> int:
    """What so many calls leave behind: no garbage, and no memory that Python keeps to use it again."""
    with _what_is_here_left_alone():
        gc.collect()
        before = counted()
        _call(probe, calls)
        gc.collect()
        return counted() - before


@contextmanager
def _what_is_here_left_alone() -> Iterator[None]:
    """The collector looks at what is made from now on alone: the many objects of a run would take it a
    quarter of a second each time.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _call(probe: Probe, calls: int) -> None:
    subject, call = probe.settings.subject, probe.call
    with probe.of_the_subject():
        for _ in range(calls):
            arguments, grad_output = probe.given()
            leaves = [arguments[name] for name in call.differentiable]
            gradients_of(called(subject, call, arguments), leaves, grad_output)


# --- the same in a script -----------------------------------------------------------------------------------

DROPPED = (
    "import gc, weakref",
    "",
    "def watched(wanted):",
    "    given, upstream, results = run(mine, grad_output, wanted)",
    "    found = {name: v for name, v in given.items() if isinstance(v, torch.Tensor)}",
    f"    found |= {{{GRAD_OUTPUT!r}: upstream}}",
    "    found |= dict(zip(['the result', *(f'the gradient of {name}' for name in wanted)], results))",
    "    return {name: weakref.ref(v.untyped_storage()) for name, v in found.items()}",
    "",
    "alive = watched(differentiable)",
    "gc.collect()",
    "for name, reference in alive.items():",
    "    print(name, 'is gone' if reference() is None else 'IS STILL HELD')",
)
GROWING = (
    "import gc, sys",
    "",
    "for _ in range(5):",
    "    for _ in range(100):",
    "        run(mine, grad_output)",
    "    gc.collect()",
    "    on_gpu = f', {torch.cuda.memory_allocated()} bytes' if torch.cuda.is_available() else ''",
    "    print(f'after 100 calls more: {sys.getallocatedblocks()} blocks{on_gpu}')",
)
