"""Every operator has cases of every kind of claim that is run, or says why not.

Note [No silent gaps]
    A kind is run where its file of tests is among those that pytest was given. Then each of the run's
    operators that the subject offers must have had a case of it; or its record has a `Gap` in place of what
    the kind needs; or the subject declined, or does not promise the kind; or the whole kind was skipped, for
    all operators alike, which has a reason. Anything else is a failure: an operator that a table forgot would
    otherwise pass untested. At standard effort and beyond the same holds of each dtype.
    A run that was narrowed (``-k``, ``-m``, single tests) says nothing about what it left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.judging import tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import Gap
from torch_loss_parity.operators.kinds import KINDS, gap
from torch_loss_parity.plugin.observing import is_unseen
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import files_of_claims
from torch_loss_parity.subjects.settings import SETTINGS, Settings


def missing(
    config: pytest.Config, tallies: Iterable[Mapping[str, Any]], left_out: Set[tuple[str, str]]
) -> list[str]:
    """The kinds of claim of which an operator, or one of its dtypes, had no case; see Note [No silent gaps].

    Parameters
    ----------
    config : pytest.Config
    tallies : iterable of mapping
        What tests counted.
    left_out : set of (operator, kind)
        Of the tests that were skipped; the operator is "" where a test is about all of them.
    """
    if _narrowed(config):
        return []
    settings, tallies = config.stash[SETTINGS], list(tallies)
    counted = tally.coverage(tallies)
    # One test of a kind may decline, and another be skipped: then the kind was asked for all the same.
    declined = {(each["operator"], each["dtype"], each["claim"]) for each in tallies if each["declined"]}
    met = {kind for cell in counted.values() for kind, cases in cell.items() if cases}
    lines = []
    for kind in _kinds_of(config):
        for name in settings.operators or OPERATORS:
            if kind not in settings.subject.promise.claims_of(name):
                continue
            if gap(OPERATORS[name], kind) or not settings.subject.offers(name):
                continue
            if kind not in met and left_out & {(name, kind), ("", kind)}:
                continue
            without = [
                dtype
                for dtype in settings.dtypes
                if not counted.get((name, dtype), {}).get(kind) and (name, dtype, kind) not in declined
            ]
            if len(without) == len(settings.dtypes):
                lines.append(f"{kind}: {name}")
            elif _in_every_dtype(settings):
                lines += [f"{kind}: {name}, {dtype}" for dtype in without]
    return lines


def _in_every_dtype(settings: Settings) -> bool:
    """At quick effort dtypes may take turns."""
    return settings.effort_name != "quick"


def _narrowed(config: pytest.Config) -> bool:
    option = config.option
    single = any("::" in str(argument) for argument in config.args)
    chosen = option.keyword or option.markexpr or getattr(option, "lf", False) or option.deselect
    other = getattr(option, "audit", None) or option.collectonly  # no claims are tested
    return bool(single or chosen or option.maxfail or other)


def _kinds_of(config: pytest.Config) -> list[str]:
    """The kinds whose files are among those that pytest was given."""
    given = suite.places(config)

    def is_given(path: Path) -> bool:
        return any(folder in (path, *path.parents) for folder in given)

    files = {tally.claim_of(str(path)): path for path in files_of_claims(KINDS)}
    subject = config.stash[SETTINGS].subject
    return [
        kind for kind in KINDS if kind in files and is_given(files[kind]) and not is_unseen(kind, subject)
    ]


def gaps(config: pytest.Config) -> list[str]:
    """What the run's operators do not have, and why: a line for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name in config.stash[SETTINGS].operators or OPERATORS:
        for facet, each in _gaps_of(OPERATORS[name]).items():
            reasons.setdefault((facet, each.why), []).append(name)
    return [f"{facet}: {', '.join(names)}: {why}" for (facet, why), names in reasons.items()]


def _gaps_of(record: Operator) -> dict[str, Gap]:
    """The gaps of a record, and of its facets."""
    gaps = dict(record.gaps)
    for name in record.__dataclass_fields__:
        facet = getattr(record, name)
        if is_dataclass(facet) and name != "family":
            parts = {part: getattr(facet, part) for part in facet.__dataclass_fields__}
            gaps |= {f"{name}, {part}": each for part, each in parts.items() if isinstance(each, Gap)}
    return gaps
