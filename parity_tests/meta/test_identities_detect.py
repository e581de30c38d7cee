"""Every identity of every operator rejects a subject that breaks it, and none of them is blind on its inputs.

A planted subject is torch but for one thing; `FAULTS` says which identities see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F

from torch_loss_parity.claims.identities import Identity, checks, identities
from torch_loss_parity.claims.identities.compositions import WIDE, Bounds
from torch_loss_parity.claims.identities.judgement import compare, explain, verify_identity
from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.judging.settle import CLOSE
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.meta import planted_identities as planted
from torch_loss_parity.meta import planted_identities_of_elements as planted_elements
from torch_loss_parity.meta import planted_linear_classes as of_layers
from torch_loss_parity.meta import planted_logsumexp as of_sums
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.reference.arithmetic.error import Error, Unknown
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.builtin import function_of
from torch_loss_parity.subjects.settings import Settings

ROWS, CLASSES, ELEMENTS = (
    tuple(name for name, operator in OPERATORS.items() if operator.family.name == family)
    for family in ("rows", "classes", "elements")
)
LOSSES = (*CLASSES, *ELEMENTS)
NORMALISED, SUMS = ("softmax", "log_softmax"), ("logsumexp",)
LAYERS = ("linear_cross_entropy",)
LOGITS = "binary_cross_entropy_with_logits"
BINARY = "binary_cross_entropy"

# What is wrong; the operators it is planted in; the identities that must see it, in each of them.
FAULTS: tuple[tuple[Callable[..., Any], tuple[str, ...], tuple[str, ...]], ...] = (
    (planted.clipped_upstream, (*ROWS, *LOSSES), ("the gradient is linear in the upstream gradient",)),
    (
        planted.last_class_not_summed,
        NORMALISED,
        ("classes in another order", "classes that are there twice share the probability"),
    ),
    (planted.last_class_not_summed, ("softmax",), ("rows sum to 1",)),
    (planted.sum_of_the_row_before, NORMALISED, ("rows in another order", "rows that are there twice")),
    (planted.not_shifted, NORMALISED, ("a shift of a row changes nothing",)),
    (planted.masked_to_zero, NORMALISED, ("a class at -inf is no class",)),
    (planted.sum_of_gradient_forgotten, NORMALISED, ("rows of the gradient sum to 0",)),
    (planted.sum_of_gradient_forgotten, ("softmax",), ("a constant upstream gradient has gradient 0",)),
    (planted.result_converted, NORMALISED, ("dtype= is converting first",)),
    (of_layers.multiplied, LAYERS, ("cross_entropy of the product",)),
    (of_layers.layer_clamped, LAYERS, ("a feature that all classes share changes nothing",)),
    (of_layers.first_class_enlarged, LAYERS, ("classes of a layer in another order",)),
    (of_layers.last_feature_dropped, LAYERS, ("features in another order",)),
    (
        of_layers.first_row_enlarged,
        LAYERS,
        ("rows of the input in another order", "a sum over chunks of rows"),
    ),
    (of_layers.bias_halved, LAYERS, ("a bias is a feature of ones",)),
    (of_layers.scaled_by_features, LAYERS, ("a feature of zeros changes nothing",)),
    (of_layers.first_position_for_all, LAYERS, ("positions of a layer are rows",)),
    (of_sums.last_not_summed, SUMS, ("classes in another order", "classes that are there twice add log 2")),
    (of_sums.shift_of_the_row_before, SUMS, ("rows in another order", "rows that are there twice")),
    (of_sums.sum_not_shifted, SUMS, ("a shift of a row is added to the result",)),
    (of_sums.summed_with_zero_for_masked, SUMS, ("a class at -inf is no class",)),
    (of_sums.gradient_halved, SUMS, ("rows of the gradient sum to the upstream gradient",)),
    (of_sums.sum_with_epsilon, SUMS, ("log_softmax is the difference to logsumexp",)),
    (
        planted.log_softmax_with_epsilon,
        ("log_softmax",),
        ("log-probabilities are at most 0", "log_softmax of log_softmax = log_softmax"),
    ),
    (planted.log_softmax_clamped, ("log_softmax",), ("exp of log_softmax = softmax",)),
    (
        planted.mean_over_rows,
        CLASSES,
        (
            "sum and mean are those of the losses",
            "micro-batches add up",
            "weights times 4",
            "an ignored row changes nothing",
            "a class weight of 2 is every row of the class twice",
        ),
    ),
    (
        planted.mean_over_rows,
        ("cross_entropy",),
        ("index targets = one-hot targets", "nll_loss of log_softmax"),
    ),
    (
        planted.mean_of_micro_batch_means,
        CLASSES,
        ("sum and mean are those of the losses", "micro-batches add up"),
    ),
    (
        planted.mean_of_nothing_is_zero,
        CLASSES,
        ("all rows ignored: mean is nan, sum is 0, the gradient is 0",),
    ),
    (planted.ignore_index_unread, CLASSES, ("another ignore_index",)),
    (planted.target_of_the_row_before, LOSSES, ("rows in another order", "rows that are there twice")),
    (
        planted.weight_of_the_class_before,
        CLASSES,
        ("classes in another order", "a class weight of 2 is every row of the class twice"),
    ),
    (planted.normalised_weight, LOSSES, ("weights of 1 are no weights", "weights times 4")),
    (planted.normalised_weight, ELEMENTS, ("a weight multiplies each loss",)),
    (planted.transposed_positions, CLASSES, ("positions are rows",)),
    (planted.sign_forgotten, LOSSES, ("losses are at least 0",)),
    (planted.nll_loss_clamped, ("nll_loss",), ("a shift of a row is subtracted, times the weight",)),
    (planted.nll_loss_unweighted_backward, ("nll_loss",), ("rows of the gradient sum to minus the weight",)),
    (
        planted.cross_entropy_with_epsilon,
        ("cross_entropy",),
        (
            "nll_loss of log_softmax",
            "index targets = one-hot targets",
            "two classes: binary_cross_entropy_with_logits of the difference",
        ),
    ),
    (planted.cross_entropy_not_shifted, ("cross_entropy",), ("a shift of a row changes nothing",)),
    (
        planted.cross_entropy_identity_backward,
        ("cross_entropy",),
        ("rows of the gradient sum to 0", "nll_loss of log_softmax"),
    ),
    (
        planted.cross_entropy_weighted_mean_of_probabilities,
        ("cross_entropy",),
        ("index targets = one-hot targets",),
    ),
    (
        planted.cross_entropy_smoothing_of_others,
        ("cross_entropy",),
        ("label smoothing is a mixture with uniform targets",),
    ),
    (
        planted.cross_entropy_smoothing_not_masked,
        ("cross_entropy",),
        ("label smoothing is a mixture with uniform targets",),
    ),
    (planted.cross_entropy_smoothing_not_masked, ("cross_entropy",), ("an ignored row changes nothing",)),
    (
        planted.cross_entropy_smoothing_unread_with_probabilities,
        ("cross_entropy",),
        ("smoothed probabilities are a mixture with uniform ones",),
    ),
    (planted.cross_entropy_smoothed_twice, ("cross_entropy",), ("the loss is linear in the smoothing",)),
    (planted.cross_entropy_smoothed_by_default, ("cross_entropy",), ("no smoothing is none",)),
    (
        planted.cross_entropy_half_target_gradient,
        ("cross_entropy",),
        ("the loss is what its gradients add up to",),
    ),
    (
        planted.cross_entropy_half_weight_gradient,
        ("cross_entropy",),
        ("the loss is what its gradients add up to",),
    ),
    (
        planted_elements.mean_over_weights,
        ELEMENTS,
        ("sum and mean are those of the losses", "micro-batches add up", "weights times 4"),
    ),
    (planted_elements.epsilon_in_the_logarithms, ELEMENTS, ("losses are at least 0",)),
    (planted_elements.epsilon_in_the_logarithms, (LOGITS,), ("binary_cross_entropy of the sigmoid",)),
    (planted_elements.epsilon_for_one, (LOGITS,), ("the other class: -x and 1 - t",)),
    (planted_elements.epsilon_for_one, (BINARY,), ("the other class: 1 - x and 1 - t",)),
    (planted_elements.hard_targets, ELEMENTS, ("the loss is linear in the target",)),
    (planted_elements.one_weight_for_all, ELEMENTS, ("a weight that broadcasts = the same expanded",)),
    (planted_elements.pos_weight_added, (LOGITS,), ("pos_weight of 1 is none",)),
    (planted_elements.pos_weight_of_negatives, (LOGITS,), ("pos_weight is the weight of positives",)),
)
CELLS = [
    (fault, operator, name) for fault, operators, names in FAULTS for operator in operators for name in names
]
RIGHT = Subject("planted", F, "")
HALF_AND_WIDEST = ("float16", "float64")  # the others are computed as the first, or as the second


def named(name: str, operator: str) -> Identity:
    """The identity of that name that an operator obeys, or is needed for."""
    (named_one,) = (
        identity
        for identity in identities()
        if identity.name == name and operator in (*identity.operators, *identity.needs)
    )
    return named_one


def counted_for(identity: Identity, operator: str) -> str:
    return operator if operator in identity.operators else identity.operators[0]


def wrong_subject(fault: Callable[..., Any], operator: str) -> Subject:
    """torch.nn.functional with the fault in one operator; what differs by operator is made for it."""
    function = fault(operator) if fault.__code__.co_varnames[0] == "operator" else fault
    functions = {name: function_of(record) for name, record in OPERATORS.items()} | {operator: function}
    return Subject("planted", SimpleNamespace(**functions), "")


@pytest.fixture(autouse=True, scope="module")
def bounds_are_evaluated_once() -> Iterator[None]:
    """Many faults are judged by the same identities."""
    expectation_cache.keep()
    yield
    expectation_cache.forget()


def failing(
    identity: Identity, operator: str, subject: Subject, dtypes: Sequence[str] = DTYPES
) -> Iterator[Any]:
    for dtype in dtypes:
        for variant in identity.variants(operator, dtype, "standard", 0):
            for comparison in verify_identity(identity, operator, dtype, variant, subject, "cpu"):
                if not comparison.finding.verdict.passes:
                    yield comparison


@pytest.mark.parametrize(
    ("fault", "operator", "name"), CELLS, ids=[f"{op}, {fault.__name__}: {name}" for fault, op, name in CELLS]
)
def test_an_identity_rejects(fault: Callable[..., Any], operator: str, name: str) -> None:
    identity = named(name, operator)
    assert any(
        True for _ in failing(identity, counted_for(identity, operator), wrong_subject(fault, operator))
    )


@pytest.mark.parametrize(
    ("fault", "operator"),
    sorted({(fault, operator) for fault, operator, _ in CELLS}, key=str),
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_fault_is_one_thing(fault: Callable[..., Any], operator: str) -> None:
    """There are identities that the subject obeys: what rejects it sees what is wrong with it."""
    subject = wrong_subject(fault, operator)
    others = (identity for identity in identities() if operator in identity.operators)
    assert any(next(failing(identity, operator, subject, ("float32",)), None) is None for identity in others)


def test_every_identity_of_every_operator_has_a_fault_that_it_rejects() -> None:
    without = {(identity.name, operator) for identity in identities() for operator in identity.operators}
    assert without == {(name, counted_for(named(name, operator), operator)) for _, operator, name in CELLS}


def test_names_are_unique_for_each_operator() -> None:
    names = [(identity.name, operator) for identity in identities() for operator in identity.operators]
    assert len(names) == len(set(names))


@cache
def definitions(dtype: str) -> list[tuple[str, Any, Any]]:
    """Every identity of every operator once, both sides in the rounding arithmetic."""
    listed = []
    for identity in identities():
        for operator in identity.operators:
            for variant in identity.variants(operator, dtype, "quick", 0):
                pairs = identity.pairs(
                    Bounds(operator, dtype, RIGHT, "cpu"), identity.draw(operator, dtype, variant)
                )
                listed += [
                    (f"{operator}, {identity.name}, {quantity}", left, right)
                    for quantity, left, right in pairs
                ]
    return listed


@pytest.mark.whole_runs
@pytest.mark.parametrize("dtype", HALF_AND_WIDEST)
def test_the_definitions_obey_every_identity(dtype: str) -> None:
    """Not within what rounding allows: within what the evaluation costs, where there is a wider type to
    evaluate in.
    """
    room = CLOSE if WIDE.compute.precision > FORMATS[dtype].precision else 1.0
    for name, left, right in definitions(dtype):
        allowed = left.total_error() + (right.total_error() if isinstance(right, Rounded) else 0.0)
        value = right.value if isinstance(right, Rounded) else right
        with np.errstate(invalid="ignore"):
            same = np.where(
                np.isfinite(left.value),
                np.abs(left.value - value) <= room * allowed,
                np.equal(left.value, value),
            )
        assert np.all(same | (np.isnan(left.value) & np.isnan(value))), name


@pytest.mark.parametrize("dtype", HALF_AND_WIDEST)
def test_no_bound_is_larger_than_what_it_bounds(dtype: str) -> None:
    """Nor are both sides 0, but where the identity says 0."""
    for name, left, right in definitions(dtype):
        if isinstance(right, Rounded):
            size = np.sum(np.abs(right.value))
            assert 0 < size < np.inf, name
            assert np.sum(left.total_error()) + np.sum(right.total_error()) < size, name


def test_an_element_that_leaves_its_row_is_seen() -> None:
    """Of a long row every element may be off by what its sum may be; one alone may not."""
    identity = named("a shift of a row changes nothing", "softmax")
    variant = next(identity.variants("softmax", "float32", "quick", 0))
    variant = type(variant)(variant.options, (1, 4096), 0)
    inputs = identity.draw("softmax", "float32", variant)
    functions = Bounds("softmax", "float32", RIGHT, "cpu")
    _, left, right = identity.pairs(functions, inputs)[0]
    value = right.value
    allowed = float(np.max(left.error.total_relative + right.error.total_relative))
    assert compare(value * (1 + allowed / 2), value, left, right, "float32").passes  # all of them
    alone = np.ones((1, 4096))
    alone[0, 7] += allowed / 2
    assert not compare(value * alone, value, left, right, "float32").passes


def test_whatever_two_bounds_allow_is_accepted() -> None:
    """Note [Two sides] on random errors, the largest ones among them: both sides of one number, anywhere
    within their bounds.
    """
    rng = np.random.default_rng(0)
    shape = (200, 6)
    nearly = 1 - 2.0**-20  # what this test itself rounds is not to matter
    for relative_is_shared, absolute_is_shared in ((1, 0), (0, 1), (1, 1), (0, 0)) * 4:
        value = rng.normal(0, 3, shape)
        sides, bounds = [], []
        common = rng.uniform(-0.1, 0.1, (2, *shape))
        for _ in range(2):
            relative, absolute = rng.uniform(0, 0.02, (2, *shape)) * rng.integers(0, 2, (2, 1, 1))
            r, a = common + rng.uniform(-0.05, 0.05, (2, *shape))
            r, a = r * relative_is_shared, a * absolute_is_shared
            rho, alpha = rng.choice([-nearly, nearly], (2, *shape))
            tau = rng.choice([-nearly, 0.1, nearly], (shape[0], 1))
            sides.append(value * np.exp(relative * rho + r * tau) + absolute * alpha + a * tau)
            bounds.append(Rounded(value, WIDE, Error(relative, absolute, {Unknown(-1): (r, a)})))
        assert compare(sides[0], sides[1], bounds[0], bounds[1], "float32").passes


def test_a_failure_says_what_was_compared() -> None:
    identity = named("index targets = one-hot targets", "cross_entropy")
    subject = wrong_subject(planted.mean_over_rows, "cross_entropy")
    message = explain(next(failing(identity, "cross_entropy", subject)), identity, subject, "cpu")
    for line in (
        "index targets = one-hot targets",
        "reduction=mean",
        "input",
        "target",
        "left",
        "right",
        "allowed",
        "one_hot",
    ):
        assert line in message


@pytest.mark.whole_runs
def test_no_weighted_mean_divides_by_the_number_of_rows_by_chance() -> None:
    """Index and one-hot targets differ by the quotient of two denominators, which is not 1."""
    for operator in CLASSES:
        for identity in identities():
            for variant in (
                identity.variants(operator, "float32", "thorough", 0)
                if operator in identity.operators
                else ()
            ):
                if variant.options["kind"] != "probabilities":
                    inputs = identity.draw(operator, "float32", variant)
                    assert inputs["denominator"] != inputs["count"]


def test_what_an_identity_needs_and_a_subject_lacks_is_named() -> None:
    assert {name for identity in identities() for name in identity.needs} <= set(OPERATORS)
    lacking = replace(
        Settings.of("torch", "cpu", "float32", "quick", 0),
        subject=Subject("lacking", SimpleNamespace(softmax=F.softmax), ""),
    )
    identity = named("exp of log_softmax = softmax", "softmax")
    with pytest.raises(pytest.skip.Exception, match="not offered: lacking has no log_softmax"):
        checks.identity_holds(
            OPERATORS["softmax"], "float32", lacking, Tally("softmax", "float32"), identity=identity
        )
