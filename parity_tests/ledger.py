"""The ledger of known divergences: where torch breaks the derived bound, why, and what does hold there.

An entry never removes a check. It names a weaker `Arithmetic`, or the formula that torch in fact evaluates, and the result is
judged by the bound that follows from that. Its smallest input must keep breaking the strict bound: an entry that no longer
diverges fails the run and is to be retired.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from parity_tests import torch_formulas
from parity_tests.cases import Call

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATH = Path(__file__).with_name("known_divergences.toml")
REQUIRED = ("id", "operators", "claims", "dtypes", "torch", "reason", "measured", "link", "smallest")


@dataclass(frozen=True)
class Divergence:
    """One entry; the fields are described at the top of ``known_divergences.toml``."""

    id: str
    operators: tuple[str, ...]
    claims: tuple[str, ...]
    dtypes: tuple[str, ...]
    torch: str
    reason: str
    measured: str
    link: str
    smallest: tuple[Mapping[str, Any], ...]
    subjects: tuple[str, ...] = ("torch", "torch.nn")
    devices: tuple[str, ...] = ("cpu",)
    when: Mapping[str, Any] = field(default_factory=dict)
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    formula: str = ""

    def in_force(self, subject: str, device: str) -> bool:
        """Whether the entry speaks of this subject and device, in the installed version of torch."""
        return subject in self.subjects and device.split(":")[0] in self.devices and _installed_torch_is(self.torch)

    def covers(self, call: Call, claim: str) -> bool:
        return (
            call.operator in self.operators
            and claim in self.claims
            and call.dtype in self.dtypes
            and all(call.facts.get(name) in (allowed if isinstance(allowed, list) else [allowed]) for name, allowed in self.when.items())
        )

    @property
    def function(self) -> Callable[..., Any] | None:
        return getattr(torch_formulas, self.formula) if self.formula else None

    def smallest_call(self, claim: str, dtype: str) -> tuple[Call, np.ndarray | None]:
        """The smallest input recorded for ``claim`` as a call in ``dtype``, and its upstream gradient."""
        recorded = dict(next(entry for entry in self.smallest if entry["claim"] == claim))
        del recorded["claim"]
        grad_output = recorded.pop("grad_output", None)
        arguments = {name: np.asarray(value) if isinstance(value, list) else value for name, value in recorded.items()}
        call = Call(self.operators[0], arguments, dtype, dtype, () if claim == "forward" else (claim,))
        return call, None if grad_output is None else np.asarray(grad_output, dtype=np.float64)


@cache
def _installed_torch_is(specifier: str) -> bool:
    return SpecifierSet(specifier).contains(Version(torch.__version__).base_version)


@cache
def entries() -> tuple[Divergence, ...]:
    """Every entry of the ledger.

    Raises
    ------
    ValueError
        If an entry lacks a field or has an unknown one, does not say what holds, lacks a smallest input for a claim, or two
        share an id.
    """
    with PATH.open("rb") as file:
        raw = tomllib.load(file).get("divergence", [])
    return tuple(parse(entry) for entry in _unique(raw))


def parse(entry: Mapping[str, Any]) -> Divergence:
    missing = [name for name in REQUIRED if name not in entry]
    if missing:
        raise ValueError(f"ledger entry {entry.get('id', entry)!r} lacks {', '.join(missing)}")
    unknown = sorted(set(entry) - set(Divergence.__dataclass_fields__))
    if unknown:
        raise ValueError(f"ledger entry {entry['id']!r} has unknown fields {', '.join(unknown)}")
    if not entry.get("arithmetic") and not entry.get("formula"):
        raise ValueError(f"ledger entry {entry['id']!r} must say what holds: an arithmetic or a formula")
    recorded = [smallest.get("claim") for smallest in entry["smallest"]]
    if sorted(recorded, key=str) != sorted(entry["claims"]):
        raise ValueError(f"ledger entry {entry['id']!r} has claims {entry['claims']} but smallest inputs for {recorded}")
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Divergence(**fields)


def _unique(raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = [entry.get("id") for entry in raw]
    twice = sorted({str(i) for i in ids if ids.count(i) > 1})
    if twice:
        raise ValueError(f"ledger ids used twice: {', '.join(twice)}")
    return raw
