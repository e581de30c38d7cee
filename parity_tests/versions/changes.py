"""What is otherwise on one release than on another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch_loss_parity.versions.record import Record, Release

RESOLUTION = 1.05  # a fraction of the bound is known to five per cent
DRAWS = "hypothesis"  # with another version of it, other cases may be drawn
MACHINE = ("vendor", "machine", "capability", "functions")


@dataclass(frozen=True)
class Failing:
    """Tests that fail with the same words."""

    claim: str
    where: str
    message: str
    tests: int

    def __str__(self) -> str:
        tests = f" ({self.tests} tests)" if self.tests > 1 else ""
        return ", ".join(part for part in (self.claim, self.where) if part) + f": {self.message}{tests}"


@dataclass(frozen=True)
class Changes:
    """From one release to a later one."""

    before: Release
    after: Release

    @property
    def new(self) -> dict[str, int]:
        """Entries of the ledger that diverge only on the later one, with their cases there."""
        return {id: cases for id, cases in self.after.diverging.items() if id not in self.before.diverging}

    @property
    def fixed(self) -> dict[str, int]:
        """Entries that diverge only on the earlier one, with their cases there."""
        return Changes(self.after, self.before).new

    @property
    def numbers(self) -> dict[str, tuple[int, int]]:
        """Entries that diverge in another number of cases."""
        before, after = self.before.diverging, self.after.diverging
        return {id: (n, after[id]) for id, n in before.items() if after.get(id, n) != n}

    @property
    def failing(self) -> list[Failing]:
        """What fails only on the later one."""
        return grouped_failures(self.after, self.before)

    @property
    def repaired(self) -> list[Failing]:
        """What fails only on the earlier one."""
        return grouped_failures(self.before, self.after)

    @property
    def worst(self) -> dict[str, tuple[float, float]]:
        """Where the worst error / allowed is another: by operator, dtype, and "forward" or "gradient"."""
        changed = {}
        for place, kinds in self.before.worst.items():
            for kind, one in kinds.items():
                other = self.after.worst.get(place, {}).get(kind)
                if one is None or other is None or max(one, other) <= RESOLUTION * min(one, other):
                    continue
                changed[f"{place} {kind}"] = (one, other)
        return changed

    @property
    def later_news(self) -> list[str]:
        """News of the later one that is none on the earlier."""
        known = {_identity(each) for each in self.before.news}
        return list(dict.fromkeys(each["text"] for each in self.after.news if _identity(each) not in known))

    @property
    def besides(self) -> list[str]:
        """In what the two runs differ besides torch, where numbers may depend on it."""
        one, other = self.before.environment, self.after.environment
        names = [name for name in (*MACHINE, DRAWS) if one.get(name) != other.get(name)]
        return [f"{name} {one.get(name, 'unknown')}, {other.get(name, 'unknown')}" for name in names]


def steps(record: Record) -> Iterator[Changes]:
    """From each release to the next."""
    for before, after in zip(record.releases, record.releases[1:], strict=False):
        yield Changes(before, after)


def grouped_failures(release: Release, without: Release | None = None) -> list[Failing]:
    """The failures of a release that another does not have, those with the same words as one."""
    other = {each["test"] for each in without.failures} if without else set()
    tests_of: dict[tuple[str, str, str], set[str]] = {}
    for each in release.failures:
        if each["test"] not in other:
            where = " ".join(part for part in (each.get("operator", ""), each.get("dtype", "")) if part)
            tests_of.setdefault((each["claim"], where, each["message"]), set()).add(each["test"])
    return [Failing(*words, len(tests)) for words, tests in tests_of.items()]


def drift(recorded: Release, observed: Release) -> list[str]:
    """In what a run is otherwise than it is recorded: what diverges, and what fails. How often, and what is
    news, depends on the machine."""
    changes = Changes(recorded, observed)
    lines = [f"{id} diverges, and did not" for id in changes.new]
    lines += [f"{id} does not diverge, and did" for id in changes.fixed]
    lines += [f"fails, and did not: {each}" for each in changes.failing]
    return lines + [f"does not fail, and did: {each}" for each in changes.repaired]


def _identity(news: Mapping[str, str]) -> tuple[str, str]:
    return news["kind"], news["id"]
