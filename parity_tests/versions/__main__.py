"""What changes when torch is upgraded: run the suite on several releases, and compare.

    torch-loss-parity versions 2.8.0 2.11.0 newest
    torch-loss-parity versions 2.13.0=venv/bin/python 2.14.1

Each release gets an environment of its own, with the newest of everything else, which is gone before the
next is made; it takes minutes and some GB. Variables such as PIP_INDEX_URL say where it comes from. The exit
status is 1 if a release could not be run, has failures, or is not as recorded (``--compare``), and 4 for a
wrong request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch_loss_parity.ledger import verified
from torch_loss_parity.processes.folders import INSTALLED
from torch_loss_parity.reports import readme
from torch_loss_parity.versions import record as records
from torch_loss_parity.versions import table
from torch_loss_parity.versions.changes import drift
from torch_loss_parity.versions.environments import (
    NEWEST,
    NotInstalled,
    Wanted,
    environment_with,
    newest,
    release_of,
)
from torch_loss_parity.versions.record import Record
from torch_loss_parity.versions.run import NotRun, Options, outcome

SECTION = "versions"
ALONE = ("write", "compare", "check")  # options that do not go together
Runner = Callable[[Wanted, Options, "Path | None", bool], Mapping[str, Any]]


def run_suite(release: Wanted, options: Options, directory: Path | None, keep: bool) -> Mapping[str, Any]:
    """What the suite finds on a release, in an environment that is there or is made.

    Raises
    ------
    NotInstalled, NotRun
        With the reason, in one line.
    """
    if release.python:
        return outcome(release.python, release.version, options)
    with environment_with(release.version, directory, keep) as python:
        return outcome(python, release.version, options)


def main(
    arguments: Sequence[str] | None = None,
    runner: Runner = run_suite,
    latest: Callable[[], str] = newest,
) -> int:
    """``torch-loss-parity versions``; the exit status."""
    from torch_loss_parity.command.base import run
    from torch_loss_parity.command.versions import versions

    context = {"runner": runner, "latest": latest}
    return run(versions, arguments, name="torch-loss-parity versions", context=context)


def run_versions(
    request: Mapping[str, Any],
    runner: Runner = run_suite,
    latest: Callable[[], str] = newest,
) -> int:
    """Run releases and compare them, or check that the README says what is recorded; the exit status.

    Raises
    ------
    WrongOption
        If the request cannot be met; nothing has been made or run by then.
    """
    from torch_loss_parity.subjects.settings import WrongOption

    given = SimpleNamespace(**request)
    try:
        if more := [f"--{name}" for name in ALONE if request[name]][1:]:
            raise ValueError(f"{more[0]} does not go with another of --{', --'.join(ALONE)}")
        if (given.write or given.check) and INSTALLED:
            raise ValueError("--write and --check are for a checkout: the README is in it")
        if given.check:
            return _check()
        known = records.read()
        releases, options = _request(given, known, latest)
    except (ValueError, NotInstalled) as error:
        raise WrongOption(str(error)) from error
    observed, not_run, problems = Record(), dict[str, str](), list[str]()
    # Runs are compared with what is recorded, so what is recorded is what the table begins with.
    recorded = known if given.write or given.compare else Record()
    for release in releases:
        print(f"torch {release.version} ...", file=sys.stderr, flush=True)
        try:
            one = runner(release, options, given.directory, given.keep)
            recorded, observed = recorded.adding(one), observed.adding(one)
        except (NotInstalled, NotRun, OSError, ValueError) as error:
            not_run[release.version] = str(error)
        else:
            if given.write:  # the next takes hours
                records.write(recorded)
                verified.keep(one)
    section = table.section(recorded, not_run)
    print(section)
    if given.table:
        given.table.write_text(section + "\n")
    problems += table.failures(observed, (each.torch for each in observed.releases))
    if given.compare:
        problems += unlike(known, observed)
    if given.write and observed.releases:
        readme.write(SECTION, table.section(recorded))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems or not_run else 0


def unlike(known: Record, observed: Record) -> Iterator[str]:
    """In what releases are otherwise than they are recorded, a line each."""
    for release in observed.releases:
        recorded = known.release(release.torch)
        if recorded is None:
            yield f"torch {release.torch} is not recorded: --write records it"
        else:
            for line in drift(recorded, release):
                yield f"torch {release.torch} is not as recorded: {line}"


def _request(
    given: SimpleNamespace,
    known: Record,
    latest: Callable[[], str],
) -> tuple[list[Wanted], Options]:
    """The releases and options that are asked for, checked before anything is made.

    Raises
    ------
    ValueError
        If one of them cannot be.
    NotInstalled
        If the newest release is asked for, and pip does not say which it is.
    """
    if not given.releases:
        raise ValueError("no release is given, such as 2.13.0 or newest")
    if given.keep and given.directory is None:
        raise ValueError("--keep needs --directory: a temporary one is removed")
    if given.processes < 1:
        raise ValueError(f"-n is {given.processes}; it must be at least 1")
    from torch_loss_parity.operators import DTYPES, OPERATORS
    from torch_loss_parity.subjects.settings import Settings

    # What is wrong with these is told before an environment is made; the subject may be at home in another.
    dtypes, operators = given.dtype or ",".join(DTYPES), given.operator or ",".join(OPERATORS)
    settings = Settings.of("torch", "cpu", dtypes, given.effort, given.seed, operator=operators)
    subject = given.subject
    if given.write and subject.endswith(".py"):
        raise ValueError(f"--write with --subject {subject}: others could not repeat what is recorded")
    if subject.endswith(".py"):
        if not Path(subject).is_file():
            raise ValueError(f"--subject is {subject!r}; there is no such file")
        subject = str(Path(subject).resolve())
    if given.write or given.compare:
        chosen = {"dtypes": list(settings.dtypes), "operators": list(settings.operators)}
        wanted = {"subject": subject, "device": "cpu", "effort": given.effort, "seed": given.seed}
        known.compare_options(wanted | chosen)
    releases = [release_of(argument) for argument in given.releases]
    if any(release.version == NEWEST for release in releases):
        latest_release = latest()
        releases = [
            Wanted(latest_release, each.python) if each.version == NEWEST else each for each in releases
        ]
    versions = [release.version for release in releases]
    if twice := next((version for version in versions if versions.count(version) > 1), ""):
        raise ValueError(f"torch {twice} is given twice")
    return releases, Options(
        given.effort, given.seed, subject, given.dtype or "", given.operator or "", given.processes
    )


def _check() -> int:
    """Whether the README says what is recorded."""
    lines = readme.drift(SECTION, table.section(records.read()), "record.json")
    if lines:
        print("\n".join(lines))
        print("error: README.md says otherwise than is recorded", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
