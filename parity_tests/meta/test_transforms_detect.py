"""Planted faults of transforms, each rejected by the test that is to see it: what passes a plain call and
goes wrong when transformed.

Each fault is a subject, or a module, that is right when it is called plainly; `torch.nn.functional` itself
passes the same checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.transforms import compilation, modules, transforms
from torch_loss_parity.claims.transforms.compiled_calls import programs_of, rewritten_of
from torch_loss_parity.claims.transforms.transform_cases import CLAIM, Attempt, check_attempts
from torch_loss_parity.judging.judge import verify_forward
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.run_cases import Verify
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import tensors
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.torch_private import all_slices, is_mapped

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)


def case_of(
    name: str,
    shape: tuple[int, ...] = (4, 5),
    values: str | None = None,
    dtype: str = "float32",
    **options: Any,
) -> Case:
    operator = OPERATORS[name]
    return operator.case(dtype, shape, values or next(iter(operator.values)), options, 3)


def found_by(verify: Verify, case: Case, subject: Any) -> Tally:
    """What the check counts; raises what it raises."""
    tally = Tally(case.operator, case.dtype, CLAIM)
    settings = replace(SETTINGS, subject=Subject("planted", subject, ""))
    check_attempts([Attempt("planted", case, verify)], settings, tally)
    return tally


def only_when_mapped(name: str, wrong: Callable[..., Any]) -> Any:
    """A subject that is right in a plain call and ``wrong`` under vmap."""
    right = getattr(F, name)

    def function(*arguments: Any, **options: Any) -> Any:
        mapped = any(isinstance(x, torch.Tensor) and is_mapped(x) for x in (*arguments, *options.values()))
        return (wrong if mapped else right)(*arguments, **options)

    return SimpleNamespace(**{name: function})


# --- vmap ---------------------------------------------------------------------------------------------------


def drops_ignore_index(input: Any, target: Any, ignore_index: int, **options: Any) -> Any:
    return F.nll_loss(input, torch.where(target == ignore_index, 0, target), **options)


def sums_over_the_batch(input: Any, dim: int, dtype: Any = None) -> Any:
    return F.softmax(input, dim) * 0 + F.softmax(all_slices(input), dim).sum(0)


def first_weight(input: Any, target: Any, weight: Any, **options: Any) -> Any:
    return F.nll_loss(input, target, all_slices(weight)[0], **options)


def first_pos_weight(input: Any, target: Any, pos_weight: Any, **options: Any) -> Any:
    return F.binary_cross_entropy_with_logits(input, target, pos_weight=all_slices(pos_weight)[0], **options)


def mean_over_the_batch(input: Any, target: Any, **options: Any) -> Any:
    return F.binary_cross_entropy(input, target, **options) / transforms.SLICES


VMAP_FAULTS: Sequence[tuple[Callable[..., Any], Case, tuple[str, ...]]] = (
    (drops_ignore_index, case_of("nll_loss", ignored="some", ignore_index=-1), ("input", "target")),
    (drops_ignore_index, case_of("nll_loss", ignored="some", ignore_index=7), ("target",)),
    (sums_over_the_batch, case_of("softmax", dim=-1), ("input",)),
    (first_weight, case_of("nll_loss", weight="positive"), ("weight",)),
    (first_weight, case_of("nll_loss", weight="positive", reduction="sum"), ("input", "target", "weight")),
    (first_pos_weight, case_of("binary_cross_entropy_with_logits", pos_weight="full"), ("pos_weight",)),
    (mean_over_the_batch, case_of("binary_cross_entropy"), ("input",)),
)


@pytest.mark.parametrize(
    ("wrong", "case", "names"), VMAP_FAULTS, ids=[f"{w.__name__}, {'+'.join(n)}" for w, _, n in VMAP_FAULTS]
)
def test_a_wrong_batch_rule_passes_plainly_and_fails_under_vmap(
    wrong: Any, case: Case, names: tuple[str, ...]
) -> None:
    subject = only_when_mapped(case.operator, wrong)
    assert all(finding.verdict.passes for finding in verify_forward(Subject("planted", subject, ""), case))
    found_by(transforms.verify_vmap(names), case, F)
    with pytest.raises(
        AssertionError,
        match=rf"under torch.func.vmap over {'.'.join(names)}.*the slice is "
        rf"right",
    ):
        found_by(transforms.verify_vmap(names), case, subject)


def test_a_wrong_batch_rule_fails_when_mapped_twice_and_in_the_gradient_of_a_sample() -> None:
    case = case_of("nll_loss", ignored="some", ignore_index=-1)
    subject = only_when_mapped("nll_loss", drops_ignore_index)
    for verify in (
        transforms.verify_nested_vmap(("input", "target")),
        transforms.verify_per_sample_gradients(("input", "target")),
    ):
        found_by(verify, case, F)
        with pytest.raises(AssertionError, match=r"under torch.func.vmap .*in slice"):
            found_by(verify, case, subject)


@pytest.mark.parametrize("in_dim", [0, -1])
def test_results_in_the_order_of_another_dimension_fail(in_dim: int) -> None:
    reversed_slices = SimpleNamespace(
        softmax=lambda input, dim, dtype=None: (
            F.softmax(input, dim) * 0 + F.softmax(all_slices(input).movedim(in_dim, 0).flip(0)[0], dim)
        )
    )
    with pytest.raises(AssertionError, match="in slice 0 of 3"):
        found_by(transforms.verify_vmap(("input",), in_dim), case_of("softmax", dim=-1), reversed_slices)


# --- torch.func, and the modes without a graph --------------------------------------------------------------


def test_a_softmax_detached_from_its_input_fails_as_a_gradient_and_as_a_jacobian() -> None:
    detached = SimpleNamespace(
        softmax=lambda input, dim, dtype=None: (
            F.softmax(input, dim) + 0 * input.detach() + (input - input) * 0.0
        )
    )
    constant = SimpleNamespace(
        softmax=lambda input, dim, dtype=None: F.softmax(input.detach(), dim) + 0 * input,
        cross_entropy=lambda input, target, **options: (
            2 * F.cross_entropy(input, target, **options) - F.cross_entropy(input, target, **options).detach()
        ),
    )
    for verify in (verify_in_modes(transforms.FUNCTION_MODES), transforms.verify_jacobian):
        found_by(verify, case_of("softmax", (2, 4)), detached)
        with pytest.raises(AssertionError, match=r"under torch.func.(vjp|jacrev)"):
            found_by(verify, case_of("softmax", (2, 4)), constant)
    with pytest.raises(AssertionError, match=r"under torch.func.grad"):
        found_by(transforms.verify_grad, case_of("cross_entropy"), constant)


def test_a_result_that_records_a_graph_under_no_grad_fails() -> None:
    @torch.enable_grad()
    def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return F.softmax(input, dim)

    with pytest.raises(AssertionError, match="the result under no_grad records a graph"):
        found_by(
            verify_in_modes(transforms.FUNCTION_MODES[1:]),
            case_of("softmax"),
            SimpleNamespace(softmax=softmax),
        )


# --- torch.nn, size_average and reduce ----------------------------------------------------------------------


class WithoutWeight(torch.nn.NLLLoss):
    """Keeps its weight and ignores it."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.nll_loss(input, target, None, ignore_index=self.ignore_index, reduction=self.reduction)


class Stateless(torch.nn.NLLLoss):
    """Uses its weight and does not save it."""

    def __init__(self, weight: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.register_buffer("weight", weight, persistent=False)


class Copied(torch.nn.NLLLoss):
    """Uses the weight that it was built with, not the one that was loaded."""

    def __init__(self, weight: Any = None, **options: Any) -> None:
        super().__init__(weight, **options)
        self.own = [None if weight is None else weight.clone()]

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.nll_loss(
            input, target, self.own[0], ignore_index=self.ignore_index, reduction=self.reduction
        )


@pytest.mark.parametrize(
    ("module", "message"),
    [(WithoutWeight, "as a module of torch.nn is wrong"), (Stateless, "the state_dict holds .*, expected"),
     (Copied, "with the state_dict of another is wrong")],
)  # fmt: skip
def test_a_module_that_ignores_or_loses_its_weight_fails(module: Any, message: str) -> None:
    case = case_of("nll_loss", weight="positive")
    found_by(verify_in_modes(modules.module_modes()), case, F)
    with pytest.raises(AssertionError, match=message):
        found_by(verify_in_modes(modules.module_modes(SimpleNamespace(NLLLoss=module))), case, F)


def test_a_softmax_2d_along_the_rows_fails() -> None:
    wrong = SimpleNamespace(Softmax=torch.nn.Softmax, Softmax2d=lambda: torch.nn.Softmax(-1))
    with pytest.raises(AssertionError, match=r"as a 2-d module of torch.nn is wrong"):
        found_by(verify_in_modes(modules.module_modes(wrong)), case_of("softmax", (2, 3, 4), dim=0), F)


def flipped(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, **options: Any
) -> Any:
    return F.nll_loss(input, target, size_average=not size_average, reduce=reduce, **options)


def silent(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, **options: Any
) -> Any:
    return F.nll_loss(input, target, reduction=modules.LEGACY[size_average, reduce], **options)


@pytest.mark.parametrize(
    ("function", "message"),
    [(flipped, "expected the warning|is wrong"), (silent, "expected the warning .*, got none")],
)
def test_size_average_that_is_flipped_or_does_not_warn_fails(function: Any, message: str) -> None:
    for reduction in ("mean", "sum"):
        case = case_of("nll_loss", reduction=reduction)
        found_by(verify_in_modes(modules.legacy_modes()), case, F)
        with pytest.raises(AssertionError, match=message):
            found_by(verify_in_modes(modules.legacy_modes()), case, SimpleNamespace(nll_loss=function))


# --- torch.compile ------------------------------------------------------------------------------------------


def scale_after_the_shift(x: Any) -> Any:
    """(x - max) * scale, whatever the sign of the scale: not what the softmax of x * scale shifts by."""
    return (x - x.amax(-1, keepdim=True)) * -10.0


REWRITES: Sequence[tuple[str, Callable[..., Any]]] = (
    ("softmax, summed", lambda x, y: torch.ones(x.shape[:-1])),
    ("softmax of logits * -10", lambda x, y: (e := scale_after_the_shift(x).exp()) / e.sum(-1, keepdim=True)),
    ("softmax of logits * 1e+14", lambda x, y: (e := torch.exp(x * 1e14)) / e.sum(-1, keepdim=True)),
    ("softmax beside torch.cat", lambda x, y: y.half().float()),
    ("binary_cross_entropy of a sigmoid", lambda x, y: F.softplus(-x)),
)


@pytest.mark.parametrize(("name", "rewrite"), REWRITES, ids=[name for name, _ in REWRITES])
def test_a_rewrite_that_changes_values_fails(name: str, rewrite: Callable[..., Any]) -> None:
    programs = (each for operator in OPERATORS.values() for each in rewritten_of(operator, "float32"))
    (program,) = (program for program in programs if program.name == name)
    right = compilation.run([program], SETTINGS.subject, "cpu", None)
    x = tensors(program.given, "cpu")["input"]
    wrong = [{"forward": rewrite(x, torch.from_numpy(right[0]["forward"])).double().numpy()}]
    for results, passes in ((right, True), (wrong, False)):
        (finding,) = compilation.judge_programs([program], results, SETTINGS.subject, "cpu", "planted")
        assert finding.verdict.passes == passes


def test_a_backend_that_changes_a_constant_fails_and_one_that_changes_nothing_passes() -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        def doubled(*arguments: Any) -> Any:
            return [
                2 * result if isinstance(result, torch.Tensor) else result
                for result in graph.forward(*arguments)
            ]

        return doubled

    programs = programs_of(OPERATORS["log_softmax"], "float32", 0)
    for chosen, passes in ((backend, False), ("eager", True)):
        results = compilation.run(programs, SETTINGS.subject, "cpu", chosen)  # type: ignore[arg-type]
        findings = list(compilation.judge_programs(programs, results, SETTINGS.subject, "cpu", "planted"))
        assert all(finding.verdict.passes == passes for finding in findings if finding.quantity == "forward")


# --- what raises, and what is not offered -------------------------------------------------------------------


def test_an_exception_is_a_failure_that_says_what_was_tried() -> None:
    raising = SimpleNamespace(softmax=lambda input, dim, dtype=None: F.softmax(input, dim + 99))
    with pytest.raises(AssertionError, match=r"softmax of planted on cpu, float32: .*planted: .*Error"):
        found_by(transforms.verify_vmap(("input",)), case_of("softmax"), raising)


def test_what_a_subject_says_that_it_does_not_offer_is_named() -> None:
    def softmax(input: Any, dim: int, dtype: Any = None) -> Any:
        raise NotImplementedError

    tally, attempt = (
        Tally("softmax", "float32"),
        Attempt("vmap over input", case_of("softmax"), transforms.verify_vmap(("input",))),
    )
    theirs = replace(SETTINGS, subject=Subject("planted", SimpleNamespace(softmax=softmax), ""))
    check_attempts([attempt], theirs, tally)
    assert (tally.cases, tally.declined) == (0, {"softmax: it raises NotImplementedError": 1})
    ours = replace(SETTINGS, subject=Subject("torch", SimpleNamespace(softmax=softmax), ""))
    with pytest.raises(AssertionError, match="NotImplementedError"):
        check_attempts([attempt], ours, tally)


def test_a_shortfall_that_does_not_occur_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(
        entry for entry in ledger.shortfalls() if entry.id == "vmap-cross-entropy-smoothing-masks-in-place"
    )
    monkeypatch.setattr(ledger, "shortfall", lambda *_: entry)
    attempt = Attempt("vmap over input", case_of("softmax"), transforms.verify_vmap(("input",)))
    tally = Tally("softmax", "float32")
    check_attempts([attempt], SETTINGS, tally)
    assert [news["id"] for news in tally.news] == [entry.id]


def test_zero_cases_fail() -> None:
    with pytest.raises(AssertionError, match="no case was run"):
        check_attempts([], SETTINGS, Tally("softmax", "float32"))
