"""Hygiene: a call changes nothing that it is given, keeps nothing, shares no memory, forgets what ran before
it, leaves the process as it was, is right however the process is set, and is the same beside another call.

Bits are compared: of arguments, of the upstream gradient, and of results with those of the first run of the
same call. Only where another computation is a legitimate choice (without gradients, with fewer of them,
beside another thread) are other bits judged by the bound.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.hygiene import (
    at_once,
    checks,
    first_calls,
    given_tensors,
    graphs,
    lifetimes,
    own_memory,
    process_settings,
    process_state,
    twice,
    unwatched,
)
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings


def test_what_is_given_stays_as_it_is(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.what_is_given_stays_as_it_is(operator, dtype, settings, tally)


def test_results_share_memory_with_nothing(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.results_share_memory_with_nothing(operator, dtype, settings, tally)


def test_a_result_can_be_written_to_and_viewed(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    own_memory.a_result_can_be_written_to_and_viewed(operator, dtype, settings, tally)


def test_results_stay_when_everything_else_is_overwritten(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.results_stay_when_everything_else_is_overwritten(operator, dtype, settings, tally)


def test_a_backward_pass_can_be_repeated(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.a_backward_pass_can_be_repeated(operator, dtype, settings, tally)


def test_each_claim_calls_the_subject_once_and_judges_what_it_returns(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.each_claim_calls_the_subject_once_and_judges_what_it_returns(operator, dtype, settings, tally)


def test_nothing_depends_on_what_ran_before(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.nothing_depends_on_what_ran_before(operator, dtype, settings, tally)


def test_nothing_depends_on_the_order_of_calls(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.nothing_depends_on_the_order_of_calls(operator, dtype, settings, tally)


def test_results_are_right_with_and_without_gradients(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.results_are_right_with_and_without_gradients(operator, dtype, settings, tally)


def test_one_graph_has_a_gradient_for_each_upstream_gradient(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    graphs.one_graph_has_a_gradient_for_each_upstream_gradient(operator, dtype, settings, tally)


def test_what_is_overwritten_before_the_backward_pass_is_not_taken_for_what_it_was(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    graphs.what_is_overwritten_before_the_backward_pass_is_not_taken_for_what_it_was(
        operator, dtype, settings, tally
    )


def test_what_is_saved_for_the_backward_pass_may_be_copied(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    graphs.what_is_saved_for_the_backward_pass_may_be_copied(operator, dtype, settings, tally)


def test_nothing_that_was_dropped_stays_alive(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    lifetimes.nothing_that_was_dropped_stays_alive(operator, dtype, settings, tally)


def test_memory_does_not_grow(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    lifetimes.memory_does_not_grow(operator, dtype, settings, tally)


def test_the_process_is_left_as_it_was(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    process_state.the_process_is_left_as_it_was(operator, dtype, settings, tally)


def test_results_are_right_however_the_process_is_set(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    process_settings.results_are_right_however_the_process_is_set(operator, dtype, settings, tally)


def test_an_upstream_gradient_that_is_not_finite_shows(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    process_settings.an_upstream_gradient_that_is_not_finite_shows(operator, dtype, settings, tally)


def test_every_kind_of_tensor_gives_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    given_tensors.every_kind_of_tensor_gives_the_right_results(operator, dtype, settings, tally)


def test_a_first_call_may_be_in_inference_mode(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    first_calls.a_first_call_may_be_in_inference_mode(operator, dtype, settings, tally)


def test_a_first_call_may_be_in_another_dtype(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    first_calls.a_first_call_may_be_in_another_dtype(operator, dtype, settings, tally)


def test_one_tensor_may_be_two_arguments(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    if len(operator.differentiable_arguments) < 2:
        pytest.skip("one argument is differentiated, and none other can be the same tensor")
    twice.one_tensor_may_be_two_arguments(operator, dtype, settings, tally)


def test_calls_at_the_same_time_are_as_when_alone(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    at_once.calls_at_the_same_time_are_as_when_alone(operator, dtype, settings, tally)


def test_a_call_is_the_same_under_load(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    at_once.a_call_is_the_same_under_load(operator, dtype, settings, tally)


def test_a_call_is_the_same_where_no_test_is_seen(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    unwatched.a_call_is_the_same_where_no_test_is_seen(operator, dtype, settings, tally)
