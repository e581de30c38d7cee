"""What kernels take beside torch's arguments: asked of those who promise it alone, and certified."""

from __future__ import annotations

from itertools import product
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity import assert_close_to_truth, reference
from torch_loss_parity.expectation.formulas import autograd_formulas
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import derivative
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic import rounding_functions as bounds
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.formats import Arithmetic
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import load
from torch_loss_parity.subjects.written_promise import PromiseError, of_mapping, of_signature

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
Z = {CE: {"z_loss": (1e-4, 0.1)}}
Tensor = torch.Tensor
LOGITS = torch.tensor(np.random.default_rng(0).normal(0, 3, (6, 5)))
TARGET = torch.tensor([0, 1, -100, 3, 4, 2])
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0], dtype=torch.float64)


def composed(input: Tensor, target: Tensor, z_loss: float, **options: Any) -> Tensor:
    """torch's loss of index targets, and the squares of torch's logarithms of sums."""
    loss = F.cross_entropy(input, target, **options)
    counted = target != -100
    squares = torch.where(counted, torch.logsumexp(input, 1) ** 2, 0.0)
    if options["reduction"] != "none":
        squares = squares.sum() / (counted.sum() if options["reduction"] == "mean" else 1)
    return loss + z_loss * squares


# --- who is asked -------------------------------------------------------------------------------------------


def test_it_is_asked_of_those_who_promise_it_and_of_nobody_else() -> None:
    record = OPERATORS[CE]
    promised = of_mapping(Z).operator(record)
    plain, extended = (
        [operator.call(case).arguments for case in grid(operator, "float32", EFFORTS["quick"], 0)]
        for operator in (record, promised)
    )
    assert not any("z_loss" in arguments for arguments in plain)
    met = [arguments.get("z_loss") for arguments in extended]
    assert {*met} == {None, 1e-4, 0.1}  # left out, it is 0
    assert of_mapping({"softmax": {"dim": 1}}).operator(record) is record


@pytest.mark.parametrize("of", [CE, LINEAR])
def test_it_meets_every_reduction_of_rows_that_are_ignored_in_part(of: str) -> None:
    promised = of_mapping({of: {"z_loss": (1e-4, 0.1)}}).operator(OPERATORS[of])
    names = ("z_loss", "reduction", "ignored")
    cases = [case.option for case in grid(promised, "float32", EFFORTS["quick"], 0)]
    met = {tuple(option[name] for name in names) for option in cases}
    assert met >= set(product((1e-4, 0.1), ("mean", "sum", "none"), ("some",)))


def test_a_case_that_names_other_options_has_it_by_chance() -> None:
    promised = of_mapping(Z).operator(OPERATORS[CE])
    seeds = range(0, 24 * 20, 24)  # in steps, as quick effort counts cases
    cases = [promised.case("float32", (3, 5), "normal", {"reduction": "sum"}, seed) for seed in seeds]
    assert {case.option["z_loss"] for case in cases} == {0.0, 1e-4, 0.1}


def test_a_signature_neither_promises_it_nor_rules_it_out() -> None:
    assert of_signature(CE, F.cross_entropy) == {}
    assert of_signature(CE, reference.cross_entropy) == {}


def test_torch_is_never_called_with_it() -> None:
    with pytest.raises(PromiseError, match="cross_entropy takes no z_loss, which is promised of it"):
        load("torch", tuple(OPERATORS), promise="cross_entropy.z_loss=0.1")


@pytest.mark.parametrize("value", [-0.1, inf, "0.1", True])
def test_a_weight_that_is_none_is_no_promise(value: Any) -> None:
    with pytest.raises(PromiseError, match=r"cross_entropy.z_loss=.*; it must be (a number, )?0 or more"):
        of_mapping({CE: {"z_loss": value}})


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_result_of_ones_own_is_held_against_the_truth_with_it(reduction: str) -> None:
    logits = LOGITS.float().requires_grad_()
    options: dict[str, Any] = {"weight": WEIGHT.float(), "reduction": reduction}
    loss = composed(logits, TARGET, 0.1, **options)
    upstream = torch.linspace(-1, 2, loss.numel()).reshape(loss.shape)
    loss.backward(upstream)
    given: dict[str, Any] = {**options, "grads": {"input": logits.grad}, "grad_output": upstream}
    assert_close_to_truth(loss, CE, logits, TARGET, **given, z_loss=0.1)
    for other in (0.0, 0.1001) if reduction == "mean" else ():
        with pytest.raises(AssertionError):
            assert_close_to_truth(loss, CE, logits, TARGET, **given, z_loss=other)


@pytest.mark.parametrize("value", [0.0, -30.0, inf, "30", True])
def test_a_cap_that_is_none_is_no_promise(value: Any) -> None:
    with pytest.raises(PromiseError, match=r"cross_entropy.softcap=.*; it must be (a number )?above 0"):
        of_mapping({CE: {"softcap": value}})
    assert of_mapping({CE: {"softcap": 30}}).options == {CE: {"softcap": (None, 30)}}


# --- what it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reduction", "weight", "label_smoothing"),
    [*product(("mean", "sum", "none"), (None, WEIGHT), (0.0, 0.1))],
)
def test_the_definition_is_the_sum_of_the_losses_and_so_is_its_gradient(
    reduction: str, weight: Tensor | None, label_smoothing: float
) -> None:
    options: dict[str, Any] = {"weight": weight, "reduction": reduction, "label_smoothing": label_smoothing}
    logits = LOGITS.clone().requires_grad_()
    expected = composed(logits, TARGET, 0.1, **options)
    actual = reference.cross_entropy(LOGITS, TARGET, **options, z_loss=0.1)
    torch.testing.assert_close(actual, expected.detach())
    upstream = torch.linspace(-1, 2, expected.numel(), dtype=torch.float64).reshape(expected.shape)
    (gradient,) = torch.autograd.grad(expected, logits, upstream)
    closed_form = reference.cross_entropy_backward(upstream, LOGITS, TARGET, **options, z_loss=0.1).input
    torch.testing.assert_close(closed_form, gradient)


def test_balls_enclose_the_difference_quotient_of_the_loss_in_its_gradient() -> None:
    logits, target, step = LOGITS.numpy(), TARGET.numpy(), 2.0**-40
    options: dict[str, Any] = {"reduction": "sum", "z_loss": 0.1, "bits": 256}
    gradient = balls.evaluate(reference.cross_entropy_backward, np.asarray(1.0), logits, target, **options)
    for place in ((0, 0), (1, 4), (2, 2), (5, 3)):
        ends = []
        for sign in (1, -1):
            moved = logits.astype(np.longdouble)  # holds what float64 rounds away
            moved[place] += sign * np.longdouble(step)
            ends.append(balls.evaluate(reference.cross_entropy, moved, target, **options))
        with balls.precision(256):
            quotient = (ends[0] - ends[1]) / (2 * balls.ball(step))
            assert abs(quotient - gradient.input[place]) < 2.0**-60


def test_ignored_rows_have_no_z_loss_and_no_gradient() -> None:
    every = torch.full_like(TARGET, -100)
    assert float(reference.cross_entropy(LOGITS, every, reduction="sum", z_loss=0.1)) == 0
    gradients = reference.cross_entropy_backward(
        torch.tensor(1.0).double(), LOGITS, every, reduction="sum", z_loss=0.1
    )
    assert not gradients.input.any()


@pytest.mark.parametrize(
    ("value", "refusal"), [(-1e-9, RuntimeError), (float("nan"), RuntimeError), ("1", TypeError)]
)
def test_a_weight_that_is_no_number_is_refused(value: Any, refusal: type[Exception]) -> None:
    with pytest.raises(refusal, match=r"z_loss is .*; it must be"):
        reference.cross_entropy(LOGITS, TARGET, z_loss=value)


# --- capped logits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softcap", [30.0, 4.0, 0.5])
def test_the_definition_is_the_loss_of_capped_logits_and_so_is_its_gradient(softcap: float) -> None:
    logits = LOGITS.clone().requires_grad_()
    capped = softcap * torch.tanh(logits / softcap)
    expected = composed(capped, TARGET, 0.1, weight=WEIGHT, reduction="mean")
    options: dict[str, Any] = {"weight": WEIGHT, "z_loss": 0.1, "softcap": softcap}
    torch.testing.assert_close(reference.cross_entropy(LOGITS, TARGET, **options), expected.detach())
    (gradient,) = torch.autograd.grad(expected, logits)
    one = torch.tensor(1.0, dtype=torch.float64)
    closed_form = reference.cross_entropy_backward(one, LOGITS, TARGET, **options).input
    torch.testing.assert_close(closed_form, gradient)


def test_a_logit_far_beyond_the_cap_keeps_its_slope() -> None:
    logits = np.asarray([[100.0, 0.0]])
    gradient = reference.cross_entropy_backward(np.asarray(1.0), logits, np.asarray([1]), softcap=4.0).input
    certain = balls.evaluate(
        reference.cross_entropy_backward, np.asarray(1.0), logits, np.asarray([1]), softcap=4.0, bits=256
    ).input
    assert 0 < gradient[0, 0] < 1e-20
    assert abs(gradient[0, 0] - float(certain[0, 0].mid())) < 1e-13 * gradient[0, 0]


@pytest.mark.parametrize(
    ("value", "refusal"), [(0.0, RuntimeError), (-1.0, RuntimeError), (inf, RuntimeError), ("1", TypeError)]
)
def test_a_cap_that_is_no_number_above_0_is_refused(value: Any, refusal: type[Exception]) -> None:
    with pytest.raises(refusal, match=r"softcap is .*; it must be"):
        reference.cross_entropy(LOGITS, TARGET, softcap=value)


@pytest.mark.parametrize("size", [2.0**-30, 2.0**-8, 0.25, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bound_of_tanh_holds_whatever_its_argument_is_off_by(dtype: str, size: float) -> None:
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.normal(0, 3, 200), [0.0, 40.0, -40.0, 1e-30]])
    bound = bounds.tanh(Rounded(true, Arithmetic.for_dtype(dtype), Error(0.0, np.full(true.shape, size))))
    allowed = np.broadcast_to(bound.total_error(), true.shape)
    with balls.precision(200):
        for x, most in zip(true, allowed, strict=True):
            for away in (-size, -size / 2, size / 2, size):
                error = (balls.ball(x) + balls.ball(away)).tanh() - balls.ball(x).tanh()
                assert abs(error) <= balls.ball(most)
    # Not by more than the slope at the near end, and the five ulps.
    unit = bound.arithmetic.compute.unit_roundoff
    nearer = np.maximum(np.abs(true) - size, 0)
    assert np.all(allowed <= 1.01 * (size / np.cosh(nearer) ** 2 + 11 * unit))


def test_reverse_mode_and_duals_differentiate_a_loss_of_capped_logits() -> None:
    rng = np.random.default_rng(3)
    logits, direction, target = (
        rng.normal(0, 6, (4, 3)),
        rng.normal(0, 1, (4, 3)),
        np.asarray([0, 2, 1, -100]),
    )
    options: dict[str, Any] = {"reduction": "sum", "z_loss": 0.1, "softcap": 4.0}
    one, x, v = balls.balls(np.asarray(1.0)), balls.balls(logits), balls.balls(direction)
    with balls.precision(256):
        arguments = {"input": x, "target": target, **options}
        closed = reference.cross_entropy_backward(one, **arguments).input
        along = derivative(CE, Quantity("input"), v, None, arguments)
        assert abs(along - np.sum(closed * v)) < 2.0**-200
        step = balls.ball(2.0**-80)
        moved = reference.cross_entropy_backward(one, **arguments | {"input": x + step * v}).input
        second = derivative(CE, Quantity("input", "input"), v, one, arguments)
        for quotient, of in zip(((moved - closed) / step).reshape(-1), second.reshape(-1), strict=True):
            assert abs(quotient - of) < 2.0**-60
    taped = autograd_formulas.backward(CE, np.asarray(1.0), **arguments | {"input": logits}).input
    # The same tape over the rounding arithmetic says what 1 - tanh^2, which cancels, may cost.
    of_one, of_x = (Rounded(each, Arithmetic.for_dtype("float64")) for each in (np.asarray(1.0), logits))
    allowed = autograd_formulas.backward(CE, of_one, **arguments | {"input": of_x}).input.total_error()
    assert np.all(np.abs(taped - closed.astype(float)) <= allowed)
    assert np.all(allowed <= 2.0**-36 * np.abs(closed.astype(float)))
