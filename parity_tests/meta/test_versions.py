"""What changes on another release of torch is told, recorded and compared; nothing is installed here.

Claims shown here: what fails or diverges on one release only is new or fixed; a release that cannot be run
costs that release alone; the record is what was run, and the README what is recorded; a wrong request is
refused in one line before anything is made; an environment is made, used and removed as was asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.ledger import verified
from torch_loss_parity.meta.version_runs import (
    CANCELS,
    EPSILON,
    STORES,
    WRONG,
    failure,
    news,
    quick,
    run_of,
)
from torch_loss_parity.reports import readme
from torch_loss_parity.versions import record as records
from torch_loss_parity.versions import table
from torch_loss_parity.versions.__main__ import SECTION, main
from torch_loss_parity.versions.changes import Changes, drift
from torch_loss_parity.versions.environments import (
    NotInstalled,
    Wanted,
)
from torch_loss_parity.versions.record import Record, Release
from torch_loss_parity.versions.run import NotRun, Options


class Fake:
    """Runs nothing: gives what is to be found on each release, or raises."""

    def __init__(self, *outcomes: dict[str, Any], **raising: Exception) -> None:
        self.outcomes = {each["environment"]["torch"]: each for each in outcomes}
        self.raising = {version.strip("v").replace("_", "."): error for version, error in raising.items()}
        self.requests: list[tuple[Wanted, Options]] = []

    def __call__(self, release: Wanted, options: Options, *folder: Any) -> Mapping[str, Any]:
        self.requests.append((release, options))
        if error := self.raising.get(release.version):
            raise error
        return self.outcomes[release.version]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of which nothing is recorded yet."""
    monkeypatch.setattr(records, "PATH", tmp_path / "record.json")
    monkeypatch.setattr(verified, "PATH", tmp_path / "verified.json")
    monkeypatch.setitem(readme.PAGES, SECTION, tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"<!-- {SECTION}: begin -->\n{table.NONE}\n<!-- {SECTION}: end -->\n")
    return tmp_path


# --- what changed -------------------------------------------------------------------------------------------


def changes(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    return Changes(Release.of(before), Release.of(after))


def test_entries_of_the_ledger_are_new_fixed_or_of_other_numbers() -> None:
    step = changes(run_of("2.8.0", {CANCELS: 5, STORES: 7}), run_of("2.11.0", {CANCELS: 6, EPSILON: 1}))
    assert (step.new, step.fixed, step.numbers) == ({EPSILON: 1}, {STORES: 7}, {CANCELS: (5, 6)})


def test_failures_are_new_or_repaired_and_those_with_the_same_words_are_told_once() -> None:
    one, two, three = failure("a"), failure("b"), failure("c", "another")
    before = run_of("2.8.0", failures=(one, three))
    step = changes(before, run_of("2.11.0", failures=(one, two, failure("d"))))
    assert [str(each) for each in step.failing] == [f"{WRONG} (2 tests)"]
    assert [str(each) for each in step.repaired] == ["forward, softmax float32: another"]
    again = changes(before, run_of("2.11.0", failures=(failure("a", "other words"),)))
    assert not again.failing  # the same test


def test_the_worst_error_is_another_beyond_what_it_is_known_to() -> None:
    assert not changes(run_of("2.8.0", worst=0.9), run_of("2.11.0", worst=0.93)).worst
    step = changes(run_of("2.8.0", worst=0.9), run_of("2.11.0", worst=0.5))
    assert step.worst == {"softmax float32 forward": (0.9, 0.5)}


def test_news_and_what_differs_besides_torch_are_told() -> None:
    before = run_of("2.8.0", told=(news("bool target"),))
    after = run_of(
        "2.11.0",
        told=(news("bool target"), news("complex"), news("complex")),
        hypothesis="7",
        vendor="GenuineIntel",
    )
    step = changes(before, after)
    assert step.later_news == ["complex: TypeError now"]
    assert step.besides == ["vendor AuthenticAMD, GenuineIntel", "hypothesis 6.170.15, 7"]
    assert not changes(before, run_of("2.11.0")).besides


# --- runs ---------------------------------------------------------------------------------------------------


def test_releases_are_run_one_by_one_and_compared_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake(
        run_of("2.8.0", {CANCELS: 5, STORES: 7}),
        run_of("2.11.0", {CANCELS: 5, EPSILON: 2}),
        run_of("2.13.0", {CANCELS: 5, EPSILON: 2}, told=(news("bool target"),)),
    )
    assert main(quick("2.13.0", "2.8.0", "2.11"), fake) == 0
    assert [release.version for release, _ in fake.requests] == ["2.13.0", "2.8.0", "2.11.0"]
    out = capsys.readouterr().out
    assert "Run with subject torch, effort quick, seed 0, device cpu: 8 operators, 4 dtypes." in out
    assert "| 2.8.0 | 2026-11-27, AuthenticAMD x86_64 AVX2, Python 3.12.1 | 3,200 | 0 | 2 | 12 |  |  |" in out
    machine = "2026-11-27, AuthenticAMD x86_64 AVX2, Python 3.12.1"
    assert f"| 2.11.0 | {machine} | 3,200 | 0 | 2 | 7 | 1 | 1 |" in out
    assert "| cases of | bits | forward |\n|---|---|---|\n| 2.8.0 | 0 | 3,200 |" in out
    assert out.index("From torch 2.8.0 to 2.11.0:") < out.index("From torch 2.11.0 to 2.13.0:")
    assert f"- diverges now: `{EPSILON}` (2 cases)\n" in out
    assert f"- diverges no longer: `{STORES}` (7 cases before)\n" in out
    last = out.partition("From torch 2.11.0 to 2.13.0:\n\n")[2]
    assert last == "- otherwise than recorded: bool target: TypeError now\n"


def test_nothing_that_changes_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(quick("2.8.0", "2.11.0"), Fake(run_of("2.8.0"), run_of("2.11.0"))) == 0
    assert capsys.readouterr().out.endswith("From torch 2.8.0 to 2.11.0:\n\n- nothing\n")


def test_a_release_that_cannot_be_run_is_named_and_the_others_are_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = Fake(run_of("2.13.0"), v1_0_0=NotInstalled("no match"), v2_4_0=NotRun("ended with 3"))
    assert main(quick("1.0", "2.4.0", "2.13.0"), fake) == 1
    out = capsys.readouterr().out
    assert "- torch 1.0.0 was not run: no match\n- torch 2.4.0 was not run: ended with 3" in out
    assert "| 2.13.0 |" in out
    assert main(quick("1.0"), fake) == 1
    assert "was not run" in capsys.readouterr().out


def test_a_release_with_failures_fails_and_they_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(quick("2.13.0"), Fake(run_of("2.13.0", failures=(failure("a"), failure("b"))))) == 1
    captured = capsys.readouterr()
    assert f"torch 2.13.0 fails: {WRONG} (2 tests)" in captured.err
    assert "| 3,200 | 2 | 1 | 5 |" in captured.out


def test_many_lines_of_a_kind_are_cut_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    many = {f"entry-{number:02}": 1 for number in range(20)}
    assert main(quick("2.8.0", "2.11.0"), Fake(run_of("2.8.0"), run_of("2.11.0", many))) == 0
    out = capsys.readouterr().out
    assert out.count("- diverges now: `entry-") == table.SHOWN
    assert f"- diverges now: {20 - table.SHOWN} more, in `parity_tests/versions/record.json`" in out


def test_the_newest_release_is_that_of_the_index() -> None:
    fake = Fake(run_of("2.15.0"))
    assert main(quick("newest"), fake, lambda: "2.15.0") == 0
    assert main(quick(f"newest={sys.executable}"), fake, lambda: "2.15.0") == 0
    assert [release for release, _ in fake.requests] == [Wanted("2.15.0"), Wanted("2.15.0", sys.executable)]


def test_options_reach_pytest(tmp_path: Path) -> None:
    path = tmp_path / "kernels.py"
    path.touch()
    fake = Fake(run_of("2.13.0"))
    given = [
        "--operator",
        "softmax,nll_loss",
        "--dtype",
        "float32",
        "--seed",
        "3",
        "-n",
        "2",
        "--subject",
        str(path),
    ]
    assert main(quick("2.13.0", *given), fake) == 0
    options = fake.requests[0][1]
    assert options.subject == str(path.resolve())
    assert options.arguments == [
        *("--effort=quick", "--seed=3", "--dtype=float32"),
        *("--operator=softmax,nll_loss", "-n", "2"),
    ]
    assert Options().arguments == ["--effort=standard", "--seed=0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no release is given, such as 2.13.0 or newest"),
        (["two"], "'two' is no release of torch: give 2.13.0, 2.13.0=PYTHON or newest"),
        (["2.16.0rc1"], "'2.16.0rc1' is no release of torch"),
        (["2.13.0=/nowhere/python"], "'2.13.0=/nowhere/python': there is no interpreter '/nowhere/python'"),
        (["2.13.0="], "'2.13.0=': there is no interpreter ''"),
        (["2.13.0", "2.13.0"], "torch 2.13.0 is given twice"),
        (["2.13.0", "--effort", "slow"], "--effort is 'slow'; choose from quick, standard, thorough"),
        (["2.13.0", "--dtype", "int8"], "--dtype is 'int8'; choose from"),
        (["2.13.0", "--operator", "relu"], "--operator is 'relu'; choose from"),
        (["2.13.0", "--subject", "nowhere.py"], "--subject is 'nowhere.py'; there is no such file"),
        (["2.13.0", "--subject", "mine.py", "--write"], "others could not repeat what is recorded"),
        (["2.13.0", "-n", "0"], "-n is 0; it must be at least 1"),
        (["2.13.0", "--keep"], "--keep needs --directory"),
        (["2.13.0", "--seed", "one"], "Invalid value for '--seed': 'one' is not a valid integer"),
        (
            ["2.13.0", "--write", "--compare"],
            "--compare does not go with another of --write, --compare, --check",
        ),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(
    arguments: list[str], message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake()
    status = main(arguments, fake, lambda: pytest.fail("the index is not asked"))
    captured = capsys.readouterr()
    assert (status, captured.out, fake.requests) == (4, "", [])
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_what_pip_does_not_say_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def latest() -> str:
        raise NotInstalled("pip does not say which release is the newest: no network")

    assert main(quick("newest"), Fake(), latest) == 4
    assert capsys.readouterr().err == "error: pip does not say which release is the newest: no network\n"


# --- the record ---------------------------------------------------------------------------------------------


def test_a_record_is_what_was_written() -> None:
    one = run_of("2.13.0", failures=(failure("a"),), told=(news("complex"),), worst=float("inf"))
    record = Record().adding(run_of("2.11.0")).adding(one)
    assert [release.torch for release in record.releases] == ["2.11.0", "2.13.0"]
    assert record.releases[1].counts == {"bits": 0, "forward": 3200}
    again = record.adding(run_of("2.11.0", {EPSILON: 3}))
    assert [dict(release.diverging) for release in again.releases] == [{EPSILON: 3}, {CANCELS: 5}]


def test_a_written_record_is_read_again(project: Path) -> None:
    record = Record().adding(run_of("2.9.0", failures=(failure("a"),)))
    record = record.adding(run_of("2.13.0", told=(news("x"),)))
    records.write(record)
    assert records.read() == record
    assert json.loads((project / "record.json").read_text())["schema"] == records.SCHEMA
    (project / "record.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match=r"record.json has schema 99; schema 1 is read"):
        records.read()


def test_runs_with_other_options_are_not_mixed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="the outcome has schema 99"):
        Record().adding(run_of("2.13.0") | {"schema": 99})
    assert main(quick("2.13.0", "--write"), Fake(run_of("2.13.0"))) == 0
    assert list(verified.read(verified.PATH).diverges) == [CANCELS]
    fake = Fake(run_of("2.15.0"))
    assert main(["2.15.0", "--write"], fake) == 4
    assert "what is recorded was run with effort quick, not standard" in capsys.readouterr().err
    assert main(quick("2.15.0", "--compare", "--dtype", "float32"), fake) == 4
    assert not fake.requests  # told before hours are spent


def test_the_readme_says_what_is_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert main(quick("2.11.0", "--write"), Fake(run_of("2.11.0"))) == 0
    assert main(quick("2.13.0", "--write"), Fake(run_of("2.13.0", {EPSILON: 2}))) == 0
    assert main(["--check"]) == 0
    text = (project / "README.md").read_text()
    assert f"- diverges now: `{EPSILON}` (2 cases)" in text
    (project / "README.md").write_text(text.replace("(2 cases)", "(3 cases)"))
    assert main(["--check"]) == 1
    told = capsys.readouterr().out
    assert f"-- diverges now: `{EPSILON}` (3 cases)\n+- diverges now: `{EPSILON}` (2 cases)" in told


def test_what_was_found_is_kept_though_a_later_release_is_not_run(project: Path) -> None:
    class Interrupted(Fake):
        def __call__(self, release: Wanted, *others: Any) -> Mapping[str, Any]:
            if release.version == "2.13.0":
                raise KeyboardInterrupt
            return super().__call__(release, *others)

    assert main(quick("2.11.0", "2.13.0", "--write"), Interrupted(run_of("2.11.0"))) == 2
    assert [release.torch for release in records.read().releases] == ["2.11.0"]


def test_a_run_is_compared_with_what_is_recorded(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(quick("2.13.0", "--write"), Fake(run_of("2.13.0"))) == 0
    kept = records.PATH.read_text()
    # How often, and on what machine, is not what a record is held to.
    same = run_of("2.13.0", {CANCELS: 9}, told=(news("x"),), vendor="GenuineIntel")
    assert main(quick("2.13.0", "--compare"), Fake(same)) == 0
    assert main(quick("2.13.0", "--compare"), Fake(run_of("2.13.0", {EPSILON: 1}))) == 1
    told = capsys.readouterr().err
    assert f"torch 2.13.0 is not as recorded: {EPSILON} diverges, and did not" in told
    assert f"torch 2.13.0 is not as recorded: {CANCELS} does not diverge, and did" in told
    out = project / "table.md"
    command = quick("newest", "--compare", "--table", str(out))
    assert main(command, Fake(run_of("2.16.0")), lambda: "2.16.0") == 1
    assert "torch 2.16.0 is not recorded: --write records it" in capsys.readouterr().err
    assert "From torch 2.13.0 to 2.16.0:" in out.read_text()
    assert records.PATH.read_text() == kept


def test_drift_is_what_fails_too() -> None:
    one, other = Release.of(run_of("2.13.0", failures=(failure("a"),))), Release.of(run_of("2.13.0"))
    assert drift(one, other) == [f"does not fail, and did: {WRONG}"]
    assert drift(other, one) == [f"fails, and did not: {WRONG}"]


def test_the_readme_of_this_project_says_what_is_recorded() -> None:
    assert main(["--check"]) == 0
