"""Where the ledger was verified: the releases and machines on which its entries were tried, and which of them
did not diverge there.

    pytest parity_tests --outcome outcome.json
    python -m torch_loss_parity.ledger.verified outcome.json

records what a run found in ``verified.json``. An entry that does not diverge in an environment where it was
never tried, or where it is recorded not to, is no failure: see Note [Records and verdicts] of
`torch_loss_parity.ledger.news`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from torch_loss_parity.ledger.environment import Environment, here
from torch_loss_parity.ledger.news import News

PATH = Path(__file__).with_name("verified.json")


@dataclass(frozen=True)
class Verified:
    """What is recorded.

    Attributes
    ----------
    environments : mapping of str to Environment
        By a short name.
    diverges : mapping
        Of each entry of the ledger, the names of the environments in which it diverged somewhere.
    absent : mapping
        Of each entry, by environment, the places in which it was tried and did not diverge.
    """

    environments: Mapping[str, Environment] = field(default_factory=dict)
    diverges: Mapping[str, Sequence[str]] = field(default_factory=dict)
    absent: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def name_of(self, environment: Environment) -> str:
        """The short name of an environment; "" where nothing was recorded in it."""
        return next((name for name, known in self.environments.items() if known == environment), "")

    def newest(self, device: str) -> Version:
        """The newest release that anything was verified on."""
        releases = [Version(each.torch) for each in self.environments.values() if each.device == device]
        return max(releases, default=Version("0"))


def read(path: Path) -> Verified:
    """The record in a file.

    Raises
    ------
    ValueError
        If an entry names an environment that is not described.
    """
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    environments = {
        name: Environment.of(described) for name, described in recorded.get("environments", {}).items()
    }
    entries = recorded.get("entries", {})
    for id, entry in entries.items():
        if unknown := sorted({*entry.get("diverges", ()), *entry.get("absent", ())} - set(environments)):
            raise ValueError(
                f"{path.name}: {id} names {', '.join(unknown)}; described are {', '.join(environments)}"
            )
    return Verified(
        environments,
        {id: entry.get("diverges", []) for id, entry in entries.items()},
        {id: entry.get("absent", {}) for id, entry in entries.items()},
    )


@cache
def record() -> Verified:
    """The record of the project."""
    return read(PATH)


def is_recorded(device: str) -> bool:
    """Whether anything was recorded in this very environment."""
    return bool(record().name_of(here(device)))


def is_later(device: str) -> bool:
    """Whether the installed release of torch is later than every one that was recorded."""
    return Version(here(device).torch) > record().newest(here(device).device)


def no_longer(id: str, place: str, how: str, device: str) -> News:
    """The news that an entry of the ledger does not diverge in a place where it should.

    Parameters
    ----------
    how : str
        Completes "... does not diverge: ".
    """
    recorded, environment = record(), here(device)
    name = recorded.name_of(environment)
    known = place in recorded.absent.get(id, {}).get(name, ())
    contradicts = name in recorded.diverges.get(id, ()) and not known
    tried = [recorded.environments[each] for each in recorded.diverges.get(id, ())]
    releases = sorted({each.torch for each in tried if each.device == environment.device}, key=Version)
    machines = sorted({f"{each.machine} {each.capability}" for each in tried})
    where = (
        (f"It does on torch {', '.join(releases)} ({', '.join(machines)})")
        if tried
        else ("Nobody recorded where it does")
    )
    if contradicts:
        advice = "That was recorded in this very environment: retire the entry, or restrict it"
    elif releases and Version(environment.torch) > Version(releases[-1]):
        advice = f"Fixed since {releases[-1]}, unless it is this machine"
    else:
        advice = "Another machine, or a release that it was not tried on"
    text = f"{id} ({place}) does not diverge: {how}. {where}; here is {environment}. {advice}."
    return News("ledger", id, place, text, contradicts, known)


def no_longer_falls_short(
    id: str, operator: str, dtype: str, sentence: str, device: str, how: str = "nothing is raised"
) -> News:
    """The news that a shortfall of the ledger does not occur where one of its sentences says so."""
    return no_longer(id, f"{operator}, {dtype}: {sentence}", how, device)


# --- recording ----------------------------------------------------------------------------------------------


def add(recorded: Mapping[str, Any], outcome: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A record with what a run found in an environment.

    What it met replaces what was recorded there; what it did not meet stays.
    """
    described = {**outcome["environment"]["results"], "date": outcome["date"]}
    environments = {**recorded.get("environments", {}), name: described}
    entries: dict[str, dict[str, Any]] = {
        id: dict(entry) for id, entry in recorded.get("entries", {}).items()
    }
    absent: dict[str, set[str]] = {}
    for each in outcome["news"]:
        if each["kind"] == "ledger":
            absent.setdefault(each["id"], set()).add(each["place"])
    for id in {*outcome["diverging"], *absent}:
        entry = entries.setdefault(id, {})
        before = {each for each in entry.get("diverges", []) if each != name}
        now = before | ({name} if id in outcome["diverging"] else set())
        elsewhere = {env: places for env, places in entry.get("absent", {}).items() if env != name}
        entry["diverges"] = [each for each in environments if each in now]
        entry["absent"] = elsewhere | ({name: sorted(absent[id])} if id in absent else {})
    return {"environments": environments, "entries": dict(sorted(entries.items()))}


def keep(outcome: Mapping[str, Any], path: Path | None = None) -> str:
    """Add what a run found to the record; what was added, in words."""
    path = path or PATH
    name = short_name(outcome["environment"]["results"])
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(text_of(add(recorded, outcome, name)), encoding="utf-8")
    return f"{name}, {outcome['options']['subject']}: {len(outcome['diverging'])} entries diverge"


def text_of(recorded: Mapping[str, Any]) -> str:
    """A record as JSON, a line an entry."""

    def lines(part: Mapping[str, Any]) -> str:
        return ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in part.items())

    return (
        "{" + ",\n".join(f'\n "{name}": {{\n{lines(part)}\n }}' for name, part in recorded.items()) + "\n}\n"
    )


def short_name(results: Mapping[str, str]) -> str:
    """The name of an environment in the record."""
    where = results["capability"] if results["device"] == "cpu" else results["device"]
    return " ".join(
        (results["torch"], results["machine"], where, results["vendor"], results["functions"].split()[-1])
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what runs of pytest found."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.ledger.verified",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("outcome", nargs="+", type=Path, help="what pytest --outcome=FILE wrote")
    options = parser.parse_args(arguments)
    for path in options.outcome:
        print(keep(json.loads(path.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
