"""What is recorded, as Markdown: for the README, and for whoever has just run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch_loss_parity.versions.changes import Changes, Failing, grouped_failures, steps
from torch_loss_parity.versions.record import Record

SHOWN = 12  # lines of a kind
NONE = "No release is recorded yet: `torch-loss-parity versions 2.13.0 --write` records one."


def section(record: Record, not_run: Mapping[str, str] | None = None) -> str:
    """The releases, their cases by claim, what changes from each to the next, and which could not be run."""
    problems = [f"- torch {version} was not run: {why}" for version, why in (not_run or {}).items()]
    if not record.releases:
        return "\n".join(problems or [NONE])
    parts = [[_options(record)], list(_releases(record)), list(_claims(record))]
    parts += [list(_step(step)) for step in steps(record)]
    return "\n\n".join("\n".join(part) for part in [*parts, problems] if part)


def _options(record: Record) -> str:
    options = record.options
    named = ", ".join(f"{name} {options[name]}" for name in ("subject", "effort", "seed"))
    kinds = ", ".join(_number(len(options[f"{what}s"]), what) for what in ("operator", "dtype"))
    return f"Run with {named}, device {options['device']}: {kinds}."


def _releases(record: Record) -> Iterator[str]:
    header = ("torch", "run on", "cases", "fail", "known to diverge: entries", "cases", "new", "fixed")
    before = {step.after.torch: step for step in steps(record)}
    rows = []
    for release in record.releases:
        step = before.get(release.torch)
        rows.append(
            (
                release.torch,
                f"{release.date}, {release.cpu}, Python {release.environment.get('python', 'unknown')}",
                f"{sum(release.counts.values()):,}",
                str(len({each["test"] for each in release.failures})),
                str(len(release.diverging)),
                f"{sum(release.diverging.values()):,}",
                str(len(step.new) + sum(each.tests for each in step.failing)) if step else "",
                str(len(step.fixed) + sum(each.tests for each in step.repaired)) if step else "",
            )
        )
    return _table(header, rows)


def _claims(record: Record) -> Iterator[str]:
    claims = sorted({claim for release in record.releases for claim in release.counts})
    rows = [(each.torch, *(f"{each.counts.get(claim, 0):,}" for claim in claims)) for each in record.releases]
    return _table(("cases of", *claims), rows)


def _step(step: Changes) -> Iterator[str]:
    """What changes from a release to the next, a line each."""
    yield from (f"From torch {step.before.torch} to {step.after.torch}:", "")
    new = (f"`{id}` ({_number(cases, 'case')})" for id, cases in step.new.items())
    fixed = (f"`{id}` ({_number(cases, 'case')} before)" for id, cases in step.fixed.items())
    numbers = (f"`{id}`: {before}, then {after}" for id, (before, after) in step.numbers.items())
    worst = (f"{place}: {before:.3g}, then {after:.3g}" for place, (before, after) in step.worst.items())
    lines = [
        *_listed("fails now", step.failing),
        *_listed("fails no longer", step.repaired),
        *_listed("diverges now", new),
        *_listed("diverges no longer", fixed),
        *_listed("diverges in another number of cases", numbers),
        *_listed("another worst error / allowed", worst),
        *_listed("otherwise than recorded", step.later_news),
    ]
    yield from lines or ["- nothing"]
    if step.besides:
        yield f"- the two runs differ in more than torch: {'; '.join(step.besides)}"


def _listed(what: str, tests: Iterable[str | Failing]) -> Iterator[str]:
    items = [str(each) for each in tests]
    yield from (f"- {what}: {item}" for item in items[:SHOWN])
    if len(items) > SHOWN:
        yield f"- {what}: {len(items) - SHOWN} more, in `parity_tests/versions/record.json`"


def failures(record: Record, versions: Iterable[str]) -> Iterator[str]:
    """What fails on some releases, a line each: a table says only how much."""
    for version in versions:
        release = record.release(version)
        for each in grouped_failures(release) if release else []:
            yield f"torch {version} fails: {each}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"
