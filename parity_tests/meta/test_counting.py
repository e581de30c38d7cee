"""Counting can fail: a test without a case, a claim that an operator never meets, a README that drifted, a
seed that fails.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.campaign import seeds
from torch_loss_parity.claims.sample_inputs import as_call, judge_sample, samples
from torch_loss_parity.issue_report.__main__ import main as upstream
from torch_loss_parity.operators import DTYPES, OPERATORS, Gap, kinds
from torch_loss_parity.plugin import completeness
from torch_loss_parity.processes import suite
from torch_loss_parity.reports import coverage
from torch_loss_parity.reports.readme import PAGES
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

ROOT = Path(__file__).parents[2]


def run(directory: Path, body: str, *options: str, name: str = "test_planted.py") -> tuple[int, str]:
    """Run a planted test file with the project's conftest, in this process: importing torch takes longer than
    the run.
    """
    test = directory / name
    test.write_text(textwrap.dedent(body))
    own = [
        "-p",
        "conftest",
        "-c",
        os.devnull,
        f"--rootdir={directory}",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-q",
    ]
    redirected = contextlib.redirect_stdout(io.StringIO())
    with redirected as out, contextlib.redirect_stderr(out), pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        patch.syspath_prepend(ROOT)
        # Around this run there is another: a child that it had itself supervised in would go on with both.
        patch.setattr(suite, "has_its_process", lambda: False)
        patch.delitem(sys.modules, Path(name).stem, raising=False)
        code = pytest.main([*own, str(test), *options])
    return int(code), out.getvalue()


def test_a_test_without_a_case_fails(tmp_path: Path) -> None:
    code, output = run(tmp_path, "def test_it(operator, dtype, tally): pass", "--dtype", "float32")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "no case was run" in output


OF_TWO = """
    import pytest
    from torch_loss_parity.operators import OPERATORS
    @pytest.mark.parametrize("operator", list(OPERATORS.values())[:2], ids=str)
    def test_it(operator, dtype, tally): tally.count()
"""


def test_a_kind_of_claim_that_an_operator_never_meets_fails_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        completeness, "files_of_claims", lambda kinds: [tmp_path / f"test_{kind}.py" for kind in kinds]
    )
    counts = tmp_path / "counts.json"
    float32 = ("--dtype", "float32")
    code, output = run(tmp_path, OF_TWO, *float32, "--counts", str(counts), name="test_forward.py")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "FAIL: no case was run for forward: cross_entropy" in output
    assert json.loads(counts.read_text())["softmax"] == {"float32": {"forward": 1}}
    # at quick effort, and of some operators, too
    options = (*float32, "--effort", "quick", "--operator", "softmax,nll_loss")
    code, output = run(tmp_path, OF_TWO, *options, name="test_forward.py")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "FAIL: no case was run for forward: nll_loss" in output
    assert "cross_entropy" not in output
    # nor of an operator that the subject does not offer, as an older torch has no linear_cross_entropy
    kernel = tmp_path / "of_two.py"
    kernel.write_text("from torch.nn.functional import softmax, log_softmax\n")
    code, output = run(tmp_path, OF_TWO, *float32, "--subject", str(kernel), name="test_forward.py")
    assert code == pytest.ExitCode.OK, output
    # nor of a kind that the subject does not promise
    code, output = run(tmp_path, OF_TWO, *float32, "--promise", "claims=gradients", name="test_forward.py")
    assert "no case was run" not in output
    # nor in a run that was narrowed
    code, output = run(tmp_path, OF_TWO, *float32, "-k", "test_it", name="test_forward.py")
    assert code == pytest.ExitCode.OK, output


def test_a_dtype_without_a_case_fails_beyond_quick_effort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        completeness, "files_of_claims", lambda kinds: [tmp_path / f"test_{kind}.py" for kind in kinds]
    )
    body = """
        import pytest
        @pytest.mark.parametrize("dtype", ["float32"])
        def test_it(operator, dtype, tally): tally.count()
    """
    options = ("--dtype", "float32,float64", "--operator", "softmax")
    code, output = run(tmp_path, body, *options, name="test_forward.py")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "FAIL: no case was run for forward: softmax, float64" in output
    code, output = run(tmp_path, body, *options, "--effort", "quick", name="test_forward.py")
    assert code == pytest.ExitCode.OK, output


def test_a_skip_hides_no_operator_unless_the_whole_kind_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        completeness, "files_of_claims", lambda kinds: [tmp_path / f"test_{kind}.py" for kind in kinds]
    )
    body = """
        import pytest
        def test_it(operator, dtype, tally):
            if operator.name != "{}":
                pytest.skip("a reason")
            tally.count()
    """
    options = ("--dtype", "float32", "--operator", "softmax,nll_loss")
    code, output = run(tmp_path, body.format("softmax"), *options, name="test_forward.py")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "FAIL: no case was run for forward: nll_loss" in output
    code, output = run(tmp_path, body.format("nobody"), *options, name="test_forward.py")
    assert code == pytest.ExitCode.OK, output


def test_a_gap_says_why_and_is_printed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a Gap says why"):
        Gap(" ")
    options = ("--dtype", "float32", "--operator", "log_softmax")
    _, output = run(tmp_path, "def test_it(operator, dtype, tally): tally.count()", *options)
    assert "modules, of_images: log_softmax: torch.nn has no LogSoftmax2d" in output


def test_an_operator_with_a_gap_has_no_cases_of_the_kind_and_passes() -> None:
    softmax = OPERATORS["softmax"]
    assert kinds.gap(softmax, "sample inputs") is None
    without = replace(softmax, sample_inputs=Gap("PyTorch has none"))
    assert kinds.gap(without, "sample inputs") == Gap("PyTorch has none")
    assert kinds.gap(without, "forward") is None


def test_a_case_that_is_wrong_shows_in_the_table(tmp_path: Path) -> None:
    _, output = run(tmp_path, "def test_it(operator, dtype, tally): tally.count(False)", "--dtype", "float64")
    assert "FAIL (1 of 1)" in output


COUNTS: dict[str, dict[str, dict[str, int]]] = {
    name: {key: {"forward": 7, "layouts": 2} for key in DTYPES} for name in OPERATORS
}


SECTIONS = (coverage.SECTION, *coverage.OF_LEDGER)


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    sections = "\n".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->" for name in SECTIONS)
    path.write_text(f"before\n{sections}\nafter\n")
    for name in SECTIONS:
        monkeypatch.setitem(PAGES, name, path)
    return path


def test_the_readme_must_say_what_the_run_counted(
    readme: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = tmp_path / "counts.json"
    counts.write_text(json.dumps(COUNTS))
    assert coverage.main([str(counts), "--write"]) == 0
    assert coverage.main([str(counts), "--check"]) == 0
    written = readme.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\n<!-- torch: end -->\nafter\n")
    counts.write_text(json.dumps(COUNTS | {"softmax": {key: {"forward": 8} for key in DTYPES}}))
    capsys.readouterr()
    assert coverage.main([str(counts), "--check"]) == 1
    assert "| forward | 32 |" in capsys.readouterr().out
    monkeypatch.setattr(coverage, "made_with", lambda: "torch 1.0")
    assert coverage.main([str(counts), "--check"]) == 0
    assert "not compared" in capsys.readouterr().out
    readme.write_text(
        readme.read_text().replace("`half-softmax-tail-stores-exponentials`", "`another-entry`")
    )
    assert coverage.main([str(counts), "--check"]) == 1
    assert "-| `another-entry`" in capsys.readouterr().out


def test_a_readme_without_the_section_is_an_error(readme: Path, tmp_path: Path) -> None:
    readme.write_text("nothing")
    (tmp_path / "counts.json").write_text("{}")
    with pytest.raises(ValueError, match="no section between"):
        coverage.main([str(tmp_path / "counts.json"), "--check"])


@pytest.mark.whole_runs
def test_seeds_report_what_fails(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        "import torch.nn.functional as F\ndef softmax(input, dim, dtype=None): return F.softmax(input, dim, "
        "dtype=dtype) * 1.01"
    )
    outcome = seeds.run_seed(0, ("forward",), (f"--subject={planted}", "--dtype=float32", "--effort=quick"))
    assert outcome.cases
    assert outcome.failures
    assert "planted.py on cpu, float32: the result is wrong" in outcome.report


def test_sample_inputs_reject_a_wrong_operator() -> None:
    """A weighted mean over rows: PyTorch's own samples hold one that tells."""

    def mean_over_rows(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        return F.cross_entropy(input, target, **options | {"reduction": "none"}).mean()

    sample = SimpleNamespace(
        input=torch.tensor([[0.5, 1.0], [0.0, 2.0]]),
        args=(torch.tensor([0, 1]),),
        kwargs={"weight": torch.tensor([1.0, 3.0])},
    )
    settings = Settings.of("torch", "cpu", "float32", "quick", 0)
    call = as_call("cross_entropy", sample, "float32")
    assert all(finding.verdict.passes for finding in judge_sample(call, settings, np.random.default_rng(0)))
    planted = Subject("planted", SimpleNamespace(cross_entropy=mean_over_rows), "")
    wrong = replace(settings, subject=planted)
    assert not any(finding.verdict.passes for finding in judge_sample(call, wrong, np.random.default_rng(0)))


def test_upstream_names_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["nonsense"], "choose from"),
        (["bce-with-logits-cancels", "--dtype", "float16"], "has float32, float64"),
    ):
        assert upstream(arguments) == 4
        assert words in capsys.readouterr().err
    assert upstream([]) == 0
    assert "bce-with-logits-cancels" in capsys.readouterr().out.splitlines()


def test_examples_in_docstrings_are_where_they_are_run() -> None:
    """Of parity_tests and benchmarks only the tests are collected: an example there would never run."""
    modules = [path for folder in ("parity_tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 100
    assert [path for path in modules if re.search(r"^\s*>>> ", path.read_text(), re.MULTILINE)] == []


@pytest.mark.whole_runs
def test_samples_of_pytorch_follow_from_the_seed_and_change_no_state() -> None:
    def first(seed: int) -> torch.Tensor:
        return next(sample.input for _, sample in samples(torch.float32, seed=seed) if sample.input.numel())

    state = torch.get_rng_state(), random.getstate()
    one = first(0)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    torch.rand(3)
    assert torch.equal(first(0), one)
    assert not torch.equal(first(1), one)
