"""Profiles of the arithmetic: what they allow, where they come from, and that each of them is heard of
everywhere that a bound is evaluated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from torch_loss_parity import verify
from torch_loss_parity.api import Verified
from torch_loss_parity.cases.case import Case
from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging import report
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity, verify_forward, verify_gradients
from torch_loss_parity.meta import planted_profiles
from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.meta.imports import files
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes.folders import PACKAGE
from torch_loss_parity.reference.arithmetic import rounding_functions as bounds
from torch_loss_parity.reference.arithmetic.formats import FLOAT32, FLOAT64, Arithmetic
from torch_loss_parity.reference.arithmetic.profile_files import ProfileError, profile_of
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, PROFILES, Profile
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, SubjectError, load, run_subject
from torch_loss_parity.subjects.settings import Settings, WrongOption

F32 = Arithmetic.for_dtype("float32")
FAST = PROFILES["cuda-fast"].applied_to(F32)
PLANTED = str(Path(planted_profiles.__file__))
FLUSH = ("flush-to-zero", "cuda-fast", "triton")


# --- kernels ------------------------------------------------------------------------------------------------


def failing(function: str, cases: Iterable[Case], profile: str) -> list[Finding]:
    """What is wrong with a planted kernel under a profile: results and gradients."""
    findings = []
    for case in cases:
        kernel = getattr(planted_profiles, function)
        subject = Subject("planted", SimpleNamespace(**{case.operator: kernel}), "", PROFILES[profile])
        findings += [*verify_forward(subject, case), *verify_gradients(subject, case)]
    return [finding for finding in findings if not finding.verdict.passes]


def result_of(operator: str, profile: str, input: np.ndarray, **arguments: Any) -> Finding:
    """The verdict on what a planted kernel makes of float32 numbers."""
    of = OPERATORS[operator]
    call = of.call(of.case("float32", input.shape, next(iter(of.values)), {"reduction": "none"}, 0))
    call = replace(call, arguments={**call.arguments, "input": input, **arguments})
    subject = Subject("planted", planted_profiles, "", PROFILES[profile])
    bound = expected(call, (FORWARD,), profile=subject.profile)[FORWARD]
    observed = run_subject.forward(subject, call, "cpu")
    return judge_quantity(subject, "cpu", None, call, FORWARD, observed, bound, None)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_exp_that_loses_with_its_argument_is_right_where_the_profile_says_so(profile: str) -> None:
    """Elsewhere it is what a loss by powers of two is, which is a way of its own."""
    logits = -np.arange(1.0, 41.0)
    result = result_of("binary_cross_entropy_with_logits", profile, logits, target=np.zeros(40))
    assert result.verdict.passes
    if profile in ("cuda-fast", "triton"):
        assert result.way is None
        assert 0.5 < result.strict.fraction <= 1  # no more is allowed than it needs
    else:
        assert result.way is not None
        assert result.way.grade == "textbook"
        assert result.strict.fraction > 2


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_makes_sharp_what_another_way_would_explain(profile: str) -> None:
    """A softmax in base 2 is a way of its own, whose bound grows with the logits too."""
    result = result_of("softmax", profile, -np.arange(81.0), dim=0)
    assert result.verdict.passes
    assert (result.way is None) == (profile in ("cuda-fast", "triton"))
    assert result.way is None or result.way.grade == "textbook"


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_subnormal_inputs_may_be_zero_where_the_profile_says_so(dtype: str, profile: str) -> None:
    operator = OPERATORS["binary_cross_entropy"]
    cases = [
        operator.case(dtype, (4, 6), "subnormal_probabilities", {"reduction": reduction, "target": target}, 0)
        for reduction in operator.options["reduction"]
        for target in operator.options["target"]
    ]
    wrong = failing("binary_cross_entropy", cases, profile)
    allowing = ("flush-to-zero",) if dtype == "float64" else ("flush-to-zero", "cuda-fast", "triton")
    # What is subnormal in float16 is not in float32, in which it is computed.
    assert (not wrong) == (profile in allowing or dtype == "float16")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_logits_may_be_zero_under_the_default_profile_too(dtype: str) -> None:
    """No result depends on them by more than rounding."""
    operator = OPERATORS["softmax"]
    cases = [operator.case(dtype, (3, 7), "subnormal", {"dim": dim}, 0) for dim in (0, 1)]
    assert not failing("flushing_softmax", cases, "default")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_what_is_wrong_is_wrong_under_any_profile(dtype: str, profile: str) -> None:
    operator = OPERATORS["softmax"]
    cases = [operator.case(dtype, (3, 7), "normal", {"dim": dim}, 0) for dim in (0, 1)]
    wrong = failing("two_per_cent_off", cases, profile)
    assert {finding.case for finding in wrong if finding.quantity == FORWARD} == set(cases)


def test_failures_and_tables_say_under_which_profile_they_are() -> None:
    def verified(function: Any, profile: str) -> Verified:
        return verify(
            function,
            "softmax",
            dtypes=["float32"],
            claims=["forward"],
            profile=profile,
            raise_exception=False,
        )

    right = verified(planted_profiles.softmax, "triton")
    assert right
    assert "pass, under profile triton" in str(right)
    assert "\njudged under profile triton: in float32 exp within 2 + floor(1.173 |x|)" in str(right)
    wrong = verified(planted_profiles.two_per_cent_off, "cuda")
    assert not wrong
    assert any(line.endswith("), under profile cuda") for line in str(wrong).splitlines())
    assert " ulp under profile cuda" in wrong.failures[0]
    plain = verified(planted_profiles.two_per_cent_off, "default")
    assert not plain
    assert "profile" not in str(plain) + plain.failures[0]


# --- arithmetic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "tanh"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("format", [FLOAT32, FLOAT64])
def test_a_function_may_be_off_by_what_the_profile_says_and_no_more(
    format: Any, profile: str, name: str
) -> None:
    arithmetic = PROFILES[profile].applied_to(Arithmetic.for_dtype(format.name))
    x = np.asarray([-80.0, -7.3, -1.0, 1.3, 60.0] if name == "exp" else [0.25, 0.6, 1.1, 1.9, 5.0])
    x = format.round(x)
    ulps = getattr(arithmetic, f"{name}_ulps") * np.ones(5)
    if name == "exp":
        ulps = ulps + np.floor(arithmetic.exp_ulps_per_unit * np.abs(x))
    bound = getattr(bounds, name)(Rounded(x, arithmetic))
    allowed = ulps * 2 * format.unit_roundoff * np.abs(bound.nearest)
    if name == "log" and arithmetic.log_error_near_one:
        allowed = np.where((x >= 0.5) & (x <= 2), arithmetic.log_error_near_one, allowed)
    # Of the bound: the charge's second order, as an exponent and out of it, and the evaluation's own error,
    # which is of as many ulps of its own as are demanded of everybody.
    second_order = 2 * np.max(2 * ulps * format.unit_roundoff)
    own_ulps = np.max(np.maximum(1.0, getattr(Arithmetic, f"{name}_ulps") / ulps))
    own = own_ulps * arithmetic.evaluation_roundoff_of_functions / format.unit_roundoff
    np.testing.assert_allclose(bound.total_error(), allowed, rtol=second_order + 2 * own)


def test_an_exp_whose_argument_is_huge_has_a_bound_that_is_a_number() -> None:
    x = np.asarray([0.0, -1e4, -3e38, -np.inf, 1e4, np.inf])
    bound = bounds.exp(Rounded(x, FAST))
    assert np.all(np.isfinite(bound.total_error()[:4]))
    assert np.all(bound.total_error()[1:3] <= 2 * FLOAT32.smallest_normal)
    assert bound.total_error()[0] == 0  # the instruction is exact there


def test_an_approximate_quotient_is_never_exact() -> None:
    x, y = Rounded(np.asarray([1.0, 3.0, 0.0]), FAST), Rounded(np.asarray([2.0, 1.0, 7.0]), FAST)
    u = FLOAT32.unit_roundoff
    # Of the bound: six roundings' second order, u each, and less than u of the evaluation's own.
    higher_order = 7 * u
    allowed = np.asarray([5 * u * 0.5, 5 * u * 3, 0.0])
    np.testing.assert_allclose((x / y).total_error(), allowed, rtol=higher_order)
    # Or a reciprocal and a product, which is rounded.
    third = (x / Rounded(np.full(3, 3.0), FAST)).total_error()
    np.testing.assert_allclose(third[0], (5 + 1) * u / 3, rtol=higher_order)
    x, y = (Rounded(each.value, F32) for each in (x, y))
    assert not np.any((x / y).total_error())


def test_half_precision_is_computed_in_the_float32_of_the_profile() -> None:
    for dtype in ("float16", "bfloat16"):
        arithmetic = PROFILES["triton"].applied_to(Arithmetic.for_dtype(dtype))
        assert (arithmetic.exp_ulps, arithmetic.flushes_inputs) == (2.5, True)
    in_double = PROFILES["triton"].applied_to(Arithmetic.for_dtype("float64"))
    assert (in_double.exp_ulps, in_double.exp_ulps_per_unit, in_double.flushes_inputs) == (1.5, 0.0, False)


def test_the_default_profile_changes_nothing() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        arithmetic = Arithmetic.for_dtype(dtype)
        assert PROFILES["default"].applied_to(arithmetic) is arithmetic
        same = replace(PROFILES["tf32"].applied_to(arithmetic), factors=None)
        assert same == arithmetic


def test_a_subnormal_input_is_read_as_it_is_or_as_zero() -> None:
    operator = OPERATORS["binary_cross_entropy"]
    case = operator.case("float32", (4,), next(iter(operator.values)), {"reduction": "none"}, 0)
    call = operator.call(case)
    x = np.asarray([1e-40, 0.25, 1e-40, 0.5])
    call = replace(call, arguments={**call.arguments, "input": x, "target": np.asarray([1.0, 1.0, 0.0, 0.0])})
    plain, flushed = (
        expected(call, (FORWARD,), profile=each)[FORWARD] for each in (DEFAULT, PROFILES["flush-to-zero"])
    )
    np.testing.assert_array_equal(plain.value, flushed.value)
    # How far the clamped loss of 0 is from that of 1e-40, and what either is known to.
    beyond = flushed.total_error()[0] - (100 + np.log(1e-40))
    assert 0 <= beyond <= plain.total_error()[0] + FLOAT32.spacing(np.float64(100.0))
    np.testing.assert_array_equal(plain.total_error()[1::2], flushed.total_error()[1::2])


# --- names and files ----------------------------------------------------------------------------------------


def test_every_profile_says_what_it_allows_and_where_that_is_written() -> None:
    for name, profile in PROFILES.items():
        assert (profile.name, profile.file) == (name, "")
        assert profile.allows
        assert profile.source
        said = report.of_profile(profile)
        assert said == [] if profile == DEFAULT else name in said[0]
    assert "every operator but linear_cross_entropy" in report.of_profile(PROFILES["tf32"])[1]


def test_a_profile_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'source = "its manual"\nbased_on = "cuda"\n[float32]\nexp_ulps = 4\nflushes_inputs = true\n'
    )
    mine = profile_of(str(file))
    assert (mine.name, mine.choice, mine.source) == ("mine", str(file), "its manual")
    assert mine.allows == "as cuda, float32 exp_ulps 4, float32 flushes_inputs True"
    arithmetic = mine.applied_to(F32)
    assert (arithmetic.exp_ulps, arithmetic.log_ulps, arithmetic.flushes_inputs) == (4, 1.5, True)
    assert mine.applied_to(Arithmetic.for_dtype("float64")).exp_ulps == 1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[float32]\n", "which lacks source"),
        ("exp_ulps = 4\n", "where exp_ulps is no field; allowed are name, source"),
        ('source = ""\n', "where source is ''; allowed is a text"),
        ('source = "x"\nfloat32 = 3\n', r"where float32 is 3; allowed is a table, \[float32\]"),
        ('source = "x"\nname = "cuda"\n', "where name is 'cuda'; allowed is any but default"),
        ('source = "x"\nbased_on = "hip"\n', "where based_on is 'hip'; allowed is one of default"),
        ('source = "x"\n[float32]\nexp_ulp = 3\n', "float32.exp_ulp is 3; allowed is nothing"),
        (
            'source = "x"\n[float32]\nexp_ulps = "4"\n',
            "exp_ulps is '4'; allowed is a number from 0.5 to 65536$",
        ),
        (
            'source = "x"\n[float64]\nlog_ulps = 1e9\n',
            "log_ulps is 1000000000.0; allowed is a number",
        ),
        ('source = "x"\n[float64]\nlog_ulps = nan\n', "float64.log_ulps is nan; allowed is a number"),
        ('source = "x"\n[float64]\nlog_ulps = true\n', "float64.log_ulps is True; allowed is a number"),
        ('source = "x"\n[float32]\nflushes_inputs = 1\n', "flushes_inputs is 1; allowed is true or false"),
        ("source = \n", "which is no TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=message) as raised:
        profile_of(str(file))
    assert "\n" not in str(raised.value)


def test_an_unknown_profile_is_refused_with_the_names(tmp_path: Path) -> None:
    names = "choose from default, cuda, cuda-fast, triton, flush-to-zero, tf32, or name a .toml file"
    with pytest.raises(WrongOption, match=f"--profile is 'cuda12'; {names}"):
        Settings.of("torch", "cpu", "float32", "quick", 0, profile="cuda12")
    with pytest.raises(WrongOption, match=r"--profile is '.*none\.toml', which cannot be read"):
        Settings.of("torch", "cpu", "float32", "quick", 0, profile=str(tmp_path / "none.toml"))
    with pytest.raises(WrongOption, match=r"^profile is 'cuda12'; choose from default"):
        verify(planted_profiles.softmax, "softmax", profile="cuda12")
    file = tmp_path / "kernels.py"
    for text in ("'cuda12'", "3"):
        file.write_text(f"from torch.nn.functional import softmax\nPROFILE = {text}\n")
        with pytest.raises(SubjectError, match=f"PROFILE of .* is .*{names}"):
            load(str(file), ("softmax",))


def test_the_option_comes_before_the_module_and_that_before_the_default() -> None:
    def profile(subject: str, option: str | None) -> str:
        return Settings.of(subject, "cpu", "float32", "quick", 0, profile=option).subject.profile.name

    assert profile("torch", None) == "default"
    assert profile("torch", "cuda") == "cuda"
    assert profile(PLANTED, None) == "triton"
    assert profile(PLANTED, "cuda") == "cuda"
    assert profile(PLANTED, "default") == "default"


# --- heard of everywhere ------------------------------------------------------------------------------------

# Nobody is judged there: the truth is asked for, or the smallest input of an entry about torch is shown.
WITHOUT = {"audit.axes", "audit.throughput", "issue_report.issue_report", "reports.ways"}
EVALUATING = {"expected", "arithmetic_of"}


def test_every_bound_that_somebody_is_judged_by_is_evaluated_under_a_profile() -> None:
    silent = set()
    for name, path in files().items():
        if "meta" in name.split(".") or name in WITHOUT:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EVALUATING:
                given = {keyword.arg for keyword in node.keywords}
                positional = [ast.unparse(argument) for argument in node.args]
                if "profile" not in given and not any("profile" in argument for argument in positional):
                    silent.add(f"{name}:{node.lineno}")
    assert not silent


def test_a_cached_bound_is_that_of_its_profile() -> None:
    operator = OPERATORS["softmax"]
    call = operator.call(operator.case("float32", (3, 5), "normal", {"dim": 1}, 0))
    mine = Profile("mine", "", "", {"float32": {"exp_ulps": 9.0}})
    profiles = (DEFAULT, PROFILES["triton"], mine, replace(mine, changes={"float32": {"exp_ulps": 10.0}}))
    expectation_cache.keep()
    try:
        errors = [
            float(np.max(expected(call, (FORWARD,), profile=each)[FORWARD].total_error()))
            for each in (*profiles, *profiles)
        ]
    finally:
        expectation_cache.forget()
    assert len(set(errors)) == len(profiles)
    assert errors[: len(profiles)] == errors[len(profiles) :]


def test_the_page_has_every_profile() -> None:
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    for profile in PROFILES.values():
        row = f"| `{profile.name}` | {profile.allows} | {profile.source} |"
        assert row.replace("|x|", r"\|x\|") in readme


@pytest.mark.whole_runs
@pytest.mark.parametrize("profile", ["triton", "tf32"])
def test_a_run_has_its_profile_in_every_process(profile: str) -> None:
    """Of a kernel that reads subnormal probabilities as zero; its file says triton."""
    ended = run_claims(
        *("-n", "1", "--subject", PLANTED, "--operator", "binary_cross_entropy"),
        *("--dtype", "float32", *(() if profile == "triton" else ("--profile", profile))),
        claims=("domain/test_domain.py",),
    )
    assert (ended.exitcode == 0) == (profile == "triton"), ended.printed
    assert f"judged under profile {profile}: " in ended.printed
    assert re.search(rf"  (pass|FAIL).*, under profile {profile}\n", ended.printed)
    assert ("every operator but linear_cross_entropy" in ended.printed) == (profile == "tf32")
