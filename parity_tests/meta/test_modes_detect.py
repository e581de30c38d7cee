"""Every mode is shown to fail: subjects with a fault that only some modes can see.

Where it is not at fault, the implementation is torch's own on benign values in float32, so what is rejected
is the planted fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.modes.directional import CREATE_GRAPH, FORWARD_AD, JVP, JVP_OF_VJP, VJP_TWICE
from torch_loss_parity.claims.modes.drives import splits
from torch_loss_parity.claims.modes.first_order import FIRST_ORDER
from torch_loss_parity.claims.modes.second_order import SECOND_ORDER, verify_second_order
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.tensors.torch_private import is_transformed

BACKWARD, SCALED, RETAINED, AGAIN, ONE, *FROZEN, MICRO = FIRST = tuple(mode.name for mode in FIRST_ORDER)
INPUT_FROZEN = FROZEN[0]


def subject(**functions: Callable[..., Any]) -> Subject:
    return Subject("planted", SimpleNamespace(**functions), "")


def case_of(operator: str, **options: Any) -> Case:
    values = {
        "binary_cross_entropy": "uniform_probabilities",
        "nll_loss": "log_probabilities",
        "linear_cross_entropy": "products",
    }.get(operator, "normal")
    given = {"dim": 1} if "dim" in OPERATORS[operator].options else {"reduction": "none"}
    return OPERATORS[operator].case("float32", (4, 3), values, given | options, 5)


def failing_modes(faulty: Subject, case: Case) -> set[str]:
    """The modes that reject a subject: by a verdict, by refusing what it returns or by what it raises."""
    rejecting = {}
    for mode in FIRST_ORDER:
        rejecting[mode.name] = [(verify_in_modes([mode]), case)]
    for second in SECOND_ORDER:  # several seeds: which argument the direction belongs to follows from it
        several = [replace(case, seed=case.seed + k) for k in range(3)]
        rejecting[second.name] = [
            (lambda s, c, second=second: verify_second_order(s, c, modes=[second]), each) for each in several
        ]
    return {
        name
        for name, runs in rejecting.items()
        if not all(_passes(verify, faulty, each) for verify, each in runs)
    }


def _passes(verify: Callable[..., Any], faulty: Subject, case: Case) -> bool:
    try:
        return all(finding.verdict.passes for finding in verify(faulty, case))
    except (RuntimeError, WrongResult):
        return False


# --- planted faults -----------------------------------------------------------------------------------------


class Softmax(torch.autograd.Function):
    """Softmax with its derivatives by hand, right as they are here."""

    @staticmethod
    def forward(x: torch.Tensor, dim: int) -> torch.Tensor:
        return functional.softmax(x, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (p,) = ctx.saved_tensors
        return p * (g - (g * p).sum(ctx.dim, keepdim=True)), None

    @staticmethod
    def jvp(ctx: Any, v: torch.Tensor, _: Any) -> torch.Tensor:
        (p,) = ctx.saved_tensors
        return p * (v - (v * p).sum(ctx.dim, keepdim=True))


class WrongDoubleBackward(Softmax):
    """Differentiates its backward as if the probabilities in it were constants."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        p = ctx.saved_tensors[0].detach()
        return p * (g - (g * p).sum(ctx.dim, keepdim=True)), None


class NoDoubleBackward(Softmax):
    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            raise NotImplementedError("the derivative of the backward is not implemented")
        return Softmax.backward(ctx, g)


class WrongTangent(Softmax):
    @staticmethod
    def jvp(ctx: Any, v: torch.Tensor, _: Any) -> torch.Tensor:
        return ctx.saved_tensors[0] * v


class IgnoredTangent(Softmax):
    @staticmethod
    def jvp(ctx: Any, v: torch.Tensor, _: Any) -> torch.Tensor:
        return torch.zeros_like(v)


class FailsTheSecondTime(Softmax):
    """The backward overwrites what was saved for it."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        p = getattr(ctx, "overwritten", ctx.saved_tensors[0])
        gradient = p * (g - (g * p).sum(ctx.dim, keepdim=True))
        ctx.overwritten = gradient.detach()
        return gradient, None


def of(function: type[Softmax]) -> Subject:
    return subject(softmax=lambda input, dim, dtype=None: function.apply(input, dim))


def with_gradient_times(factor: Callable[[torch.Tensor, torch.Tensor], float]) -> Subject:
    """binary_cross_entropy with a right result, whose gradient is ``factor`` of (input, target) times what it
    should be.
    """

    def binary_cross_entropy(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        loss = functional.binary_cross_entropy(input, target, **options)
        return loss.detach() + factor(input, target) * (loss - loss.detach())

    return subject(binary_cross_entropy=binary_cross_entropy)


class ForgetsTheUpstream(torch.autograd.Function):
    """A sum whose backward takes the upstream gradient for 1, as it is in loss.backward()."""

    @staticmethod
    def forward(ctx: Any, losses: torch.Tensor) -> torch.Tensor:
        ctx.shape = losses.shape
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        return torch.ones(ctx.shape, dtype=g.dtype)


def sum_that_forgets(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    return ForgetsTheUpstream.apply(functional.nll_loss(input, target, **options | {"reduction": "none"}))


def without_functorch(input: torch.Tensor, target: torch.Tensor) -> float:
    return 2.0 if is_transformed(input) or is_transformed(target) else 1.0


def layer_waits_for_the_input(
    input: torch.Tensor, linear_weight: torch.Tensor, target: torch.Tensor, **options: Any
) -> torch.Tensor:
    """The gradient of the layer is left out where only that of the bias is asked for beside it."""
    if linear_weight.requires_grad and not input.requires_grad and options["linear_bias"].requires_grad:
        linear_weight = linear_weight.detach()
    return torch.nn.functional.linear_cross_entropy(input, linear_weight, target, **options)


SOFTMAX, BCE = case_of("softmax"), case_of("binary_cross_entropy")
# Who must reject it, and who has no reason to.
FAULTS: list[tuple[str, Subject, Case, tuple[str, ...], tuple[str, ...]]] = [
    ("a double backward of constants", of(WrongDoubleBackward), SOFTMAX, (CREATE_GRAPH,), FIRST),
    ("a wrong tangent", of(WrongTangent), SOFTMAX, (FORWARD_AD,), (*FIRST, CREATE_GRAPH)),
    ("an ignored tangent", of(IgnoredTangent), SOFTMAX, (FORWARD_AD,), (*FIRST, CREATE_GRAPH)),
    (
        "a backward that fails the second time",
        of(FailsTheSecondTime),
        SOFTMAX,
        (AGAIN,),
        tuple({*FIRST} - {AGAIN}),
    ),
    (
        "an upstream gradient taken for 1",
        subject(nll_loss=sum_that_forgets),
        case_of("nll_loss", reduction="sum"),
        (BACKWARD, SCALED),
        (),
    ),
    (
        "right for four rows only",
        with_gradient_times(lambda x, t: x.shape[0] / 4),
        BCE,
        (MICRO,),
        (*{*FIRST} - {MICRO}, CREATE_GRAPH),
    ),
    (
        "a target's gradient that needs the input's",
        with_gradient_times(lambda x, t: 1.0 if x.requires_grad or not t.requires_grad else 2.0),
        BCE,
        (ONE,),
        tuple({*FIRST} - {ONE}),
    ),
    (
        "a layer without a gradient where the input is frozen",
        subject(linear_cross_entropy=layer_waits_for_the_input),
        case_of("linear_cross_entropy", linear_bias="any_sign"),
        (INPUT_FROZEN,),
        tuple({*FIRST} - {INPUT_FROZEN}),
    ),
    (
        "wrong under torch.func",
        with_gradient_times(without_functorch),
        BCE,
        (VJP_TWICE, JVP, JVP_OF_VJP),
        (*FIRST, CREATE_GRAPH, FORWARD_AD),
    ),
]


@pytest.mark.parametrize(
    ("faulty", "case", "must", "need_not"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_detects(faulty: Subject, case: Case, must: tuple[str, ...], need_not: tuple[str, ...]) -> None:
    """A fault is rejected by the modes that can see it, and by none that cannot."""
    failing = failing_modes(faulty, case)
    assert set(must) <= failing
    assert not set(need_not) & failing


@pytest.mark.parametrize("operator", OPERATORS)
def test_torch_is_accepted_on_the_same_cases(operator: str) -> None:
    assert not failing_modes(load("torch", ()), case_of(operator))


def test_what_is_not_implemented_is_not_offered_and_fails_for_torch_unless_the_ledger_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (mode,) = (mode for mode in SECOND_ORDER if mode.name == CREATE_GRAPH)
    (finding,) = verify_second_order(of(NoDoubleBackward), SOFTMAX, modes=[mode])
    assert finding.declined.startswith(f"{CREATE_GRAPH}: ")
    torchs = replace(of(NoDoubleBackward), name="torch")
    with pytest.raises(
        WrongResult, match=f"{CREATE_GRAPH} along input of softmax raises NotImplementedError"
    ):
        list(verify_second_order(torchs, SOFTMAX, modes=[mode]))
    arguments = []

    def shortfall(*sentence: str) -> Any:
        arguments.append(sentence)
        return SimpleNamespace(id="known")

    monkeypatch.setattr(ledger, "shortfall", shortfall)
    (finding,) = verify_second_order(torchs, SOFTMAX, modes=[mode])
    assert (finding.divergence, finding.verdict.passes) == ("known", True)
    assert arguments == [("torch", "cpu", "modes", "softmax", "float32", f"{CREATE_GRAPH} along input")]


def test_a_failure_says_how_to_reproduce_it() -> None:
    (mode,) = (mode for mode in SECOND_ORDER if mode.name == FORWARD_AD)
    (finding,) = verify_second_order(of(WrongTangent), SOFTMAX, modes=[mode])
    text = explain(finding, of(WrongTangent), "cpu")
    assert f"the jvp along input {FORWARD_AD} is wrong" in text
    assert "input = torch.autograd.forward_ad.make_dual(input, v)" in text


def test_rows_are_split_only_where_the_parts_add_up() -> None:
    def splittable(operator: str, **options: Any) -> bool:
        return splits(OPERATORS[operator].call(case_of(operator, **options)))

    assert splittable("softmax")
    assert not splittable("softmax", dim=0)
    assert splittable("nll_loss", reduction="mean")
    assert splittable("nll_loss", reduction="sum", weight="positive", ignored="some")
    assert not splittable("nll_loss", reduction="mean", weight="positive")
    assert not splittable("nll_loss", reduction="mean", ignored="all")
    assert not splittable("cross_entropy", target="probabilities", weight="positive")
    assert not splits(OPERATORS["binary_cross_entropy"].call(replace(BCE, shape=(3,))))
    odd = OPERATORS["binary_cross_entropy"].call(
        replace(BCE, shape=(3, 2), options=(*BCE.options[:0], *dict(BCE.option, reduction="mean").items()))
    )
    assert not splits(odd)


def test_a_subnormal_gradient_under_a_loss_scale_is_rounded_once() -> None:
    """Rounded to bfloat16 as it is scaled, and once more as it is divided, an element leaves its bound."""
    option = {"dim": 2, "dtype": "float64"}
    case = OPERATORS["softmax"].case("bfloat16", (3, 33, 2), "wide", option, 5)
    (scaled,) = (mode for mode in FIRST_ORDER if mode.name == SCALED)
    right = load("right:softmax-is-differentiated-twice-from-what-was-stored", ("softmax",))
    for finding in verify_in_modes([scaled])(right, case):
        assert finding.verdict.passes, explain(finding, right, "cpu")
