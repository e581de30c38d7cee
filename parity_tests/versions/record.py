"""What is kept of runs: a JSON file with an entry for each release, all of them with the same options.

Of a run is kept what a user of torch would see change: how many cases each claim has, how near to the bound
the worst comes, which entries of the ledger diverge and how often, what fails, and what is otherwise than is
recorded elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import Version

PATH = Path(__file__).with_name("record.json")
SCHEMA = 1
OUTCOME = 2  # the schema of `pytest --report` that is read
OPTIONS = ("subject", "device", "effort", "seed", "dtypes", "operators")


@dataclass(frozen=True)
class Release:
    """One run of the suite.

    Attributes
    ----------
    torch, date : str
    environment : mapping of str to str
        Versions, and what results depend on besides.
    counts : mapping of str to int
        The cases of each claim.
    worst : mapping
        By "operator dtype": the worst error / allowed of results, ``"forward"``, and of gradients.
    diverging : mapping of str to int
        The cases that each entry of the ledger explains.
    failures : sequence of mapping
        Test, claim, operator, dtype and message of each.
    news : sequence of mapping
        Kind, id and text of what is otherwise than recorded, each once.
    """

    torch: str
    date: str
    environment: Mapping[str, str]
    counts: Mapping[str, int]
    worst: Mapping[str, Mapping[str, float | None]]
    diverging: Mapping[str, int]
    failures: tuple[Mapping[str, str], ...] = ()
    news: tuple[Mapping[str, str], ...] = ()

    @property
    def cpu(self) -> str:
        """Whose numbers these are."""
        parts = (self.environment.get(name, "") for name in ("vendor", "machine", "capability"))
        return " ".join(part for part in parts if part) or "unknown"

    @classmethod
    def of(cls, outcome: Mapping[str, Any]) -> Release:
        """What is kept of what ``pytest --report`` wrote.

        Raises
        ------
        ValueError
            If it has another schema.
        """
        if outcome.get("schema") != OUTCOME:
            raise ValueError(f"the outcome has schema {outcome.get('schema')}; schema {OUTCOME} is read")
        counts: dict[str, int] = {}
        for claims in (cell for dtypes in outcome["counts"].values() for cell in dtypes.values()):
            for claim, cases in claims.items():
                counts[claim] = counts.get(claim, 0) + max(cases, 0)  # -1 where nothing is offered
        environment = outcome["environment"]
        news = [{name: each[name] for name in ("kind", "id", "text")} for each in outcome["news"]]
        return cls(
            torch=environment["torch"],
            date=outcome["date"],
            environment={name: text for name, text in environment.items() if isinstance(text, str)},
            counts=dict(sorted(counts.items())),
            worst={
                place: {kind: None if number is None else float(number) for kind, number in kinds.items()}
                for place, kinds in outcome.get("worst", {}).items()
            },
            diverging={name: entry["cases"] for name, entry in sorted(outcome["diverging"].items())},
            failures=tuple(outcome["failures"]),
            news=tuple({json.dumps(each): each for each in news}.values()),
        )


@dataclass(frozen=True)
class Record:
    """Releases in their order, run with the same options."""

    options: Mapping[str, Any] = field(default_factory=dict)
    releases: tuple[Release, ...] = ()

    def compare_options(self, options: Mapping[str, Any]) -> None:
        """Compare the options of a run with those of the releases that are here.

        Raises
        ------
        ValueError
            If there are some, and they were run with others.
        """
        if self.releases and (other := [name for name in OPTIONS if options[name] != self.options[name]]):
            told = (f"{name} {_words(self.options[name])}, not {_words(options[name])}" for name in other)
            what = f"what is recorded was run with {', '.join(told)}"
            raise ValueError(f"{what}; to begin anew, remove {PATH.name}")

    def adding(self, outcome: Mapping[str, Any]) -> Record:
        """The record with one more run, in the place of an earlier one of the same release.

        Raises
        ------
        ValueError
            If it was run with other options, or has another schema.
        """
        options = {name: outcome["options"][name] for name in OPTIONS}
        self.compare_options(options)
        release = Release.of(outcome)
        others = [each for each in self.releases if each.torch != release.torch]
        return Record(options, in_order([*others, release]))

    def release(self, torch: str) -> Release | None:
        """The run of a release, if it is recorded."""
        return next((each for each in self.releases if each.torch == torch), None)


def in_order(releases: Iterable[Release]) -> tuple[Release, ...]:
    return tuple(sorted(releases, key=lambda release: Version(release.torch)))


def read(path: Path | None = None) -> Record:
    """The record in a file, by default the project's; an empty one where there is none.

    Raises
    ------
    ValueError
        If it has another schema.
    """
    path = path or PATH
    if not path.exists():
        return Record()
    held = json.loads(path.read_text())
    if held.get("schema") != SCHEMA:
        raise ValueError(f"{path.name} has schema {held.get('schema')}; schema {SCHEMA} is read")
    sequences = ("failures", "news")
    releases = [each | {name: tuple(each[name]) for name in sequences} for each in held["releases"]]
    return Record(held["options"], in_order(Release(**each) for each in releases))


def write(record: Record, path: Path | None = None) -> None:
    """Write a record, so that a difference between two files is one between two runs."""
    held = {
        "schema": SCHEMA,
        "options": record.options,
        "releases": [asdict(each) for each in record.releases],
    }
    (path or PATH).write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
