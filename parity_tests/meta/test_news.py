"""News is told and passes; ``--strict-records`` fails it; what breaks a bound fails on every release;
warnings of others fail nothing.
"""

from __future__ import annotations

import json
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from torch_loss_parity.benchmarks.meta.running import run
from torch_loss_parity.judging.judge import verify_forward
from torch_loss_parity.ledger import ledger, news, verified
from torch_loss_parity.ledger.environment import Environment, here
from torch_loss_parity.ledger.news import News
from torch_loss_parity.ledger.verified import Verified
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.plugin import records
from torch_loss_parity.subjects import Subject

ROOT = Path(__file__).parents[2]
AMD = Environment("2.13.0", "cpu", "x86_64", "AVX2", "AuthenticAMD", "MKL 2024.2 5b2bc9")
LATER = replace(AMD, torch="2.99.0")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says what is recorded, and where this run is."""

    def record(environment: Environment, kept: Verified) -> None:
        monkeypatch.setattr(verified, "here", lambda device: environment)
        monkeypatch.setattr(verified, "record", lambda: kept)

    return record


KEPT = Verified(
    {"old": AMD, "arm": replace(AMD, machine="aarch64")},
    {"entry": ["old"]},
    {"entry": {"arm": ["forward, float16"]}},
)


@pytest.mark.parametrize(
    ("environment", "contradicts", "known", "advice"),
    [
        (AMD, True, False, "recorded in this very environment"),
        (LATER, False, False, "Fixed since 2.13.0, unless it is this machine"),
        (replace(AMD, vendor="GenuineIntel"), False, False, "Another machine"),
        (replace(AMD, machine="aarch64"), False, True, ""),
    ],
)
def test_what_is_said_of_an_entry_follows_from_where_it_was_verified(
    environment: Environment, contradicts: bool, known: bool, advice: str, recorded: Any
) -> None:
    recorded(environment, KEPT)
    told = verified.no_longer("entry", "forward, float16", "0.9 of the bound", "cpu")
    assert (told.contradicts, told.known) == (contradicts, known)
    assert advice in told.text
    assert "It does on torch 2.13.0 (x86_64 AVX2)" in told.text


def test_an_entry_that_nobody_recorded_is_news_and_contradicts_nothing(recorded: Any) -> None:
    recorded(AMD, Verified())
    told = verified.no_longer("entry", "forward, float16", "0.9 of the bound", "cpu")
    assert (told.contradicts, told.known) == (False, False)
    assert "Nobody recorded where it does" in told.text


def test_what_fails_follows_from_how_strict_records_are() -> None:
    each = [
        News("ledger", "a", "", "a"),
        News("bits", "b", "", "b", contradicts=True),
        News("bits", "c", "", "c", known=True),
    ]
    everything = [one.as_dict() for one in each]
    assert [[one["id"] for one in news.failing(everything, strict)] for strict in ("", "here", "all")] == [
        [],
        ["b"],
        ["a", "b"],
    ]
    assert [heading for heading, _ in news.sections(everything)] == ["news: ledger", "news: bits"]


def test_the_record_keeps_what_other_runs_found() -> None:
    def outcome(
        environment: Environment, diverging: list[str], absent: list[tuple[str, str]]
    ) -> dict[str, Any]:
        told = [{"kind": "ledger", "id": id, "place": place} for id, place in absent]
        results = {"results": environment.as_dict()}
        return {
            "environment": results,
            "date": "2026-01-01",
            "diverging": {id: {} for id in diverging},
            "news": told,
        }

    record = verified.add({}, outcome(AMD, ["a", "b"], []), "old")
    record = verified.add(record, outcome(LATER, ["a"], [("b", "forward, float16")]), "new")
    record = verified.add(record, outcome(LATER, ["compiled"], []), "new")  # of another subject, there
    assert record["entries"] == {
        "a": {"diverges": ["old", "new"], "absent": {}},
        "b": {"diverges": ["old"], "absent": {"new": ["forward, float16"]}},
        "compiled": {"diverges": ["new"], "absent": {}},
    }
    again = verified.add(record, outcome(LATER, ["a", "b"], []), "new")
    assert again["entries"]["b"] == {"diverges": ["old", "new"], "absent": {}}
    assert json.loads(verified.text_of(record)) == record


def test_the_record_names_entries_that_there_are_and_environments_that_it_describes(tmp_path: Path) -> None:
    ids = {entry.id for entry in (*ledger.entries(), *ledger.shortfalls())}
    assert set(verified.record().diverges) <= ids
    damaged = tmp_path / "verified.json"
    damaged.write_text('{"environments": {}, "entries": {"a": {"diverges": ["nowhere"]}}}')
    with pytest.raises(ValueError, match=r"verified\.json: a names nowhere"):
        verified.read(damaged)
    assert verified.read(tmp_path / "none.json") == Verified()


def test_the_nearest_environment_is_the_likeliest_to_give_the_same_bits() -> None:
    other_release, other_path = (
        replace(AMD, torch="2.14.0"),
        replace(AMD, functions="MKL 2024.2 ffffff", vendor="GenuineIntel"),
    )
    arm, gpu = replace(AMD, machine="aarch64", capability="SVE"), replace(AMD, device="cuda")
    assert AMD.nearest([arm, other_path, other_release, gpu]) == other_release
    assert AMD.nearest([arm, other_path, gpu]) == other_path
    assert AMD.nearest([gpu]) is None
    assert other_path.unlike(AMD) == (
        "vendor AuthenticAMD (here GenuineIntel), functions MKL 2024.2 5b2bc9 (here MKL 2024.2 ffffff)"
    )
    assert here() == here("cpu")


# --- news swallows nothing ----------------------------------------------------------------------------------


CONFIDENT = "confident_probabilities"


def by_log(input: torch.Tensor, target: torch.Tensor, *_: Any, **options: Any) -> torch.Tensor:
    """binary_cross_entropy with log(1 - x), as torch has it in the gradient of the target: small
    probabilities are lost.
    """
    return -(target * torch.log(input) + (1 - target) * torch.log(1 - input))


@pytest.mark.parametrize("environment", [AMD, LATER, replace(AMD, machine="aarch64"), here()], ids=str)
@pytest.mark.parametrize(
    "kept", [KEPT, Verified(), verified.record()], ids=["a record", "no record", "the record"]
)
def test_a_regression_of_torch_fails_on_every_release(
    environment: Environment, kept: Verified, recorded: Any
) -> None:
    """A subject called torch that differs by what the ledger says of another quantity: a lossy way."""
    recorded(environment, kept)
    name = "binary_cross_entropy"
    subject = Subject("torch", SimpleNamespace(**{name: by_log}), "")
    options = {"reduction": "none"}
    cases = (OPERATORS[name].case("float32", (4, 64), CONFIDENT, options, seed) for seed in range(5))
    findings = [finding for case in cases for finding in verify_forward(subject, case)]
    assert any(not finding.verdict.passes for finding in findings)
    assert not any(finding.news for finding in findings)


# --- a run --------------------------------------------------------------------------------------------------

WARNS = """
    import numpy as np
    import torch

    def test_torch_warns():
        torch.tensor([1j]).to(torch.float32)  # from C++: the line that is named is this one

    def test_a_subject_warns():
        code = "import warnings\\nwarnings.warn('not ours', FutureWarning, stacklevel=2)"
        exec(compile(code, "/elsewhere/kernel.py", "exec"))

    def test_numpy_warns():
        np.asarray([1.0]) / np.asarray([0.0])
"""


@pytest.mark.whole_runs
def test_what_others_warn_of_fails_nothing_and_what_the_suite_warns_of_does(tmp_path: Path) -> None:
    theirs = tmp_path / "test_theirs.py"
    theirs.write_text(textwrap.dedent(WARNS))
    command = (f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml"), "-p", "conftest")
    ended = run(*command, str(theirs))
    text = ended.printed
    assert ended.exitcode == 0, text
    for said in ("not ours", "divide by zero", "Casting complex values to real"):
        assert said in text
    ours = tmp_path / "parity_tests" / "planted.py"  # as if the suite were there
    ours.parent.mkdir()
    ours.write_text("import warnings\n\ndef warn():\n    warnings.warn('ours')\n")
    (tmp_path / "as_ours.py").write_text(
        f"from pathlib import Path\nfrom torch_loss_parity.plugin import records\nrecords.OURS = "
        f"(Path({str(ours.parent)!r}),)\n"
    )
    theirs.write_text(
        f"import runpy\n\ndef test_that_the_suite_warns():\n    runpy.run_path({str(ours)!r})['warn']()\n"
    )
    ended = run(*command, "-p", "as_ours", str(theirs), modules=tmp_path)
    assert ended.exitcode == 1
    assert "FAIL: a warning of the suite's own code: planted.py:4: UserWarning: ours" in ended.printed


def test_a_warning_is_our_own_where_our_line_calls_warn(tmp_path: Path) -> None:
    def warning(path: Path, line: int) -> warnings.WarningMessage:
        return warnings.WarningMessage("said", UserWarning, str(path), line)

    lines = Path(__file__).read_text().splitlines()
    ours = next(number for number, line in enumerate(lines, 1) if "warnings.warn(" in line)
    calls_torch = next(number for number, line in enumerate(lines, 1) if "torch.tensor(" in line)
    assert records.is_own(warning(Path(__file__), ours))
    assert not records.is_own(warning(Path(__file__), calls_torch))  # torch names the line that called it
    theirs = tmp_path / "kernel.py"
    theirs.write_text("warnings.warn('theirs')\n")
    assert not records.is_own(warning(theirs, 1))


@pytest.mark.whole_runs
@pytest.mark.parametrize("other", [False, True], ids=["emptied", "of another vendor"])
def test_another_record_of_bits_is_green_with_news(other: bool, tmp_path: Path) -> None:
    table = tmp_path / "bits.toml"
    table.write_text(_of_another_vendor() if other else "")
    (tmp_path / "other_records.py").write_text(
        f"from pathlib import Path\nfrom torch_loss_parity.claims.bits import bits\nbits.PATH = "
        f"Path({str(table)!r})\n"
    )
    arguments = [
        "--effort=quick",
        "--operator=binary_cross_entropy",
        "--dtype=float32",
        "-p",
        "other_records",
        str(ROOT / "parity_tests/claims/bits/test_bits.py"),
    ]
    ended = run(*arguments, modules=tmp_path)
    assert ended.exitcode == 0, ended.printed
    assert "news: bits" in ended.printed
    assert ("recorded with vendor Nobody" if other else "no bits of torch") in ended.printed
    ended = run("--strict-records", *arguments, modules=tmp_path)
    assert ended.exitcode == 1
    assert "FAIL: --strict-records" in ended.printed


def _of_another_vendor() -> str:
    """A table in which nothing changes the bits of binary_cross_entropy, made on a machine of nobody's."""
    from torch_loss_parity.claims.bits import bits

    environment = replace(here(), vendor="Nobody")
    holds: dict[str, Any] = {
        family: {quantity: {"holds": []} for quantity in ("forward", "gradient")}
        for family in FAMILIES_OF_BCE
    }
    return "\n".join(bits.lines({bits.ENVIRONMENT: environment.as_dict(), **holds}, str(environment)))


FAMILIES_OF_BCE = (
    "binary_cross_entropy without reduction",
    "binary_cross_entropy mean",
    "binary_cross_entropy sum",
)
