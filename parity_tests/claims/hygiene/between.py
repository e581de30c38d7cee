"""What may come in between two runs of a call, and changes nothing in the result; and the modes in which a
call is run without a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.hygiene.conduct import Probe
from torch_loss_parity.claims.layouts.layouts import bits, called
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.subjects.run_subject import tensors

MANY = 40  # calls: more than any warm-up
WRONG: Mapping[str, Any] = {"dim": 99, "reduction": "nonsense"}


def _of_another_shape(probe: Probe) -> Probe:
    return _changed(probe, shape=tuple(n + 2 for n in probe.case.shape))


def _in_another_dtype(probe: Probe) -> Probe:
    """The same in the widest other dtype that is promised, if there is one."""
    own, promised = probe.case.dtype, probe.settings.subject.promise.dtypes
    return _changed(
        probe, dtype=next((d for d in ("float32", "float64", *promised) if d in promised and d != own), own)
    )


def _changed(probe: Probe, **changes: Any) -> Probe:
    return Probe(replace(probe.case, **changes), probe.settings, Tally("", ""))


def other_values(probe: Probe) -> None:
    """Numbers that differ in the same shape: results kept by shape, or by address, show here and
    are judged.
    """
    other = probe.with_other_values
    for quantity, result in other.run().results.items():
        what = "after a call with other numbers in the same shapes"
        other.judge(quantity, result, what, scripts.RUN_OTHER, {"other": probe})


def the_same_memory(probe: Probe) -> None:
    """Other numbers written into the tensors of an earlier call: where autograd counts it, and where it does
    not, as through an array of NumPy that shares the memory.
    """
    other = probe.with_other_values
    for wanted, counted in ((None, True), ((), True), ((), False)):
        run = probe.start(wanted)
        fresh = tensors(other.call, probe.settings.device)
        with torch.no_grad():
            for name, tensor in run.arguments.items():
                if isinstance(tensor, torch.Tensor):
                    (tensor if counted else tensor.data).copy_(fresh[name])
            output = called(probe.settings.subject, probe.call, run.arguments)
        what = "from tensors that held other numbers in an earlier call"
        other.judge(FORWARD, output, what, scripts.ON_THE_SAME_MEMORY, {"other": probe})


def numbers_elsewhere(probe: Probe) -> None:
    """The same numbers in other places, with gradients and without."""
    other = probe.with_numbers_elsewhere
    for wanted in (None, ()):
        probe.start(wanted)
        what = "after a call with the same numbers in other places"
        other.judge(FORWARD, other.start(wanted).output, what, scripts.RUN_OTHER, {"other": probe})


def an_error(probe: Probe) -> None:
    """A call that fails in its arguments, and one that fails in its backward pass."""
    arguments = dict(tensors(probe.call, probe.settings.device))
    wrong = {name: value for name, value in WRONG.items() if name in arguments}
    if isinstance(arguments.get("target"), torch.Tensor):
        target = arguments["target"]
        wrong["target"] = target[:1] if target.ndim else target.expand(2)
    with suppress(Exception):
        called(probe.settings.subject, probe.call, arguments | wrong)
    run = probe.start()
    run.grad_output = run.grad_output.new_zeros(7, 7, 7)
    with suppress(Exception):
        probe.finish(run)


def many_calls(probe: Probe) -> None:
    for _ in range(MANY):
        output = probe.start().output
        if not torch.equal(bits(output), bits(probe.first[FORWARD])):
            probe.agrees({FORWARD: output}, "of one of many calls", happens=scripts.AFTER_MANY)


def an_unfinished_backward(probe: Probe) -> None:
    probe.start()


def overwritten_results(probe: Probe) -> None:
    """Whoever hands out memory that it keeps gets it back full of nan."""
    for result in probe.run().results.values():
        result.detach().fill_(float("nan"))


@dataclass(frozen=True)
class Between:
    """What happens between two runs of a call.

    Attributes
    ----------
    happens : callable
        Makes it happen to a call.
    lines : tuple of str
        The same in a script.
    other : callable, optional
        The other call that it takes.
    """

    happens: Callable[[Probe], object]
    lines: tuple[str, ...]
    other: Callable[[Probe], Probe] | None = None

    def others(self, probe: Probe) -> dict[str, Probe]:
        """The other call, by its name in a script."""
        return {"other": self.other(probe)} if self.other else {}


def _another(other: Callable[[Probe], Probe]) -> Between:
    return Between(lambda probe: other(probe).run(), scripts.RUN_OTHER, other)


def _with_other_values(probe: Probe) -> Probe:
    return probe.with_other_values


def _with_numbers_elsewhere(probe: Probe) -> Probe:
    return probe.with_numbers_elsewhere


BETWEEN: Mapping[str, Between] = {
    "right away": Between(lambda probe: None, scripts.RUN_AGAIN),
    "after a call of another shape": _another(_of_another_shape),
    "after a call in another dtype": _another(_in_another_dtype),
    "after a call with other numbers": Between(other_values, scripts.RUN_OTHER, _with_other_values),
    "after a call with numbers in other places": Between(
        numbers_elsewhere, scripts.RUN_OTHER, _with_numbers_elsewhere
    ),
    "after a call on the same memory": Between(the_same_memory, scripts.RUN_OTHER, _with_other_values),
    "after a call that failed": Between(an_error, scripts.AFTER_A_FAILURE),
    "after many calls": Between(many_calls, scripts.AFTER_MANY),
    "after a call without a backward pass": Between(an_unfinished_backward, scripts.AFTER_NO_BACKWARD),
    "after its results were overwritten": Between(overwritten_results, scripts.AFTER_OVERWRITING),
}

MODES: Mapping[str, Callable[[], Any]] = {
    "with gradients enabled": nullcontext,
    "under torch.no_grad": torch.no_grad,
    "under torch.inference_mode": torch.inference_mode,
}
