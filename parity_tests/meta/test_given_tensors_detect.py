"""What kind of tensor is given, in how many threads, and what can be done with a result: each fault planted
for it fails the check named beside it, and gives the right numbers in a call as people test it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from torch_loss_parity.claims.hygiene import (
    checks,
    conduct,
    first_calls,
    given_tensors,
    graphs,
    own_memory,
    process_settings,
    process_state,
)
from torch_loss_parity.claims.modes import checks as modes
from torch_loss_parity.claims.semantics import checks as semantics
from torch_loss_parity.faults import FAULTS, record, together
from torch_loss_parity.faults import given_tensors as planted
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.subjects.settings import Settings

Claim = Callable[..., None]
KINDS = given_tensors.every_kind_of_tensor_gives_the_right_results
TWO_PASSES = graphs.one_graph_has_a_gradient_for_each_upstream_gradient
THREADS = process_settings.results_are_right_however_the_process_is_set
WRITTEN, SHARED = own_memory.a_result_can_be_written_to_and_viewed, checks.results_share_memory_with_nothing
FIRST = first_calls.a_first_call_may_be_in_inference_mode
TANGENTS = modes.forward_mode_along_every_argument
PROCESS = process_state.the_process_is_left_as_it_was
CAUGHT_BY: dict[Callable[..., object], Claim] = {
    planted.a_negated_view_of_logits_is_read_as_it_lies: KINDS,
    planted.a_negated_upstream_gradient_is_read_as_it_lies: KINDS,
    planted.tensors_of_inference_mode_are_not_waited_for: KINDS,
    planted.of_a_tensor_of_inference_mode_the_result_is_zero: KINDS,
    planted.weights_of_one_are_made_where_they_are_first_needed: FIRST,
    planted.a_buffer_of_inference_mode_is_written_to: FIRST,
    planted.a_parameter_has_no_gradient: KINDS,
    planted.the_layer_must_not_be_a_parameter: KINDS,
    together.logits_that_were_computed_become_probabilities: KINDS,
    together.a_third_backward_pass_is_zero: TWO_PASSES,
    planted.the_tangent_of_probabilities_is_dropped: TANGENTS,
    planted.the_tangent_of_the_layer_is_dropped: TANGENTS,
    planted.an_upstream_gradient_that_begins_with_one_is_ones: TWO_PASSES,
    planted.rows_count_if_the_first_has_no_factor: TWO_PASSES,
    planted.threads_lose_the_rows_that_are_left_over: THREADS,
    planted.each_thread_begins_with_the_sum_of_another: THREADS,
    planted.the_probability_of_one_class_is_expanded: WRITTEN,
    planted.probabilities_lie_in_columns: WRITTEN,
    planted.of_one_number_the_logarithm_is_a_view: SHARED,
    planted.the_collector_is_switched_off: PROCESS,
}


def of(function: Callable[..., object]) -> record.Fault:
    return FAULTS[function.__name__.replace("_", "-")]


def run(
    claim: Claim, operator: str, subject: str, dtype: str = "float32", effort: str = "quick", seed: int = 0
) -> None:
    settings = Settings.of(subject, "cpu", dtype, effort, seed)
    claim(OPERATORS[operator], dtype, settings, Tally(operator, dtype))


@pytest.mark.parametrize(("function", "claim"), CAUGHT_BY.items(), ids=lambda each: each.__name__)
def test_a_fault_fails(function: Callable[..., object], claim: Claim) -> None:
    fault = of(function)
    with process_state.flags_set(0), pytest.raises(AssertionError):
        run(claim, fault.operator, f"fault:{fault}", fault.dtype, fault.effort)


@pytest.mark.parametrize("function", CAUGHT_BY, ids=lambda each: each.__name__)
def test_an_ordinary_call_passes_it(function: Callable[..., object]) -> None:
    fault = of(function)
    settings = Settings.of(f"fault:{fault}", "cpu", "float32", "quick", 0)
    operator = OPERATORS[fault.operator]
    with process_state.flags_set(0):
        probe = conduct.probes(operator, "float32", settings, Tally(fault.operator, "float32"))[0]
        for verify in (verify_forward, verify_gradients):
            assert all(finding.verdict.passes for finding in verify(settings.subject, probe.case))


@pytest.mark.parametrize("claim", dict.fromkeys(CAUGHT_BY.values()), ids=lambda each: each.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_passes(claim: Claim, dtype: str) -> None:
    for number, operator in enumerate(OPERATORS):
        if claim is TANGENTS and len(OPERATORS[operator].differentiable_arguments) < 2:
            continue
        run(claim, operator, "torch", dtype, "standard" if claim is THREADS else "quick", number % 3)


@pytest.mark.parametrize(
    ("subject", "fails"),
    [
        ("fault:z-losses-of-ignored-rows-are-multiplied-by-zero", True),
        ("fault:an-ignored-row-of-nan-makes-the-sum-of-z-losses-nan", True),
        ("fault:zeros", False),  # promises no z-loss
    ],
)
def test_an_ignored_row_of_what_is_not_finite_has_no_z_loss(subject: str, fails: bool) -> None:
    settings = Settings.of(subject, "cpu", "float32", "quick", 0)
    name = FAULTS[subject.removeprefix("fault:")].operator
    operator, problems = OPERATORS[name], list[str]()
    for row in each(operator.semantics):
        for extended in semantics.with_a_z_loss(row, operator, settings.subject):
            tally = Tally(name, "float32")
            problems.append(
                semantics.problem_in_row(settings.subject, "cpu", operator, extended, "float32", tally)
            )
    assert any(problems) == fails
    assert bool(problems) == fails


def test_what_torch_refuses_to_save_of_an_inference_tensor_may_be_refused() -> None:
    """A kernel under torch.utils.checkpoint; another exception is wrong."""
    (kind,) = (kind for kind in given_tensors.KINDS.values() if kind.refused_with)
    x = kind.make(torch.zeros(2))
    with pytest.raises(RuntimeError) as refused:
        checkpoint(torch.exp, x, use_reentrant=False)
    assert kind.refuses(refused.value)
    assert not kind.refuses(RuntimeError("another"))
    assert not kind.refuses(None)


def test_what_is_given_is_of_the_kind_it_is_said_to_be() -> None:
    said = {
        "lazily negated": lambda tensor: tensor.is_neg(),
        "parameters": lambda tensor: type(tensor).__name__ == "Parameter",
        "other operations": lambda tensor: tensor.grad_fn is not None,
        "inference": lambda tensor: tensor.is_inference(),
    }
    settings = Settings.of("torch", "cpu", "float32", "quick", 0)
    probe = conduct.probes(OPERATORS["softmax"], "float32", settings, Tally("softmax", "float32"))[0]
    given = probe.given(())[0]["input"]
    for (what, kind), (word, is_one) in zip(given_tensors.KINDS.items(), said.items(), strict=True):
        assert word in what
        assert is_one(kind.make(given.clone().requires_grad_(kind.made)))
        assert kind.make(given).tolist() == given.tolist()
