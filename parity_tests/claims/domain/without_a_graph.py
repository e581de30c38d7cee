"""A call where nothing is differentiated, as in inference: a kernel may take another path there, with other
blocks and in another form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted
from torch_loss_parity.subjects import Subject, run_subject


def _observe(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, np.ndarray]:
    return {FORWARD: run_subject.unrecorded(subject, call, device)}


def _lines(wanted: Wanted) -> Lines:
    yield "with torch.no_grad():"
    yield f"    result = {wanted.call}"


WITHOUT_A_GRAPH = Mode("under torch.no_grad", _observe, steps=Steps(_lines))


def once_for_the_same_bits(verify: Callable[..., Iterator[Finding]]) -> Callable[..., Iterator[Finding]]:
    """``verify``, of whose findings those without a graph are left out where the bits are those of the result
    that has one: most kernels have one path, and are told of it once.
    """

    def verify_apart(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        first = None
        for finding in verify(subject, case, device, certify=certify):
            if finding.quantity == FORWARD and first is None:
                first = finding
            elif first and finding.mode == WITHOUT_A_GRAPH.name and finding.verdict is first.verdict:
                continue  # the same bits share a verdict
            yield finding

    return verify_apart
