"""What a subject promises is asked, in full, and nothing else; a broken part of it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity import verify
from torch_loss_parity.api import VerificationError
from torch_loss_parity.claims.semantics.checks import promoted
from torch_loss_parity.claims.transforms.compilation import smallest_of_ledger
from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.promised import Limits, PromisedOperator
from torch_loss_parity.subjects import Subject, SubjectError, load
from torch_loss_parity.subjects.declined import OutsideThePromise
from torch_loss_parity.subjects.promise import EVERYTHING, together
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.subjects.written_promise import (
    PromiseError,
    may_say,
    of_mapping,
    of_signature,
    of_text,
    replaced,
)

CE, BCE = "cross_entropy", "binary_cross_entropy_with_logits"
PARTIAL = {"target": "indices", "reduction": ("mean", "sum"), "mixed_dtypes": False}


def partial(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """The most common kernel there is: class indices, no weights, no smoothing."""
    return F.cross_entropy(input, target, ignore_index=ignore_index, reduction=reduction)


# --- what is said -------------------------------------------------------------------------------------------


def test_a_mapping_and_a_text_say_the_same() -> None:
    given = {"target": "indices", "weight": None, "reduction": ("mean", "sum"), "ndim": 2}
    assert of_mapping(of_text("target=indices, weight=None,reduction=mean|sum,ndim=2")) == of_mapping(given)
    one = of_mapping(of_text("cross_entropy.label_smoothing=0.0|0.1,dtypes=float32,double_backward=False"))
    assert one.limits(CE).options == {"label_smoothing": (0.0, 0.1)}
    assert (one.dtypes, one.without) == (("float32",), ("double_backward",))
    assert one.limits("softmax") == Limits()
    demanded = may_say(of_text("double_backward=True"))
    assert demanded == may_say({"double_backward": True}) != may_say({})


def test_a_kind_of_target_is_said_of_the_operators_that_have_it() -> None:
    """Cross entropy and a binary loss may lie in one file: a binary loss has no class indices."""
    classes = of_mapping({"target": "indices"})
    assert (classes.limits(CE).options, classes.limits(BCE)) == ({"target": ("indices",)}, Limits())
    both = of_mapping({"target": ("indices", "hard")})
    assert (both.limits(CE).options, both.limits(BCE).options) == (
        {"target": ("indices",)},
        {"target": ("hard",)},
    )


def test_what_is_said_of_one_operator_has_the_last_word() -> None:
    promise = of_mapping({"reduction": "mean", CE: {"reduction": "sum"}})
    assert promise.limits(CE).options == {"reduction": ("sum",)}
    assert promise.limits("nll_loss").options == {"reduction": ("mean",)}


def test_several_promises_hold_together() -> None:
    whole = together(
        [of_mapping({"weight": None, "dtypes": ("float32", "float16")}), of_mapping({"dtypes": "float32"})]
    )
    assert whole.dtypes == ("float32",)
    assert whole.limits(CE).options == {"weight": (None,)}


def test_a_promise_of_probabilities_draws_no_dtype_of_indices() -> None:
    operator = of_mapping({"target": "probabilities"}).operator(OPERATORS[CE])
    options = {"target": "indices", "target_dtype": "uint8", "ignore_index": 255, "ignored": "some"}
    call = operator.call(operator.case("float32", (3, 5), "normal", options, 0))
    assert call.arguments["target"].shape == (3, 5)
    assert "target" not in call.dtypes


def test_arguments_of_another_dtype_are_not_asked_of_who_promises_none() -> None:
    promise = of_mapping({"mixed_dtypes": False})
    subject = replace(load("torch", (CE,)), promise=promise)
    operator = OPERATORS["binary_cross_entropy_with_logits"]
    for promotion in each(operator.promotions):
        with pytest.raises(OutsideThePromise):
            promoted(subject, "cpu", operator, promotion, "float32", "float64")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weigth": None}, "'weigth', which is nothing to promise; choose from dim, dtype, gradients, "),
        ({CE: {"dim": 1}}, "cross_entropy.dim, which is no argument; choose from target, weight, "),
        ({CE: None}, "cross_entropy: None; it must be a mapping"),
        ({"target": "logits"}, "^target='logits'; choose from indices, probabilities, hard, soft$"),
        ({BCE: {"target": "indices"}}, f"^{BCE}.target='indices'; choose from hard, soft$"),
        ({"weight": "positive"}, "weight='positive'; choose from None, given"),
        ({"dtypes": ("float32", "int8")}, "dtypes='int8'; choose from float16, bfloat16, float32, float64"),
        ({"claims": "speed"}, "claims='speed'; choose from forward, gradients"),
        ({"ndim": "two"}, r"ndim=\('two',\); it must be numbers of dimensions"),
        ({"dim": "last"}, r"^dim='last'; it must be a whole number"),
        ({"ignore_index": True}, r"^ignore_index=True; it must be a whole number"),
        ({"double_backward": "no"}, "double_backward='no'; choose from True, False"),
        ([], r"\[\]; it must be a mapping of names to values"),
        ({"reduction": ()}, r"^reduction=\(\); it must have at least one value"),
        ({CE: {"weight": []}}, r"^cross_entropy.weight=\[\]; it must have at least one value"),
        ({"claims": ()}, r"^claims=\(\); it must have at least one value"),
        ({"double_backward": ()}, r"^double_backward=\(\); it must have at least one value"),
        ({"ndim": ()}, r"^ndim=\(\); it must have at least one value"),
        ({"ndim": True}, r"^ndim=\(True,\); it must be numbers of dimensions"),
        ({"reduction": "batchmean"}, r"^reduction='batchmean'; choose from mean, sum, none"),
        ({"ignored": "never"}, r"^ignored='never'; choose from none, some, all"),
        ({"label_smoothing": "some"}, r"^label_smoothing='some'; it must be a number between 0 and 1"),
        ({"label_smoothing": True}, r"^label_smoothing=True; it must be a number between 0 and 1"),
        ({CE: {"label_smoothing": 2}}, r"^cross_entropy.label_smoothing=2; it must be between 0 and 1"),
        ({"dtype": "int8"}, r"^dtype='int8'; choose from None, float16, bfloat16, float32, float64"),
        ({"keepdim": 1}, r"^keepdim=1; choose from False, True"),
    ],
)
def test_what_cannot_be_promised_is_refused_with_the_choices(given: Any, message: str) -> None:
    with pytest.raises(PromiseError, match=message):
        of_mapping(given)


def test_what_the_command_line_names_replaces_what_the_file_says_of_it() -> None:
    written = {"ndim": 2, "dtypes": "float16", "weight": None, CE: {"ndim": 3, "reduction": "sum"}}
    of_all = replaced(written, of_text("ndim=4,dtypes=float32"))
    assert of_all == {"ndim": (4,), "dtypes": ("float32",), "weight": None, CE: {"reduction": "sum"}}
    of_one = replaced(written, of_text("cross_entropy.reduction=mean"))
    assert of_one == {**written, CE: {"ndim": 3, "reduction": ("mean",)}}


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_number_of_dimensions_has_cases_that_fit_or_is_refused(operator: str) -> None:
    for ndim in range(7):
        promise = of_mapping({"ndim": (0, ndim)})
        if nothing := promise.nothing_of(operator):
            assert f"no case of {operator} has ndim=0|{ndim}; choose from 1, 2" in nothing
            continue
        record = promise.operator(OPERATORS[operator])
        for shape in record.shapes:
            case = record.case("float32", shape, next(iter(record.values)), {}, 0)
            assert len(case.shape) in (0, ndim)
            assert record.call(case).arguments["input"].ndim in (0, ndim)


@pytest.mark.parametrize(("operator", "ndim"), [("softmax", 0), ("binary_cross_entropy", 0), ("nll_loss", 1)])
@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_every_claim_has_cases_of_the_fewest_dimensions(operator: str, ndim: int) -> None:
    torchs, promise = getattr(F, operator), {operator: {"ndim": ndim}}
    verified = verify(torchs, operator, dtypes=["float32"], promise=promise, raise_exception=False)
    assert verified.failures == []


def test_where_no_case_fits_nothing_is_tested() -> None:
    with pytest.raises(
        ValueError, match=r"no case of cross_entropy has ndim=0; choose from 1, 2, 3, 4, 5, 6$"
    ):
        verify(partial, CE, promise={"ndim": 0})


# --- a signature is a promise -------------------------------------------------------------------------------


def test_an_argument_that_is_not_taken_has_its_default() -> None:
    assert of_signature(CE, partial) == {"weight": (None,), "label_smoothing": (0.0,)}
    assert of_signature(CE, F.cross_entropy) == {}
    assert of_signature(CE, lambda input, target, **options: 0) == {}
    without = of_signature(CE, lambda input, target: 0)
    assert without["ignored"] == ("none",)
    assert without["reduction"] == ("mean",)


@pytest.mark.parametrize(
    ("operator", "function", "problem"),
    [
        ("softmax", lambda x, axis: 0, "it takes x in place of input; it takes no dim; it requires axis"),
        (
            CE,
            lambda logits, labels, **options: 0,
            "it takes logits in place of input; it takes labels in place of target",
        ),
        (CE, lambda input, target, /, weight=None: 0, "it takes .* alone; it takes target by position alone"),
        (CE, lambda input, **options: 0, "it takes 1 by position"),
        (CE, lambda input: 0, "it takes 1 by position"),
        (CE, lambda input, target, *, chunk: 0, "it requires chunk"),
    ],
)
def test_what_cannot_be_called_as_torchs_is_refused_once(operator: str, function: Any, problem: str) -> None:
    with pytest.raises(PromiseError, match=rf"cannot be called as {operator}\(input, .*: {problem}$"):
        of_signature(operator, function)


HELPER = """
import torch

def softmax(x, axis):
    return torch.softmax(x, axis)

def log_softmax(input, dim, dtype=None):
    return softmax(input if dtype is None else input.to(dtype), dim).log()
"""


def test_a_helper_that_has_the_name_of_another_operator_is_none(tmp_path: Path) -> None:
    path = tmp_path / "helper.py"
    path.write_text(HELPER, encoding="utf-8")
    options = (str(path), "cpu", "float32", "quick", 0)
    subject = Settings.of(*options, operator="log_softmax").subject
    assert [name for name in OPERATORS if subject.offers(name)] == ["log_softmax"]
    for asked in (None, "softmax", "softmax,log_softmax"):
        with pytest.raises(SubjectError, match=r"softmax\(x, axis\) cannot be called as softmax"):
            Settings.of(*options, operator=asked)


# --- cases lie inside ---------------------------------------------------------------------------------------


def test_cases_lie_inside_whatever_a_table_names() -> None:
    promise = of_mapping({"target": "indices", "weight": None, "ndim": 2})
    record = promise.operator(OPERATORS[CE])
    assert isinstance(record, PromisedOperator)
    case = record.case("float32", (2, 5, 3), "normal", {"target": "probabilities", "weight": "positive"}, 1)
    assert case.option["target"] == "indices"
    assert case.option["weight"] is None
    assert len(case.shape) == 2


@pytest.mark.parametrize(
    ("shape", "ndim", "dim", "right"),
    [
        ((2, 5, 3), (2,), 1, (6, 5)),
        ((5,), (2,), 0, (5, 1)),
        ((5,), (2,), -1, (1, 5)),
        ((2, 5), (2, 3), 1, (2, 5)),
        ((2, 5, 3, 4), (3,), 1, (6, 5, 4)),
        ((2, 5), (1,), 1, (5,)),
    ],
)
def test_a_shape_keeps_its_rows(shape: Any, ndim: Any, dim: int, right: Any) -> None:
    assert Limits(ndim=ndim).shape(shape, dim) == right


@pytest.mark.parametrize("of_another", ["target_dtype", "weight_dtype"])
def test_indices_have_no_dtype_of_probabilities(of_another: str) -> None:
    record = of_mapping({"target": "indices"}).operator(OPERATORS[CE])
    options = {"target": "probabilities", "weight": "positive", of_another: "float64"}
    assert not record.call(record.case("float32", (3, 5), "normal", options, 0)).dtypes


def test_a_weight_that_is_left_out_has_no_dtype() -> None:
    record = of_mapping({"weight": None}).operator(OPERATORS[CE])
    options = {"target": "probabilities", "weight": "positive", "weight_dtype": "float64"}
    call = record.call(record.case("float32", (3, 5), "normal", options, 0))
    assert call.arguments["weight"] is None
    assert (call.output_dtype, dict(call.dtypes)) == ("float32", {})


def test_everything_is_the_operator_itself() -> None:
    assert EVERYTHING.operator(OPERATORS[CE]) is OPERATORS[CE]


def test_a_call_outside_is_not_made() -> None:
    calls: Counter[str] = Counter()

    def counted(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
        calls[reduction] += 1
        return partial(input, target, ignore_index, reduction)

    verify(counted, CE, dtypes=["float32"], claims=["forward", "layouts"], promise=PARTIAL, like="torch")
    assert set(calls) == {"mean", "sum"}


def test_a_loss_in_float32_is_a_promise() -> None:
    def in_float32(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
        return partial(input.float(), target, ignore_index, reduction)

    options: Mapping[str, Any] = {"dtypes": ["bfloat16"], "claims": ["forward"], "like": "torch"}
    with pytest.raises(VerificationError, match=r"dtype torch.float32, expected torch.bfloat16"):
        verify(in_float32, CE, **options, promise=PARTIAL)
    assert verify(in_float32, CE, **options, promise=PARTIAL | {"result_dtype": "float32"})


# --- the budget is filled, and a broken part fails ----------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "share"),
    # A full kernel has gradients of probabilities and weights, and views and memory of them, too.
    [("forward", 1.0), ("gradients", 0.5), ("hygiene", 0.5), ("layouts", 0.5)],
)
def test_a_partial_kernel_gets_as_many_cases(claim: str, share: float) -> None:
    full = verify(F.cross_entropy, CE, dtypes=["float32"], claims=[claim])
    half = verify(partial, CE, dtypes=["float32"], claims=[claim], promise=PARTIAL, like="torch")
    assert half.rows[0].cases >= share * full.rows[0].cases


def overwriting(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
    loss = partial(input, target, ignore_index, reduction)
    target.clamp_(min=0)
    return loss


def blind_to_strides(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
    flat = torch.as_strided(target, (target.numel(),), (1,), target.storage_offset())
    return partial(input, flat.reshape(target.shape), ignore_index, reduction)


@pytest.mark.parametrize(("broken", "claim"), [(overwriting, "hygiene"), (blind_to_strides, "layouts")])
def test_a_broken_partial_kernel_fails(broken: Any, claim: str) -> None:
    options: Mapping[str, Any] = {"dtypes": ["float32"], "claims": [claim], "like": "torch"}
    assert verify(partial, CE, **options, promise=PARTIAL)
    with pytest.raises(VerificationError):
        verify(broken, CE, **options, promise=PARTIAL)


# --- how a run ends -----------------------------------------------------------------------------------------

FILE = """
import torch.nn.functional as F
PROMISES = {promises}
def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    if weight is not None and {declines}:
        raise NotImplementedError("weights")
    return F.nll_loss(input, target, weight, None, ignore_index, None, reduction)
"""


def ended(tmp_path: Path, *options: str, promises: Any = (), declines: bool = False) -> tuple[int, str]:
    """A run of the claims of numbers."""
    file = tmp_path / "kernel.py"
    file.write_text(FILE.format(promises=dict(promises), declines=declines))
    run = run_claims(
        *("--subject", str(file), "--like", "torch", "--dtype", "float32", *options),
        claims=("test_forward.py", "test_gradients.py"),
    )
    return run.exitcode, run.printed


def test_too_little_tested_is_no_pass(tmp_path: Path) -> None:
    code, output = ended(tmp_path, declines=True)
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "TOO LITTLE TESTED" in output
    assert "(PROMISES in its file, or --promise)" in output
    code, output = ended(tmp_path, declines=True, promises={"weight": None}.items())
    assert code == pytest.ExitCode.OK
    assert "outside the promise" not in output.partition("verdict")[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--operator", "softmax"), "has no softmax"),
        (("--promise", "dtypes=float64"), "promises none of float32"),
        (("--promise", "ndim=0"), "no case of nll_loss has ndim=0"),
    ],
)
def test_a_run_with_nothing_to_test_says_so(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    code, output = ended(tmp_path, *options)
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert said in output
    assert "nothing was tested" in output


def test_of_the_ledgers_smallest_inputs_those_are_compiled_that_a_subject_offers() -> None:
    def operators(**functions: Any) -> set[str]:
        subject = Subject("kernels", SimpleNamespace(**functions), "", like="torch")
        settings = Settings(subject, "cpu", ("float32",), "standard", 0)
        return {program.call.operator for _, program in smallest_of_ledger(settings)}

    assert "softmax" in operators(softmax=F.softmax, cross_entropy=F.cross_entropy)
    assert operators(cross_entropy=F.cross_entropy) <= {CE}
