"""Every computation of three tutorials, by the reference and by torch, against the numbers that the tutorials
print.

No tolerance is chosen. A printed number is known to half a unit of its last digit, and so is every printed
input: the comparison allows what those digits leave open, and nothing else (`assert_prints`). Where no
arithmetic separates two printed numbers, they are compared exactly. Numbers are quoted as text, since the
digits are what says how well they are known.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_loss_parity import reference
from torch_loss_parity.claims.tutorial_numbers import (
    ACTIVATIONS,
    BEYOND_LABELS,
    BEYOND_LOSS,
    BEYOND_LOSS_OF_THE_PRINTED_DIGITS,
    BEYOND_SIGMOID,
    CLASSES,
    LABELS,
    LABELS_LAYER,
    LABELS_LOSS,
    LABELS_SIGMOID,
    LOSSES,
    MINUS_SELECTED,
    MODEL_LOG_SOFTMAX,
    MODEL_LOSS,
    MODEL_OUTPUT,
    MODEL_SOFTMAX,
    ROW_ENTROPIES,
    SELECTED,
    SIGMOID_OF_DIFFERENCE,
    SIGMOIDS,
    SOFTMAX,
    TARGET,
    THREE_LOGITS,
    THREE_PROBABILITIES,
    TWO_CLASS_LAYER,
    TWO_CLASS_LOSS,
    TWO_CLASS_ONE_HOT,
    TWO_CLASS_SIGMOID,
    TWO_CLASS_TRUTH,
    XOR_GRADIENT,
    XOR_INPUT,
    XOR_LEARNING_RATE,
    XOR_LOSS,
    XOR_PARAMETERS,
    XOR_PREDICTIONS,
    XOR_TRUTH,
    Printed,
    exactly,
    printed,
)

# Of upstream, input, target and reduction.
CrossEntropyGradient = Callable[[Tensor, Tensor, Tensor, str], Tensor]


def assert_prints(result: Printed, function: Callable[..., Tensor], *inputs: Printed) -> None:
    """Assert that inputs which print as these do have a value of ``function`` which prints as ``result``
    does.

    Each element of the value is taken at two corners of the box that the inputs' half units leave open: the
    one its gradient points to and the opposite one. The value is continuous, so every number between the two
    is reached in the box: whatever is accepted, some inputs do produce, to every order. Where the value is
    monotone in each input, as every one here is but those that go through the loss of a whole network, the
    two corners are the extremes over the box: nothing right is refused either.
    """
    jacobians = (
        torch.autograd.functional.jacobian(function, tuple(each.value for each in inputs)) if inputs else ()
    )

    def at_corner(index: tuple[int, ...], side: int) -> float:
        signs = (side * jacobian[index].sign() for jacobian in jacobians)
        corner = (each.value + sign * each.half_unit for each, sign in zip(inputs, signs, strict=True))
        value = function(*(coordinates.requires_grad_() for coordinates in corner))
        assert value.shape == result.value.shape
        return value[index].detach().item()

    for index in np.ndindex(*result.value.shape):
        low, high = at_corner(index, -1), at_corner(index, +1)
        value, half_unit = result.value[index].item(), result.half_unit[index].item()
        assert low - half_unit <= value <= high + half_unit, (
            f"{value} at {index} is not within half a unit of [{low}, {high}]"
        )


@pytest.fixture(
    params=[pytest.param(reference, id="reference"), pytest.param(torch.nn.functional, id="torch")]
)
def functional(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def closed_form(upstream: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    return reference.cross_entropy_backward(upstream, input, target, reduction=reduction).input


def by_autograd(functional: ModuleType) -> CrossEntropyGradient:
    def derivative(upstream: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        loss = functional.cross_entropy(input, target, reduction=reduction)
        return torch.autograd.grad(loss, input, upstream, create_graph=True)[0]

    return derivative


@pytest.fixture(
    params=[
        pytest.param(closed_form, id="reference in closed form"),
        pytest.param(by_autograd(reference), id="reference by autograd"),
        pytest.param(by_autograd(torch.nn.functional), id="torch by autograd"),
    ]
)
def cross_entropy_gradient(request: pytest.FixtureRequest) -> CrossEntropyGradient:
    return request.param


def as_first_of_two(functional: ModuleType, x: Tensor) -> Tensor:
    """Sigmoid as a softmax: the probability of x against 0."""
    return functional.softmax(torch.stack((x, torch.zeros_like(x)), dim=-1), dim=-1)[..., 0]


@pytest.mark.parametrize(
    ("probabilities", "logits"),
    [(THREE_PROBABILITIES, exactly(THREE_LOGITS)), (MODEL_SOFTMAX, MODEL_OUTPUT), (SOFTMAX, ACTIVATIONS)],
)
def test_softmax_prints_as_in_the_tutorials_and_so_does_exp_over_its_sum(
    functional: ModuleType, probabilities: Printed, logits: Printed
) -> None:
    assert_prints(probabilities, lambda x: functional.softmax(x, dim=1), logits)
    assert_prints(probabilities, lambda x: torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True), logits)


def test_softmax_rows_lie_between_0_and_1_and_sum_to_1(functional: ModuleType) -> None:
    probabilities = functional.softmax(MODEL_OUTPUT.value, dim=1)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert_prints(
        printed("[1.0000, 1.0000, 1.0000]"), lambda x: functional.softmax(x, dim=1).sum(dim=1), MODEL_OUTPUT
    )


def test_errors_ten_times_smaller_are_a_mere_0_009_apart_but_cost_ten_times_less(
    functional: ModuleType,
) -> None:
    probabilities = functional.softmax(
        torch.log(torch.tensor([[0.99, 0.01], [0.999, 0.001]], dtype=torch.double)), dim=1
    )[:, 0]
    losses = functional.binary_cross_entropy(probabilities, torch.ones_like(probabilities), reduction="none")
    assert_prints(printed("0.009"), lambda: probabilities[1] - probabilities[0])
    assert_prints(printed("10"), lambda: losses[0] / losses[1])


def test_log_softmax_is_the_log_of_softmax_as_printed(functional: ModuleType) -> None:
    assert_prints(MODEL_LOG_SOFTMAX, lambda x: torch.log(functional.softmax(x, dim=1)), MODEL_OUTPUT)
    assert_prints(MODEL_LOG_SOFTMAX, lambda x: functional.log_softmax(x, dim=1), MODEL_OUTPUT)


def test_every_route_from_logits_to_cross_entropy_prints_the_same_loss(functional: ModuleType) -> None:
    def by_hand(lg: Tensor) -> Tensor:
        return -1 * (lg[0][CLASSES[0]] + lg[1][CLASSES[1]] + lg[2][CLASSES[2]]) / 3

    assert_prints(
        MODEL_LOSS,
        lambda x: functional.nll_loss(torch.log(functional.softmax(x, dim=1)), CLASSES),
        MODEL_OUTPUT,
    )
    assert_prints(MODEL_LOSS, lambda x: by_hand(torch.log(functional.softmax(x, dim=1))), MODEL_OUTPUT)
    assert_prints(
        MODEL_LOSS, lambda x: functional.nll_loss(functional.log_softmax(x, dim=1), CLASSES), MODEL_OUTPUT
    )
    assert_prints(MODEL_LOSS, lambda x: functional.cross_entropy(x, CLASSES), MODEL_OUTPUT)
    assert_prints(MODEL_LOSS, lambda lg: functional.nll_loss(lg, CLASSES), MODEL_LOG_SOFTMAX)
    assert_prints(MODEL_LOSS, by_hand, MODEL_LOG_SOFTMAX)


@pytest.mark.parametrize(
    ("sigmoids", "layer"),
    [(TWO_CLASS_SIGMOID, TWO_CLASS_LAYER), (LABELS_SIGMOID, LABELS_LAYER), (SIGMOIDS, ACTIVATIONS)],
)
def test_sigmoid_is_the_softmax_against_zero_and_prints_as_in_the_notebooks(
    functional: ModuleType, sigmoids: Printed, layer: Printed
) -> None:
    assert_prints(sigmoids, torch.sigmoid, layer)
    assert_prints(sigmoids, lambda x: as_first_of_two(functional, x), layer)


def test_cross_entropy_of_sigmoid_outputs_prints_as_in_the_notebook(functional: ModuleType) -> None:
    assert_prints(
        TWO_CLASS_LOSS, lambda x: functional.cross_entropy(torch.sigmoid(x), TWO_CLASS_TRUTH), TWO_CLASS_LAYER
    )
    assert_prints(TWO_CLASS_LOSS, lambda p: functional.cross_entropy(p, TWO_CLASS_TRUTH), TWO_CLASS_SIGMOID)


def test_one_hot_truth_gives_the_cross_entropy_of_the_indices(functional: ModuleType) -> None:
    one_hot = torch.nn.functional.one_hot(TWO_CLASS_TRUTH)
    assert torch.equal(one_hot, TWO_CLASS_ONE_HOT)
    assert_prints(TWO_CLASS_LOSS, lambda p: functional.cross_entropy(p, one_hot.double()), TWO_CLASS_SIGMOID)


def test_entropy_of_each_row_in_bits_is_what_its_printed_prediction_allows(functional: ModuleType) -> None:
    # A float printed in full leaves no digits open; its input, printed to four, does.
    def entropies(p: Tensor) -> Tensor:
        return functional.nll_loss(torch.log2(p), TWO_CLASS_TRUTH, reduction="none")

    hot = exactly(ROW_ENTROPIES.value[range(5), TWO_CLASS_TRUTH])
    assert_prints(
        exactly(ROW_ENTROPIES.value), lambda p: -TWO_CLASS_ONE_HOT * torch.log2(p), TWO_CLASS_SIGMOID
    )
    assert_prints(hot, entropies, TWO_CLASS_SIGMOID)
    assert_prints(hot, lambda x: entropies(torch.sigmoid(x)), TWO_CLASS_LAYER)


def test_binary_cross_entropy_prints_as_in_the_notebook(functional: ModuleType) -> None:
    assert_prints(LABELS_LOSS, lambda p: functional.binary_cross_entropy(p, LABELS), LABELS_SIGMOID)
    assert_prints(
        LABELS_LOSS, lambda x: functional.binary_cross_entropy(torch.sigmoid(x), LABELS), LABELS_LAYER
    )
    assert_prints(LABELS_LOSS, lambda x: functional.binary_cross_entropy_with_logits(x, LABELS), LABELS_LAYER)


def test_binary_cross_entropy_refuses_the_targets_beyond_1_that_the_notebook_passes(
    functional: ModuleType,
) -> None:
    # torch computed it when the notebook was written and has refused since pytorch/pytorch#97814.
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        functional.binary_cross_entropy(BEYOND_SIGMOID.value, BEYOND_LABELS)


def test_the_formula_beyond_1_is_0_5909_and_reaches_the_printed_0_5911_within_its_inputs_digits(
    functional: ModuleType,
) -> None:
    # The derivative (x - t) / (x (1 - x)) keeps its sign for t <= 0 and for t >= 1, hence for every target
    # here: each element is monotone in its input and the corners that assert_prints takes are the ends of the
    # interval that the loss can reach.
    def formula(x: Tensor) -> Tensor:
        return -(BEYOND_LABELS * torch.log(x) + (1 - BEYOND_LABELS) * torch.log(1 - x)).mean()

    def with_logits(x: Tensor) -> Tensor:  # the one operator that still takes such targets
        return functional.binary_cross_entropy_with_logits(torch.logit(x), BEYOND_LABELS)

    for loss in formula, with_logits:
        assert_prints(BEYOND_LOSS_OF_THE_PRINTED_DIGITS, loss, exactly(BEYOND_SIGMOID.value))
        assert_prints(BEYOND_LOSS, loss, BEYOND_SIGMOID)


def xor_network(weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    return torch.sigmoid(torch.sigmoid(XOR_INPUT @ weight1.T + bias1) @ weight2.T + bias2)


def xor_gradients(
    cross_entropy_gradient: CrossEntropyGradient, parameters: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    predictions = xor_network(*parameters)
    upstream = cross_entropy_gradient(torch.ones((), dtype=torch.double), predictions, XOR_TRUTH, "mean")
    return torch.autograd.grad(predictions, parameters, upstream, create_graph=True)


def before_the_step(
    cross_entropy_gradient: CrossEntropyGradient, after: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The parameters from which one step of the notebook's optimizer leads to ``after``.

    They solve before = after + lr * gradient(before). The Hessian of the loss stays below 0.1 here, so each
    iteration divides the error by more than 300 and a dozen take it below float64. The step is a constant to
    autograd, which leaves the Jacobian wrong by less than one part in 300: enough for the signs that
    assert_prints reads from it.
    """
    before = after
    for _ in range(12):
        leaves = tuple(each.detach().requires_grad_() for each in before)
        gradients = xor_gradients(cross_entropy_gradient, leaves)
        before = tuple(
            each + XOR_LEARNING_RATE * gradient.detach()
            for each, gradient in zip(after, gradients, strict=True)
        )
    return before


def test_xor_loss_prints_as_in_the_notebook_from_predictions_and_from_parameters(
    functional: ModuleType,
) -> None:
    def from_parameters(*after: Tensor) -> Tensor:
        return functional.cross_entropy(
            xor_network(*before_the_step(by_autograd(functional), after)), XOR_TRUTH
        )

    assert_prints(XOR_LOSS, lambda p: functional.cross_entropy(p, XOR_TRUTH), XOR_PREDICTIONS)
    assert_prints(XOR_LOSS, from_parameters, *XOR_PARAMETERS)


def test_xor_parameters_were_printed_one_step_after_the_predictions_and_the_gradient(
    cross_entropy_gradient: CrossEntropyGradient,
) -> None:
    # Between the loss (cell 289) and the parameters (291, 292) a cell is missing: the optimizer's step. The
    # predictions are monotone in every parameter (no weight is within half a unit of changing sign), so the
    # refusal below proves that the printed parameters cannot have made them; one step back, the parameters
    # make everything that the notebook prints.
    def predictions(*after: Tensor) -> Tensor:
        return xor_network(*before_the_step(cross_entropy_gradient, after))

    def gradient(*after: Tensor) -> Tensor:
        return xor_gradients(cross_entropy_gradient, before_the_step(cross_entropy_gradient, after))[0]

    with pytest.raises(AssertionError, match="not within half a unit"):
        assert_prints(XOR_PREDICTIONS, xor_network, *XOR_PARAMETERS)
    assert_prints(XOR_PREDICTIONS, predictions, *XOR_PARAMETERS)
    assert_prints(XOR_GRADIENT, gradient, *XOR_PARAMETERS)


def test_sigmoid_of_the_difference_is_the_first_column_of_softmax(functional: ModuleType) -> None:
    assert torch.equal(SIGMOID_OF_DIFFERENCE.value, SOFTMAX.value[:, 0])
    assert_prints(SIGMOID_OF_DIFFERENCE, lambda x: (x[:, 0] - x[:, 1]).sigmoid(), ACTIVATIONS)
    assert_prints(
        SIGMOID_OF_DIFFERENCE, lambda x: as_first_of_two(functional, x[:, 0] - x[:, 1]), ACTIVATIONS
    )
    assert_prints(SIGMOID_OF_DIFFERENCE, lambda x: functional.softmax(x, dim=1)[:, 0], ACTIVATIONS)


def test_nll_loss_takes_no_log_but_selects_minus_the_column_of_each_target(functional: ModuleType) -> None:
    assert torch.equal(SOFTMAX.value[range(6), TARGET], SELECTED.value)
    assert torch.equal(functional.nll_loss(SOFTMAX.value, TARGET, reduction="none"), MINUS_SELECTED.value)
    assert_prints(
        MINUS_SELECTED,
        lambda x: functional.nll_loss(functional.softmax(x, dim=1), TARGET, reduction="none"),
        ACTIVATIONS,
    )


def test_mnist_loss_is_the_mean_of_1_minus_the_selected_probabilities(functional: ModuleType) -> None:
    # The notebook prints no value: the difference of the two is 0 for some activations and probabilities that
    # print as these do.
    def mnist_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        inputs = inputs.sigmoid()
        return torch.where(targets == 1, 1 - inputs, inputs).mean()

    def by_nll(x: Tensor, selected: Tensor) -> Tensor:
        return functional.nll_loss(functional.softmax(x, dim=1), TARGET) + selected.mean()

    zero = exactly(torch.zeros((), dtype=torch.double))
    assert_prints(
        zero,
        lambda x, selected: mnist_loss(x[:, 1] - x[:, 0], TARGET) - (1 - selected).mean(),
        ACTIVATIONS,
        SELECTED,
    )
    assert_prints(zero, by_nll, ACTIVATIONS, SELECTED)


def test_cross_entropy_of_each_row_prints_as_in_the_notebook(functional: ModuleType) -> None:
    assert_prints(LOSSES, lambda x: functional.cross_entropy(x, TARGET, reduction="none"), ACTIVATIONS)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_gradient_of_cross_entropy_is_softmax_minus_the_one_hot_target(
    cross_entropy_gradient: CrossEntropyGradient, reduction: str
) -> None:
    # A random upstream gradient, one for each loss that there is: a constant would hide where it goes.
    upstream = torch.randn(
        (6, 1) if reduction == "none" else (), generator=torch.Generator().manual_seed(0), dtype=torch.double
    )
    denominator = 6 if reduction == "mean" else 1
    one_hot = torch.nn.functional.one_hot(TARGET)

    def softmax_from_the_gradient(x: Tensor) -> Tensor:
        gradient = cross_entropy_gradient(upstream.squeeze(), x, TARGET, reduction)
        return gradient * denominator / upstream + one_hot

    assert_prints(SOFTMAX, softmax_from_the_gradient, ACTIVATIONS)
