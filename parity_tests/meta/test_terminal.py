"""What a run prints fits into a terminal's hundred columns, the verdict into eighty; skips are counted by
reason; colours are for terminals that want them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from torch_loss_parity.audit import summary as of_audit
from torch_loss_parity.benchmarks import summary as of_benchmarks
from torch_loss_parity.benchmarks.meta.results import result
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.campaign import campaign, right_record
from torch_loss_parity.campaign.campaign_runs import Judged
from torch_loss_parity.campaign.right_runs import RightRun
from torch_loss_parity.faults import FAULTS
from torch_loss_parity.faults.right import RIGHT_KERNELS
from torch_loss_parity.judging import report
from torch_loss_parity.judging.tally import Row
from torch_loss_parity.judging.wrapping import COLUMNS
from torch_loss_parity.meta import invented_audit
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.plugin.skips import SHOWN, Skips
from torch_loss_parity.plugin.summary import Summary
from torch_loss_parity.processes.folders import CHECKOUT
from torch_loss_parity.reference.arithmetic.profiles import PROFILES
from torch_loss_parity.reports import screen

LONGEST = max(OPERATORS, key=len)
VERDICTS = (
    "pass",
    "FAIL (99999 of 99999)",
    "too little tested: forward, gradients, domain, identities, layouts, transforms",
    "pass; 99999 known to diverge; 99999 by a sharp way; 99999 by a textbook way; 99999 not offered",
)


def widest(lines: list[str]) -> int:
    return max(map(len, lines))


# --- widths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_table_of_errors_is_narrow_whatever_the_verdict_says(verdict: str, profile: Any) -> None:
    rows = [Row(LONGEST, dtype, 99999, 999.999, 1e300, 99999, verdict) for dtype in DTYPES]
    lines = report.table(rows, profile)
    assert widest(lines) <= COLUMNS
    assert lines.count(LONGEST) == 1
    said = " ".join(" ".join(lines).split())
    assert said.count(verdict) == len(DTYPES)  # nothing is cut


def test_the_table_of_cases_is_narrow_and_adds_up() -> None:
    claims = list(KINDS)
    counted = {(name, dtype): dict.fromkeys(claims, 1000) for name in OPERATORS for dtype in DTYPES}
    lines = report.coverage_table(counted, OPERATORS, DTYPES)
    assert widest(lines) <= COLUMNS
    assert lines[-1].split()[-1] == str(1000 * len(claims) * len(counted))
    assert len(lines) == 2 + len(OPERATORS) * (1 + len(DTYPES)) + 1
    assert len(lines[0].split()) == 1 + len(claims) + 1  # a word each


def test_cases_that_are_not_offered_are_no_number() -> None:
    lines = report.coverage_table({("softmax", "float32"): {"bits": -1, "forward": 3}}, OPERATORS, DTYPES)
    assert [line.split() for line in lines[2:]] == [
        ["softmax"],
        ["float32", "-", "3", "3"],
        ["all", "0", "3", "3"],
    ]


def test_the_tables_of_an_audit_and_of_benchmarks_are_narrow() -> None:
    assert widest(of_audit.table(invented_audit.audit("subject"))) <= COLUMNS
    slow = result("compile", seconds=0.123, floor=99999.0, speed=9999.0, apart=0.4, ulps=1.2e6, cold=1.0)
    rows = [line for line, _ in of_benchmarks.table([slow], noise([slow]))]
    assert widest([*rows, *of_benchmarks.LEGEND]) <= COLUMNS
    assert all(
        len(name) < width for name, width in zip(of_benchmarks.HEADER, of_benchmarks.WIDTHS, strict=True)
    )


def test_a_verdict_with_a_long_name_is_of_eighty_columns() -> None:
    path = f"/a/folder/with/a/name/that/is/rather/long/{'kernels' * 9}.py"
    title = f"{path}, like torch on cpu, quick effort, seed 0"
    shown = screen.Screen(title, (), (), "", lambda reason: False)
    lines = [line for line, _ in shown.lines()]
    assert widest(lines) <= screen.COLUMNS == 80
    assert "like torch on cpu" in " ".join(" ".join(lines).split())


def test_the_header_of_a_run_is_narrow_whoever_says_it() -> None:
    said = ["short", ["benchmark: " + "option=value " * 20, "two"], "word " * 40]
    wrapper: Iterator[Any] = Summary.pytest_report_header(SimpleNamespace())  # type: ignore[arg-type]
    next(wrapper)
    with pytest.raises(StopIteration) as ended:
        wrapper.send(said)  # type: ignore[attr-defined]
    lines = [line for lines in ended.value.value for line in lines]
    assert widest(lines) <= COLUMNS
    assert " ".join(" ".join(lines).split()) == " ".join(f"short {said[1][0]} two {said[2]}".split())


def test_the_tables_of_the_campaign_are_narrow() -> None:
    claims = dict.fromkeys((*KINDS, "tutorials"), 999)
    name = max((*FAULTS, *RIGHT_KERNELS), key=len)
    judged = Judged(claims, (), 9999.9, True, True, 1)
    lines = [*campaign.table({name: judged}), *right_record.table({name: RightRun(claims, (), 1)})]
    assert widest(lines) <= COLUMNS
    assert len(lines[0].split()) == len(lines[2].split()) == len(claims)
    assert name in lines


# --- skips --------------------------------------------------------------------------------------------------


def skipped(reason: str, place: str = "parity_tests/meta/test_house.py::test", **more: Any) -> Any:
    return SimpleNamespace(nodeid=place, skipped=True, longrepr=("file", 1, f"Skipped: {reason}"), **more)


def passed() -> Any:
    return SimpleNamespace(nodeid="parity_tests/meta/test_house.py::test", skipped=False, longrepr=None)


def test_skips_are_counted_by_reason_those_of_the_suite_alone() -> None:
    skips = Skips(CHECKOUT)
    for report_ in (
        *(skipped("no browser"), skipped("no\nbrowser"), skipped("x" * 300)),
        skipped("another's", "/elsewhere/test_theirs.py::test"),
        skipped("another's", "test_beside.py::test"),
        skipped("known", wasxfail="known: it fails"),
        passed(),
    ):
        skips.count(report_)
    lines = skips.lines()
    assert lines[0] == "     2  no browser"
    assert len(lines) == 2
    assert len(lines[1]) == COLUMNS
    assert lines[1].endswith("x ...")


def test_many_reasons_are_summed_up() -> None:
    skips = Skips(CHECKOUT)
    for number in range(SHOWN + 3):
        for _ in range(SHOWN + 3 - number):
            skips.count(skipped(f"reason {number}"))
    lines = skips.lines()
    assert len(lines) == SHOWN + 1
    assert lines[-1] == "  and 3 more"


def test_a_skipped_file_is_counted_too() -> None:
    skips = Skips(CHECKOUT)
    skips.count(skipped("no library", "reference/arithmetic/balls.py"))
    assert skips.lines() == ["     1  no library"]


# --- colours ------------------------------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("file", "variables", "coloured"),
    [
        (Tty, {}, True),
        (Tty, {"NO_COLOR": "1"}, False),
        (io.StringIO, {}, False),
        (Tty, {"TERM": "dumb"}, False),
    ],
    ids=["a terminal", "NO_COLOR", "a file", "a terminal without colours"],
)
def test_the_verdict_is_coloured_where_a_terminal_is_and_wants_it(
    file: Any, variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)
    config = pytest.Config.fromdictargs({}, [])
    written = file()
    reporter = pytest.TerminalReporter(config, written)
    for line, markup in screen.NOTHING.lines():
        reporter.write_line(line, **markup)
    assert ("\x1b[" in written.getvalue()) == coloured
    assert screen.TOO_LITTLE in written.getvalue()
