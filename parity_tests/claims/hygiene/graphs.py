"""Checks of what a call keeps for its backward pass: two passes with different upstream gradients are two
gradients, and what was overwritten since is not read as if it were what it was.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.hygiene.conduct import Run, memory_of, name_of, of_large_calls, probes
from torch_loss_parity.claims.layouts.layouts import bits
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import to_tensor


def one_graph_has_a_gradient_for_each_upstream_gradient(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Both are right, the second leaves the first as it was, and lies in other memory; so does a third, which
    repeats the second: where there is nothing to multiply by, what was kept must not be handed out itself.
    Where each row has an upstream gradient, the second begins with 1, and is judged: alone, it may be as
    wrong.
    """
    settings.subject.promise.must_have_gradients(operator.name)
    for first in (
        *probes(operator, dtype, settings, tally),
        *of_large_calls(operator, dtype, settings, tally),
    ):
        second = first.with_another_upstream
        run = first.start()
        again = replace(run, grad_output=to_tensor(second.upstream, first.call.output_dtype, settings.device))
        gradients = first.finish(run, retain_graph=True).gradients
        before = {name: bits(gradient).clone() for name, gradient in gradients.items()}
        later = second.finish(again, retain_graph=True).gradients
        repeated = second.finish(again).gradients
        for name, gradient in gradients.items():
            unchanged = torch.equal(bits(gradient), before[name])
            places = [memory_of(each) for each in (gradient, later[name], repeated[name])]
            tally.count(unchanged and len(set(places)) == len(places))
            wrong = "" if places[0] != places[1] else "a second backward pass lies in the memory of the first"
            wrong = wrong if unchanged else "a second backward pass changes the first"
            if not wrong and len(set(places)) < len(places):
                wrong = "a third backward pass, for the same upstream gradient, lies in the memory of another"
            assert not wrong, (
                f"{first.case}: {name_of(name)} of {wrong}\n{first.script(TWICE, {'other': second})}"
            )
        for name, gradient in repeated.items():
            if not torch.equal(bits(gradient), bits(later[name])):
                what = "of a third backward pass through one graph"
                second.judge(name, gradient, what, _AFTER_TWO, {"other": first})
        first.agrees(
            gradients, "of the first of two backward passes", exactly=False, happens=scripts.RETAINED
        )
        what = (
            "of a backward pass that follows one with another upstream gradient, and whose own begins with 1"
        )
        if not second.upstream.ndim:
            second.agrees(later, what, exactly=False, happens=_AFTER_ANOTHER, others={"other": first})
            continue
        for name, gradient in later.items():
            second.judge(name, gradient, what, _AFTER_ANOTHER, {"other": first})


def what_is_overwritten_before_the_backward_pass_is_not_taken_for_what_it_was(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """An argument, or the result, gets other numbers in place: the gradient is that of the call, or there is
    an error; it is never another number.
    """
    for probe in probes(operator, dtype, settings, tally):
        numbers = probe.with_other_values.start(())
        assert probe.first
        for name in (*_tensors(probe.start()), FORWARD):
            run = probe.start()
            gradients = _after_overwriting(run, name, _tensors(numbers)[name])
            if gradients is None:  # autograd, or the subject, has noticed
                tally.count()
                continue
            probe.agrees(
                gradients,
                f"after {'the result' if name == FORWARD else name} was overwritten",
                exactly=False,
                happens=_overwriting(name),
                others={"other": probe.with_other_values},
            )


def what_is_saved_for_the_backward_pass_may_be_copied(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """As where it is kept in other memory until then (`torch.autograd.graph.save_on_cpu`), or computed once
    more (`torch.utils.checkpoint`): the backward pass gets the numbers, and not the tensor that was saved.
    """
    settings.subject.promise.must_have_gradients(operator.name)
    what = "where what is saved for the backward pass is copied"
    for probe in probes(operator, dtype, settings, tally):
        assert probe.first
        copied = torch.autograd.graph.saved_tensors_hooks(_copied, torch.clone)
        probe.agrees(probe.results_within(copied, what, COPIED), what, exactly=False, happens=COPIED)


def _copied(saved: torch.Tensor) -> torch.Tensor:
    return saved.detach().clone()


def _tensors(run: Run) -> dict[str, torch.Tensor]:
    given = {name: value for name, value in run.arguments.items() if isinstance(value, torch.Tensor)}
    return {**given, FORWARD: run.output}


def _after_overwriting(run: Run, name: str, numbers: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """The gradients of a run in which a tensor has got other numbers; None where they are refused."""
    wanted = [other for other, value in _tensors(run).items() if value.requires_grad and other != FORWARD]
    try:
        with torch.no_grad():
            _tensors(run)[name].detach().copy_(numbers.detach())
        leaves = [run.arguments[other] for other in wanted]
        return dict(zip(wanted, torch.autograd.grad(run.output, leaves, run.grad_output), strict=True))
    except Exception:
        return None


# --- the same in a script -----------------------------------------------------------------------------------

_LEAVES = (
    "given = {name: v.detach().clone().requires_grad_(name in differentiable)",
    "         if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
    "leaves, output = [given[name] for name in differentiable], call(given)",
)
# `run`, which a script calls in the end, goes on with what has begun.
_GOES_ON = "run = lambda *_: [None, None, [output, *torch.autograd.grad(output, leaves, grad_output)]]"
_OTHER_PASS = "torch.autograd.grad(output, leaves, other_grad_output, retain_graph=True)"
COPIED = (
    "copied = lambda saved: saved.detach().clone()",
    "torch.autograd.graph.saved_tensors_hooks(copied, copied).__enter__()",
)
_AFTER_ANOTHER = (*_LEAVES, _OTHER_PASS, _GOES_ON)
_AFTER_TWO = (*_LEAVES, _OTHER_PASS, _OTHER_PASS.replace("other_", ""), _GOES_ON)
TWICE = (
    *_LEAVES,
    "first = torch.autograd.grad(output, leaves, grad_output, retain_graph=True)",
    "before = [bits(gradient) for gradient in first]",
    "second = torch.autograd.grad(output, leaves, other_grad_output, retain_graph=True)",
    "third = torch.autograd.grad(output, leaves, other_grad_output)",
    "for name, one, two, three, then in zip(differentiable, first, second, third, before):",
    "    show(f'the first gradient of {name}', one, then)",
    "    if len({each.untyped_storage().data_ptr() for each in (one, two, three)}) < 3:",
    "        print('gradients of', name, 'LIE IN THE SAME MEMORY')",
)


def _overwriting(name: str) -> tuple[str, ...]:
    """Lines that bind ``result`` as `torch_loss_parity.claims.hygiene.scripts.steps_after` wants it."""
    tensor, numbers = (
        ("output", "call(other)") if name == FORWARD else (f"given[{name!r}]", f"other[{name!r}]")
    )
    return (
        *_LEAVES,
        "with torch.no_grad():",
        f"    {tensor}.detach().copy_({numbers})",
        _GOES_ON,
    )
