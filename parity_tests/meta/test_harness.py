"""The harness from end to end, on planted subjects: what is wrong fails and is explained, what is not run is
said.

Claims shown here: a wrong denominator fails, and the script in the message shows the same number; what a
subject lacks is named; a wrong option is a usage error with the choices; a gradient of zeros is seen; cases
follow from the seed alone; every pair of options is met; nothing run is a failure; the ledger refuses what is
incomplete and what is worse than it says; what does not diverge is news.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity import subjects
from torch_loss_parity.claims.smallest_inputs import check_smallest_input
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.failure_message import script
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.run_cases import check_cases
from torch_loss_parity.judging.tally import Tally, rows
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.news import News
from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import Subject, SubjectError
from torch_loss_parity.subjects.settings import NothingToTest, Settings, WrongOption

ROOT = Path(__file__).parents[2]
SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
MEAN_BY_ROWS = """
    import torch.nn.functional as F
    def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        kind = "none" if reduction == "mean" else reduction
        losses = F.cross_entropy(input, target, weight, None, ignore_index, None, kind, label_smoothing)
        return losses.mean() if reduction == "mean" else losses
"""


def planted(directory: Path, text: str) -> str:
    path = directory / "planted.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


def printed_by(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    return printed.getvalue()


# --- what a person sees -------------------------------------------------------------------------------------


@pytest.mark.whole_runs
def test_a_mean_over_rows_fails_with_all_that_is_needed_to_see_it_again(tmp_path: Path) -> None:
    path = planted(tmp_path, MEAN_BY_ROWS)
    run = run_claims(
        "--subject", path, "--dtype", "float32", "-k", "cross_entropy and combination and not binary"
    )
    assert run.exitcode == pytest.ExitCode.TESTS_FAILED
    output = re.sub(r"^E {3}", "", run.printed, flags=re.MULTILINE)
    assert f"cross_entropy of {path} on cpu, float32: the result is wrong" in output
    message = output[output.index("cross_entropy of ") :]
    for line in (
        r"case +cross_entropy float32 "
        r"(?:.*\n)?.*reduction=mean",
        r"input +float32 \(.*\)",
        r"reduction 'mean'",
        r"worst +element \[\]",
        r"expected +\S+ \(the true value, certified by balls\)",
        r"error +\S+ ulp of "
        r"float32",
        r"allowed +\S+ ulp",
    ):
        assert re.search(line, message), line
    got, reproduction = (
        re.findall(part, message)[0]
        for part in (
            r"got +(\S+)",
            r"reproduce with\n((?: {4}.*\n)+)",
        )
    )
    again = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(reproduction)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(again.stdout.split()[0]) == float(got)
    assert re.search(r"cross_entropy\n  float32 .*FAIL", output)


@pytest.mark.parametrize("values", ["normal", "few_survivors"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 300)], ids=["arrays spelt out", "arrays as bytes"])
def test_the_script_shows_the_same_number_whatever_is_wrong(
    shape: tuple[int, ...], values: str, tmp_path: Path
) -> None:
    wrong = {
        "twice": "2 * F.softmax(input, dim)",
        "nan": "F.softmax(input, dim) * float('nan')",
        "flat": "F.softmax(input, dim).flatten()",
        "infinite": "F.softmax(input, dim) / 0",
    }
    for name, expression in wrong.items():
        path = planted(
            tmp_path,
            f"import torch.nn.functional as F\ndef softmax(input, dim, dtype=None): return {expression}",
        )
        subject = subjects.load(path, ("softmax",))
        case = OPERATORS["softmax"].case("float32", shape, values, {"dim": 1}, 0)
        claims = (verify_forward,) if name == "flat" else (verify_forward, verify_gradients)
        failing = [
            finding for verify in claims for finding in verify(subject, case) if not finding.verdict.passes
        ]
        assert FORWARD in [finding.quantity for finding in failing]
        for finding in failing:
            first = printed_by(script(finding, subject, "cpu")).split(" ")[0]
            if name == "flat":
                assert first == f"({prod(shape)},)"
            else:
                assert np.array_equal(float(first), finding.verdict.observed, equal_nan=True)


def test_a_script_that_expects_nan_or_infinity_runs() -> None:
    forgiving = SimpleNamespace(cross_entropy=lambda input, target, **options: torch.zeros(()))
    subject = Subject(
        "planted",
        forgiving,
        "import types; subject = types.SimpleNamespace(cross_entropy=lambda *_, **__: torch.zeros(()))",
    )
    for ignored, expected_value in (("all", "nan"), ("none", "inf")):
        case = OPERATORS["cross_entropy"].case(
            "float32", (3, 5), "few_survivors", {"reduction": "mean", "ignored": ignored}, 1
        )
        (finding,) = verify_forward(subject, case)
        assert printed_by(script(finding, subject, "cpu")).split()[:3] == ["0.0", "expected", expected_value]


def test_what_a_subject_lacks_is_named_as_not_offered(tmp_path: Path) -> None:
    run = run_claims(
        "--subject", planted(tmp_path, "from torch.nn.functional import softmax"), "--dtype", "float32"
    )
    output = run.printed
    assert run.exitcode == pytest.ExitCode.OK
    assert re.search(r"^softmax\n  float32 .* pass$", output, re.MULTILINE)
    for name in set(OPERATORS) - {"softmax"}:
        assert re.search(rf"^{name}\n  float32 +0 +not offered$", output, re.MULTILINE), name
    assert f"{2 * (len(OPERATORS) - 1)} skipped" in output


def test_a_wrong_option_ends_the_run_with_exit_code_4_and_names_the_choices() -> None:
    run = run_claims("--dtype", "float32,int8")
    assert run.exitcode == pytest.ExitCode.USAGE_ERROR
    assert "--dtype is 'int8'; choose from float16, bfloat16, float32, float64" in run.printed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dtype": "float32,"}, "--dtype is ''; choose from float16, bfloat16, float32, float64"),
        ({"effort": "slow"}, "--effort is 'slow'; choose from quick, standard, thorough"),
        ({"device": "tpu"}, "--device is 'tpu'; on this machine there is cpu"),
        (
            {"subject": "nowhere.py"},
            "'nowhere.py' is not a file; choose torch, torch.nn, torch.compile, "
            "reference, torch.chunked:POLICY,CHUNKS, fault:NAME, right:NAME, a path",
        ),
        ({"subject": "no.such.module"}, "'no.such.module' cannot be imported .*; choose torch, torch.nn"),
        ({"promise": "weigth=None"}, "--promise has 'weigth', which is nothing to promise; choose from "),
        ({"promise": "weight"}, "--promise has 'weight'; it must be NAME=VALUE"),
        ({"promise": "target=logits"}, "target='logits'; choose from indices, probabilities"),
        ({"like": "tensorflow"}, "--like is 'tensorflow'; choose from torch, torch.compile"),
        ({"subject": "math"}, "'math' offers none of the functions softmax, log_softmax, nll_loss"),
    ],
)
def test_each_wrong_option_says_what_was_given_and_what_there_is(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "subject": "torch",
        "device": "cpu",
        "dtype": "float32",
        "effort": "quick",
        "seed": 0,
    }
    with pytest.raises((WrongOption, SubjectError, NothingToTest), match=message):
        Settings.of(**right | wrong)


def test_a_subject_that_offers_nothing_or_raises_on_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="offers none of the functions softmax"):
        subjects.load(planted(tmp_path, "def soft_max(x): return x"), tuple(OPERATORS))
    with pytest.raises(SubjectError, match="cannot be imported: ZeroDivisionError"):
        subjects.load(planted(tmp_path, "1 / 0"), tuple(OPERATORS))


# --- gradients ----------------------------------------------------------------------------------------------


class WithoutGradient(torch.autograd.Function):
    """A softmax whose gradient is zero: what sum().backward() sees of every softmax."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, dim: int) -> torch.Tensor:
        return torch.softmax(input, dim)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.zeros_like(grad_outputs[0]), None


def test_a_softmax_whose_gradient_is_zero_passes_forward_and_fails_the_gradient() -> None:
    zero = SimpleNamespace(
        softmax=lambda input, dim, dtype=None: WithoutGradient.apply(
            input if dtype is None else input.to(dtype), dim
        )
    )
    subject = Subject("planted", zero, "")
    for case in (OPERATORS["softmax"].case(dtype, (3, 7), "normal", {}, 0) for dtype in DTYPES):
        assert all(finding.verdict.passes for finding in verify_forward(subject, case))
        (finding,) = verify_gradients(subject, case)
        assert (finding.quantity, finding.verdict.passes, finding.certified) == ("input", False, True)
        # and it is the upstream gradient that shows it: a constant one does not
        assert finding.grad_output is not None
        ones = finding.grad_output * 0 + 1
        bound = expected(finding.call, ("input",), ones)["input"]
        assert judge(0 * ones, bound, FORMATS[case.dtype]).passes


# --- nothing is passed in silence ---------------------------------------------------------------------------


def test_zero_cases_fail() -> None:
    with pytest.raises(AssertionError, match="no case was run"):
        check_cases([], verify_forward, SETTINGS, Tally("softmax", "float32"))


def test_what_is_undecided_is_counted_and_where_nothing_ran_the_table_says_so() -> None:
    tally = Tally("softmax", "float32")
    assert [row.verdict for row in rows([tally.as_property()], OPERATORS, DTYPES)] == [
        "FAIL (nothing was run)"
    ]
    (finding,) = verify_forward(
        SETTINGS.subject, OPERATORS["softmax"].case("float32", (4, 3), "normal", {}, 0)
    )
    tally.add(replace(finding, verdict=replace(finding.verdict, undecided=1)))
    assert [
        (row.cases, row.undecided, row.verdict) for row in rows([tally.as_property()], OPERATORS, DTYPES)
    ] == [(1, 1, "pass")]


# --- the ledger ---------------------------------------------------------------------------------------------


TAIL = next(entry for entry in ledger.entries() if entry.id == "half-softmax-tail-stores-exponentials")
WRONG = [
    ({"arithmetc": {}}, "unknown fields arithmetc; allowed are id, "),
    ({"arithmetic": {}}, "must say what holds: an arithmetic, ways or a formula$"),
    ({"quantities": ["forward", "input"]}, "has quantities .* but smallest inputs for"),
]


@pytest.mark.parametrize("name", ledger.REQUIRED)
def test_the_ledger_refuses_an_entry_that_lacks_a_field(name: str) -> None:
    assert ledger.parse(vars(TAIL)) == TAIL
    with pytest.raises(ValueError, match=f"lacks {name}$"):
        ledger.parse({field: value for field, value in vars(TAIL).items() if field != name})


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_the_ledger_refuses_an_entry_that_is_misspelt_or_does_not_say_what_holds(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ledger.parse({**vars(TAIL), **change})


def test_an_entry_speaks_when_its_conditions_hold_unless_others_do() -> None:
    entry = next(e for e in ledger.entries() if e.id == "half-softmax-backward-from-stored-output")
    make = OPERATORS["softmax"]
    calls = {
        dtype: make.call(make.case("float16", (3, 4), "normal", {"dim": 1, "dtype": dtype}, 0))
        for dtype in (None, "float64")
    }
    assert entry.covers(calls[None], "input")
    assert not entry.covers(calls["float64"], "input")
    for conditions, covered in (
        ({"dtype": "float64"}, "float64"),
        ({"dtype": ["float64", "float32"]}, "float64"),
    ):
        turned = replace(entry, when=conditions, unless={})
        assert [name for name, call in calls.items() if turned.covers(call, "input")] == [covered]


def test_an_entry_that_does_not_diverge_is_news_and_one_that_is_exceeded_fails() -> None:
    told: list[News] = []
    diverged: list[str] = []

    def check(entry: ledger.Divergence) -> None:
        check_smallest_input(entry, FORWARD, "bfloat16", SETTINGS, told.append, diverged.append)

    check(TAIL)
    assert (told, diverged) == ([], [TAIL.id])
    check(replace(TAIL, smallest=({"quantity": FORWARD, "input": [[0.0], [0.0]], "dim": 0},)))
    assert [news.id for news in told] == [TAIL.id]
    with pytest.raises(AssertionError, match="the result is wrong: the error is"):
        check(replace(TAIL, arithmetic={"exp_ulps": 4.0}))
    assert (len(told), diverged) == (1, [TAIL.id])


@pytest.mark.parametrize(("ulps", "passes"), [(0, True), (3, False)])
def test_a_subject_worse_than_the_ledger_allows_fails(ulps: int, passes: bool) -> None:
    def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        result = torch.softmax(input, dim)
        return (result.double() * (1 + ulps * torch.finfo(result.dtype).eps)).to(result.dtype)

    case = OPERATORS["softmax"].case("bfloat16", (7, 1), "normal", {"dim": 0}, 3)
    (finding,) = verify_forward(Subject("torch", SimpleNamespace(softmax=softmax), ""), case)
    assert (finding.verdict.passes, finding.strict.passes, finding.divergence) == (
        passes,
        False,
        TAIL.id if passes else "",
    )
