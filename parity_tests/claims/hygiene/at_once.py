"""Checks of calls at the same time: from two threads, of other numbers, each call returns what it returns
alone; and under load a call returns the same call after call.

On a GPU each thread has a stream of its own. Threads take turns at every function in C. Other bits than
those of the call alone are judged by the bound: whoever shares his threads may add up in another order.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.hygiene.conduct import Probe, offered
from torch_loss_parity.claims.layouts.layouts import bits, called
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.declined import NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import WrongResult, gradients_of
from torch_loss_parity.subjects.settings import Settings

CALLS = {"quick": 8, "standard": 16, "thorough": 64}  # of each thread
SHORTLY = 1e-4  # seconds: so long that the other thread runs on a busy machine too
UNDER_LOAD = 400  # calls, at thorough effort
WIDE: tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...] = (
    ((37, 259), {"reduction": "none", "weight": "positive", "dim": -1, "ignored": "some"}),
    ((2, 131, 41), {"reduction": "mean", "dim": 1, "label_smoothing": 0.1, "target": "probabilities"}),
    ((1031, 17), {"reduction": "sum", "weight": "full", "dim": 0}),
)


@dataclass
class Thread:
    """A thread that makes one call again and again.

    Attributes
    ----------
    results : list of mapping
        What each call returned: the result and the gradients.
    raised : Exception, optional
        What it raised.
    """

    probe: Probe
    results: list[dict[str, torch.Tensor]] = field(default_factory=list)
    raised: Exception | None = None

    def run(self, calls: int, start: threading.Barrier) -> None:
        subject, call, device = self.probe.settings.subject, self.probe.call, self.probe.settings.device
        on_cuda = device.startswith("cuda")
        try:
            with torch.cuda.stream(torch.cuda.Stream(device)) if on_cuda else nullcontext():
                arguments, grad_output = self.probe.given()
                leaves = [arguments[name] for name in call.differentiable]
                for _ in range(calls):
                    start.wait()  # each time, or one would be done before the other on a busy machine
                    with _letting_others_run():
                        output = called(subject, call, arguments)
                        gradients = gradients_of(output, leaves, grad_output)
                    named = zip(call.differentiable, gradients, strict=True)
                    self.results.append({FORWARD: output.detach(), **dict(named)})
                if on_cuda:
                    torch.cuda.current_stream(device).synchronize()
        except Exception as error:
            start.abort()
            self.raised = error


def calls_at_the_same_time_are_as_when_alone(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    for probe in _wide_probes(operator, dtype, settings, tally):
        other = probe.with_other_values
        threads = [Thread(probe), Thread(other)]
        _at_once(threads, CALLS[settings.effort_name])
        _judge(threads, "of a call at the same time as another, of other numbers")


def a_call_is_the_same_under_load(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """Some hundreds of times, while the same call of other numbers runs beside it."""
    if settings.effort_name != "thorough":
        pytest.skip(f"{UNDER_LOAD} calls under load are for thorough effort: a race shows now and then")
    for probe in _wide_probes(operator, dtype, settings, tally):
        threads = [Thread(probe), Thread(probe.with_other_values), Thread(probe)]
        _at_once(threads, UNDER_LOAD // 2)
        _judge(threads, "of one of some hundred calls under load")


def _wide_probes(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> list[Probe]:
    """Calls that take a while: at quick effort one, others with the next seed."""
    values = next(iter(operator.values))
    every = [
        Probe(operator.case(dtype, shape, values, offered(operator, options), settings.seed), settings, tally)
        for shape, options in WIDE
    ]
    return every if settings.effort_name == "thorough" else every[settings.seed % len(every) :][:1]


@contextmanager
def _letting_others_run() -> Iterator[None]:
    """Python lets another thread run before every function in C that this one calls: what happens between two
    of them happens here, and not once in a million calls.
    """

    def before(frame: Any, event: str, function: Any) -> None:
        if event == "c_call":
            time.sleep(SHORTLY)

    earlier = sys.getprofile()
    sys.setprofile(before)
    try:
        yield
    finally:
        sys.setprofile(earlier)


def _at_once(threads: Sequence[Thread], calls: int) -> None:
    """Each thread makes its calls; what one of them raises that it does not raise alone is wrong."""
    for thread in threads:
        assert thread.probe.first  # alone
    barrier = threading.Barrier(len(threads))
    running = [threading.Thread(target=each.run, args=(calls, barrier), daemon=True) for each in threads]
    with threads[0].probe.of_the_subject():
        for each in running:
            each.start()
        for each in running:
            each.join()
    for thread in threads:
        error = thread.raised
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            if thread.probe.settings.subject.declines(error):
                raise NotOffered(f"at the same time as another call: {reason_of(error)}") from error
            raise WrongResult(
                f"{thread.probe.case}: at the same time as another call it raises {type(error).__name__}: "
                f"{error}\n{_script(thread.probe)}"
            ) from error


def _judge(threads: Sequence[Thread], what: str) -> None:
    for thread in threads:
        others = {"other": thread.probe.with_other_values}
        seen: set[tuple[str, bytes]] = set()
        for results in thread.results:
            # The same bits are judged once.
            new = {name: v for name, v in results.items() if (name, _key(v)) not in seen}
            seen |= {(name, _key(v)) for name, v in new.items()}
            thread.probe.agrees(new, what, exactly=False, happens=AT_ONCE, others=others)


def _script(probe: Probe) -> str:
    return probe.script(scripts.again(AT_ONCE), {"other": probe.with_other_values})


def _key(result: torch.Tensor) -> bytes:
    return bytes(bits(result).cpu().numpy().tobytes())


# --- the same in a script -----------------------------------------------------------------------------------

AT_ONCE = (
    "import sys, threading, time",
    "alone, run_once = [bits(result) for result in run(mine, grad_output)[2]], run",
    "",
    "def beside():  # the other call, again and again",
    "    while True:",
    "        run_once(other, other_grad_output)",
    "",
    "def run(*given):  # until something is another one",
    "    for _ in range(1000):",
    "        outcome = run_once(*given)",
    "        if not all(torch.equal(bits(now), then) for now, then in zip(outcome[2], alone)):",
    "            break",
    "    return outcome",
    "",
    "def let_others_run(frame, event, function):",
    "    if event == 'c_call':",
    "        time.sleep(0)",
    "",
    "threading.setprofile(let_others_run)",
    "sys.setprofile(let_others_run)",
    "threading.Thread(target=beside, daemon=True).start()",
)
