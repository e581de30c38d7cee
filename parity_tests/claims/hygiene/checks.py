"""Checks of hygiene: each runs the probes of `torch_loss_parity.claims.hygiene.conduct` and compares bits.

Only where another computation is a legitimate choice (without gradients, or with fewer of them) are other
bits judged by the bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.hygiene.at_once import (
    a_call_is_the_same_under_load,
    calls_at_the_same_time_are_as_when_alone,
)
from torch_loss_parity.claims.hygiene.between import BETWEEN, MODES
from torch_loss_parity.claims.hygiene.conduct import (
    Probe,
    Run,
    memory_of,
    name_of,
    of_all_values,
    of_large_calls,
    of_one_class,
    probes,
)
from torch_loss_parity.claims.hygiene.first_calls import (
    a_first_call_may_be_in_another_dtype,
    a_first_call_may_be_in_inference_mode,
)
from torch_loss_parity.claims.hygiene.given_tensors import every_kind_of_tensor_gives_the_right_results
from torch_loss_parity.claims.hygiene.graphs import (
    one_graph_has_a_gradient_for_each_upstream_gradient,
    what_is_overwritten_before_the_backward_pass_is_not_taken_for_what_it_was,
    what_is_saved_for_the_backward_pass_may_be_copied,
)
from torch_loss_parity.claims.hygiene.lifetimes import (
    memory_does_not_grow,
    nothing_that_was_dropped_stays_alive,
)
from torch_loss_parity.claims.hygiene.own_memory import a_result_can_be_written_to_and_viewed
from torch_loss_parity.claims.hygiene.process_settings import (
    an_upstream_gradient_that_is_not_finite_shows,
    results_are_right_however_the_process_is_set,
)
from torch_loss_parity.claims.hygiene.process_state import the_process_is_left_as_it_was
from torch_loss_parity.claims.hygiene.twice import one_tensor_may_be_two_arguments
from torch_loss_parity.claims.hygiene.unwatched import a_call_is_the_same_where_no_test_is_seen
from torch_loss_parity.claims.layouts.layouts import bits, poison
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.settings import Settings


def what_is_given_stays_as_it_is(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """Values, and the counters by which autograd notices writes, of arguments and of the upstream gradient;
    whatever the values are, and however many.
    """
    for probe in [
        *probes(operator, dtype, settings, tally),
        *of_all_values(operator, dtype, settings, tally),
        *of_large_calls(operator, dtype, settings, tally),
    ]:
        run = probe.start()
        for after in ("forward", "backward"):
            if after == "backward":
                probe.finish(run)
            changed = run.changed()
            tally.count(not changed)
            assert not changed, (
                f"{probe.case}: the {after} pass wrote into {', '.join(changed)}\n"
                f"{probe.script(scripts.GIVEN)}"
            )


def results_share_memory_with_nothing(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Autograd allows a gradient that is the upstream gradient itself, or two that are one; torch returns
    neither here. What needs no gradient is asked for first: a result of its own is easiest to spare there."""
    every = (
        *probes(operator, dtype, settings, tally),
        of_one_class(operator, dtype, settings, tally),
        *of_large_calls(operator, dtype, settings, tally),
    )
    for probe in every:
        earlier, run = probe.start(()), probe.start(())
        others = {"an earlier result": earlier.output, **run.tensors_given}
        sharing = [name for name, other in others.items() if memory_of(other) == memory_of(run.output)]
        tally.count(not sharing)
        assert not sharing, (
            f"{probe.case}: without gradients, the result lies in the memory of {', '.join(sharing)}\n"
            f"{probe.script(scripts.MEMORY)}"
        )
    strict = settings.subject.name in ("torch", "torch.nn") and settings.device == "cpu"
    for probe in every:
        earlier, run = probe.run(), probe.run()
        given = {
            f"{name} of {which} call": v
            for which, r in (("this", run), ("an earlier", earlier))
            for name, v in r.tensors_given.items()
        }
        before = {
            f"{name_of(quantity)} of an earlier call": result for quantity, result in earlier.results.items()
        }
        for quantity, result in run.results.items():
            siblings = {name_of(other): v for other, v in run.results.items() if other != quantity}
            legitimate = (
                {*map(name_of, run.gradients), "grad_output of this call"}
                if quantity != FORWARD and not strict
                else set()
            )
            others = given | before | siblings
            sharing = [
                name
                for name, other in others.items()
                if memory_of(other) == memory_of(result) and name not in legitimate
            ]
            tally.count(not sharing)
            assert not sharing, (
                f"{probe.case}: {name_of(quantity)} lies in the memory of {', '.join(sharing)}\n"
                f"{probe.script(scripts.MEMORY)}"
            )


def results_stay_when_everything_else_is_overwritten(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    for probe in (
        *probes(operator, dtype, settings, tally),
        *of_large_calls(operator, dtype, settings, tally),
    ):
        without = probe.start(())
        before = {FORWARD: bits(without.output).clone()}
        for quantity, result in probe.with_other_values.start(()).results.items():
            probe.with_other_values.judge(
                quantity,
                result,
                "after a call with other numbers, without gradients",
                scripts.RUN_OTHER_WITHOUT,
                {"other": probe},
            )
        called = scripts.kept(scripts.RUN_OTHER_WITHOUT, "()")
        _unchanged(probe, without, before, "a second call without gradients", called, tally)
        run = probe.run()
        expected = {name: bits(result).clone() for name, result in run.results.items()}
        probe.with_other_values.run()
        _unchanged(probe, run, expected, "a second call", scripts.kept(scripts.RUN_OTHER), tally)
        for tensor in run.tensors_given.values():
            tensor.detach().fill_(1)
        what, lines = "overwriting the arguments and the upstream gradient", scripts.kept(scripts.OVERWRITTEN)
        _unchanged(probe, run, expected, what, lines, tally)


def a_backward_pass_can_be_repeated(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    settings.subject.promise.must_have_gradients(operator.name)
    for probe in probes(operator, dtype, settings, tally):
        run = probe.start()
        for what in ("of a backward pass that retains its graph", "of its repetition"):
            gradients = probe.finish(run, retain_graph=True).gradients
            probe.agrees(gradients, what, happens=scripts.RETAINED)


def each_claim_calls_the_subject_once_and_judges_what_it_returns(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """What the subject's function returns, negated on its way, gives negated results: nothing else can have
    computed them.
    """
    for probe in probes(operator, dtype, settings, tally):
        calls, subject = _counting(settings.subject, torch.neg)
        with probe.of_the_subject():
            plain = run_subject.forward(settings.subject, probe.call, settings.device)
            gradients = run_subject.gradients(settings.subject, probe.call, settings.device, probe.upstream)
            negated = run_subject.forward(subject, probe.call, settings.device)
            negated_gradients = run_subject.gradients(subject, probe.call, settings.device, probe.upstream)
        assert calls == {operator.name: 2}, f"forward and gradients made the calls {dict(calls)}"
        pairs = [(plain, negated), *((gradients[name], negated_gradients[name]) for name in gradients)]
        if probe.repeatable:
            assert all(np.array_equal(-one, other, equal_nan=True) for one, other in pairs), (
                f"the result does not come from the subject\n{probe.script(scripts.again(()))}"
            )
        for verify in (verify_forward, verify_gradients):
            calls, subject = _counting(settings.subject, lambda result: result)
            with probe.of_the_subject():
                list(verify(subject, probe.case, settings.device))
            tally.count(calls == {operator.name: 1})
            assert calls == {operator.name: 1}, f"{verify.__name__} made the calls {dict(calls)}"


def nothing_depends_on_what_ran_before(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    for probe in probes(operator, dtype, settings, tally):
        for what, between in BETWEEN.items():
            before = probe.first
            between.happens(probe)
            poison(probe.upstream.shape, before[FORWARD].dtype, settings.device)
            probe.agrees(probe.run().results, what, happens=between.lines, others=between.others(probe))


def nothing_depends_on_the_order_of_calls(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    others = [
        probes(settings.subject.promise.operator(other), dtype, settings, tally)[0]
        for other in OPERATORS.values()
        if settings.subject.offers(other.name)
    ]
    every = probes(operator, dtype, settings, tally) + others
    for probe in every:
        assert probe.first
    for probe in reversed(every):
        other = {"other": probe.with_other_values}
        probe.agrees(probe.run().results, "in reverse order", happens=scripts.RUN_OTHER, others=other)
    runs = [(probe, probe.start()) for probe in every]
    for probe, run in runs[::2] + runs[1::2]:
        what, other = (
            "of calls whose backward passes come later, in another order",
            {"other": probe.with_other_values},
        )
        probe.agrees(probe.finish(run).results, what, happens=scripts.RUN_OTHER, others=other)


def results_are_right_with_and_without_gradients(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    for probe in probes(operator, dtype, settings, tally):
        for what, mode in MODES.items():
            for wanted in ((), probe.call.differentiable):
                with mode():
                    run = probe.start(wanted)
                output, changed = run.output, run.changed()
                tally.count(not changed)
                assert not changed, (
                    f"{probe.case}: {what}, {'with' if wanted else 'without'} requires_grad, the forward "
                    f"pass wrote into {', '.join(changed)}\n{probe.script(scripts.GIVEN)}"
                )
                required = bool(wanted) and mode is MODES["with gradients enabled"]
                assert output.requires_grad == required, (
                    f"{probe.case}: {what}, the result has requires_grad {output.requires_grad}\n"
                    f"{probe.script(scripts.REQUIRES_GRAD)}"
                )
                probe.agrees(
                    {FORWARD: output},
                    f"{what}, {'with' if wanted else 'without'} requires_grad",
                    exactly=False,
                )
        for name in probe.call.differentiable:
            probe.agrees(probe.run((name,)).results, f"where only {name} requires a gradient", exactly=False)


def _unchanged(
    probe: Probe,
    run: Run,
    expected: dict[str, torch.Tensor],
    what: str,
    lines: Iterable[str],
    tally: Tally,
) -> None:
    for name, result in run.results.items():
        same = torch.equal(bits(result), expected[name])
        tally.count(same)
        assert same, (
            f"{probe.case}: {what} changed {name_of(name)}\n"
            f"{probe.script(lines, {'other': probe.with_other_values})}"
        )


def _counting(subject: Subject, change: Callable[[Any], Any]) -> tuple[Counter[str], Subject]:
    """A subject that counts its calls by name and changes what it returns."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        def function(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return change(subject.function(name)(*args, **options))

        return function

    offered = {name: counted(name) for name in OPERATORS if subject.offers(name)}
    return calls, replace(subject, namespace=SimpleNamespace(**offered))


CHECKS: tuple[Check, ...] = (
    what_is_given_stays_as_it_is,
    results_share_memory_with_nothing,
    a_result_can_be_written_to_and_viewed,
    results_stay_when_everything_else_is_overwritten,
    a_backward_pass_can_be_repeated,
    each_claim_calls_the_subject_once_and_judges_what_it_returns,
    nothing_depends_on_what_ran_before,
    nothing_depends_on_the_order_of_calls,
    results_are_right_with_and_without_gradients,
    one_graph_has_a_gradient_for_each_upstream_gradient,
    what_is_overwritten_before_the_backward_pass_is_not_taken_for_what_it_was,
    what_is_saved_for_the_backward_pass_may_be_copied,
    nothing_that_was_dropped_stays_alive,
    memory_does_not_grow,
    the_process_is_left_as_it_was,
    results_are_right_however_the_process_is_set,
    an_upstream_gradient_that_is_not_finite_shows,
    every_kind_of_tensor_gives_the_right_results,
    a_first_call_may_be_in_inference_mode,
    a_first_call_may_be_in_another_dtype,
    one_tensor_may_be_two_arguments,
    calls_at_the_same_time_are_as_when_alone,
    a_call_is_the_same_under_load,
    a_call_is_the_same_where_no_test_is_seen,
)


def checks_of(operator: Operator) -> tuple[Check, ...]:
    """The same for every operator, but for what asks for two arguments."""
    several = len(operator.differentiable_arguments) > 1
    return tuple(check for check in CHECKS if check is not one_tensor_may_be_two_arguments or several)
