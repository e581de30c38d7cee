"""Checks that a call is right where nothing says that a test makes it: in a thread that no function of pytest
has begun, of a process that pytest is not loaded in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from torch_loss_parity.claims.hygiene.conduct import Probe, name_of, probes
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.run_subject import by_position_and_name, gradients_of, must_be_a_tensor
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.subjects.written_promise import parameters_of

# What says that a test is running: modules, and the beginnings of names in the environment.
RUNNERS = ("pytest", "_pytest", "pluggy", "xdist", "execnet")
NAME = "PYTEST_"


def a_call_is_the_same_where_no_test_is_seen(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """The result and the gradients, each in a thread of its own, as on a GPU, where autograd has one; judged
    by the bound where their bits are others: another thread may add up in another order.
    """
    what = "in a thread and an environment that name no test, with the backward pass in another thread"
    for probe in probes(operator, dtype, settings, tally):
        assert probe.first
        probe.agrees(_unwatched(probe), what, exactly=False)


def _unwatched(probe: Probe) -> Mapping[str, torch.Tensor]:
    """What a call returns, and its gradients."""
    call, (arguments, grad_output) = probe.call, probe.given()
    leaves = [arguments[name] for name in call.differentiable]
    threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    with probe.of_the_subject(), threads[0] as thread, threads[1] as other, _nothing_says_test():
        positional, named = by_position_and_name(arguments)
        function, named = _of_the_subject(probe, named)
        output = thread.submit(function, *positional, **named).result()
        must_be_a_tensor(name_of(FORWARD), output)
        gradients = other.submit(gradients_of, output, leaves, grad_output).result()
    return {FORWARD: output, **dict(zip(call.differentiable, gradients, strict=True))}


def _of_the_subject(probe: Probe, named: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The subject's own function, without what the suite puts around it, and the arguments that it takes."""
    function = getattr(probe.settings.subject.namespace, probe.case.operator)
    taken = parameters_of(function)
    return function, {name: value for name, value in named.items() if taken is None or name in taken}


@contextmanager
def _nothing_says_test() -> Iterator[None]:
    """Neither modules, nor the environment, nor the arguments of the process; afterwards, what they were."""
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in RUNNERS}
    names = {name: value for name, value in os.environ.items() if name.startswith(NAME)}
    arguments = sys.argv
    for name in modules:
        del sys.modules[name]
    for name in names:
        del os.environ[name]
    sys.argv = [""]
    try:
        yield
    finally:
        sys.argv = arguments
        os.environ.update(names)
        sys.modules.update(modules)
