"""The ledger of known divergences: where torch breaks the derived bound, why, and what does hold there.

An entry never removes a check. It names a weaker `Arithmetic`, or the formula that torch in fact evaluates,
and the result is judged by the bound that follows from that. Its smallest input is to break the strict bound:
that it does not is news, see Note [Records and verdicts] of `torch_loss_parity.ledger.news`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.formulas import autograd_formulas, torch_on_cuda, torch_second_order
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import function_of_way
from torch_loss_parity.ledger import files
from torch_loss_parity.ledger.environment import torch_version
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.reference.ways import Way

REQUIRED = ("id", "operators", "quantities", "dtypes", "torch", "reason", "measured", "link", "smallest")
ANY_DEVICE = "any"  # of a plan: whatever device observes it
LONGEST_SCRIPT = 15  # lines: what a maintainer reads without scrolling


class Entry:
    """What every entry of the ledger says of whom it speaks."""

    id: str
    torch: str
    subjects: tuple[str, ...]
    devices: tuple[str, ...]

    def in_force(self, subject: str, device: str) -> bool:
        """Whether the entry speaks of this subject and device, in the installed version of torch."""
        return (
            subject.partition(":")[0] in self.subjects  # whatever follows chooses among its kinds
            and device.split(":")[0] in (*self.devices, ANY_DEVICE)
            and _torch_is(self.torch)
        )


@dataclass(frozen=True)
class Divergence(Entry):
    """A place where a subject breaks the derived bound; README.md and schema.json describe the fields."""

    id: str
    operators: tuple[str, ...]
    quantities: tuple[str, ...]
    dtypes: tuple[str, ...]
    torch: str
    reason: str
    measured: str
    link: str
    smallest: tuple[Mapping[str, Any], ...]
    subjects: tuple[str, ...] = ("torch", "torch.nn")
    devices: tuple[str, ...] = ("cpu",)
    modes: tuple[str, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict)
    unless: Mapping[str, Any] = field(default_factory=dict)
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    ways: tuple[str, ...] = ()
    formula: str = ""

    def covers(self, call: Call, quantity: str, mode: str = "") -> bool:
        return (
            call.operator in self.operators
            and quantity in self.quantities
            and call.dtype in self.dtypes
            and (not self.modes or mode in self.modes)
            and all(_is_one_of(call.facts.get(name), values) for name, values in self.when.items())
            and not any(_is_one_of(call.facts.get(name), values) for name, values in self.unless.items())
        )

    def function(self, operator: str, quantity: str) -> Callable[..., Any] | None:
        """What the subject evaluates in place of the definition or of its derivative: a way, or a formula;
        None where it is the definition, in a weaker arithmetic.
        """
        if self.formula:
            return formula(self.formula)
        ways = ways_called(operator, self.ways)
        functions = (function_of_way(way, Quantity.parse(quantity)) for way in ways)
        return next((function for function in functions if function), None)

    def smallest_call(self, quantity: str, dtype: str) -> tuple[Call, np.ndarray | None]:
        """The smallest input recorded for ``quantity`` as a call in ``dtype``, and its upstream gradient."""
        recorded = dict(next(entry for entry in self.smallest if entry["quantity"] == quantity))
        del recorded["quantity"]
        grad_output, dtypes = recorded.pop("grad_output", None), recorded.pop("dtypes", {})
        output_dtype = recorded.pop("output_dtype", recorded.get("dtype", dtype))
        arguments = {
            name: _array(value) if isinstance(value, (list, dict)) else value
            for name, value in recorded.items()
        }
        call = Call(
            self.operators[0],
            arguments,
            dtype,
            output_dtype,
            () if quantity == "forward" else (quantity,),
            dtypes=dtypes,
        )
        return call, None if grad_output is None else np.asarray(grad_output, dtype=np.float64)


def _array(value: Any) -> np.ndarray:
    """A list of numbers, or ``{ full = 0.5, shape = [257] }``."""
    return np.asarray(value) if isinstance(value, list) else np.full(value["shape"], value["full"])


def _is_one_of(value: Any, values: Any) -> bool:
    return value in (values if isinstance(values, list) else [values])


@dataclass(frozen=True)
class Shortfall(Entry):
    """A place where torch does something other than it should, that is no matter of rounding.

    Attributes
    ----------
    claim : str
        The kind of claim that finds it: "errors", "transforms", ...; "no result" where a case of any claim
        leaves nothing to compare.
    operators, dtypes : tuple of str
        Whom it concerns; every dtype unless given.
    cases : tuple of str
        The sentences of the claim that do not hold, or what is said where there is no result; shell wildcards
        are allowed.
    what : str
        What torch does, and what it should do.
    script, prints : str
        At most fifteen lines that need only torch, and the words that they print.
    """

    id: str
    claim: str
    operators: tuple[str, ...]
    cases: tuple[str, ...]
    what: str
    reason: str
    torch: str
    link: str
    script: str
    prints: str
    dtypes: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ("torch", "torch.nn")
    devices: tuple[str, ...] = ("cpu",)

    def covers(self, claim: str, operator: str, dtype: str, sentence: str) -> bool:
        return (
            claim == self.claim
            and operator in self.operators
            and (not self.dtypes or dtype in self.dtypes)
            and any(fnmatchcase(sentence, pattern) for pattern in self.cases)
        )


def formula(name: str) -> Callable[..., Any]:
    """A formula by name: one of second order that torch evaluates, one of CUDA's own, or what autograd makes
    of a definition.
    """
    modules = (torch_second_order, torch_on_cuda, autograd_formulas)
    module = next((each for each in modules[:-1] if hasattr(each, name)), modules[-1])
    function: Callable[..., Any] = getattr(module, name)
    return function


def ways_called(operator: str, names: Sequence[str]) -> tuple[Way, ...]:
    """The ways of an operator that have one of ``names``."""
    return tuple(way for way in each(OPERATORS[operator].ways) if way.name in names)


def shortfall(
    subject: str, device: str, claim: str, operator: str, dtype: str, sentence: str
) -> Shortfall | None:
    """The recorded shortfall that explains why ``sentence`` does not hold of a subject, if there is one."""
    for entry in shortfalls():
        if entry.covers(claim, operator, dtype, sentence) and entry.in_force(subject, device):
            return entry
    return None


def _torch_is(specifier: str) -> bool:
    return _is_among(torch_version(), specifier)


@cache
def _is_among(version: str, specifier: str) -> bool:
    return SpecifierSet(specifier).contains(Version(version).base_version)


@cache
def entries() -> tuple[Divergence, ...]:
    """Every entry of the ledger.

    Raises
    ------
    ValueError
        If an entry lacks a field or has an unknown one, does not say what holds, lacks a smallest input for a
        quantity, or two share an id; or for what `files.written` refuses.
    """
    return tuple(parse(each.fields, each.place) for each in files.written() if each.kind == "divergence")


def entries_of(subject: str) -> tuple[Divergence, ...]:
    """The entries that speak of a subject, whatever the device and the version of torch."""
    return tuple(entry for entry in entries() if subject.partition(":")[0] in entry.subjects)


@cache
def in_force(subject: str, device: str, operator: str, dtype: str) -> tuple[Divergence, ...]:
    """The entries that speak of a subject on a device, and of an operator in a dtype; asked for with every
    result.
    """
    return tuple(
        e for e in entries() if e.in_force(subject, device) and operator in e.operators and dtype in e.dtypes
    )


@cache
def subjects() -> frozenset[str]:
    """Whom the ledger speaks of: who is asked for what is recorded, whatever the device and the version."""
    return frozenset(name for entry in entries() for name in entry.subjects)


@cache
def speaks_of(subject: str, device: str) -> bool:
    """Whether any divergence is recorded of a subject on a device."""
    return any(entry.in_force(subject, device) for entry in entries())


@cache
def shortfalls() -> tuple[Shortfall, ...]:
    """Every shortfall of the ledger.

    Raises
    ------
    ValueError
        If an entry lacks a field or has an unknown one, its script is too long, or two share an id; or for
        what `files.written` refuses.
    """
    return tuple(
        parse_shortfall(each.fields, each.place) for each in files.written() if each.kind == "shortfall"
    )


def shortfalls_of(subject: str) -> tuple[Shortfall, ...]:
    """The shortfalls that are recorded of a subject, whatever the device and the version of torch."""
    return tuple(entry for entry in shortfalls() if subject.partition(":")[0] in entry.subjects)


def parse_shortfall(entry: Mapping[str, Any], place: str = "") -> Shortfall:
    """A shortfall from its fields; ``place`` says in an error where they stand."""
    required = [f.name for f in fields(Shortfall) if f.default is MISSING]
    place = _check_fields(entry, required, Shortfall, place)
    lines = entry["script"].strip().splitlines()
    if len(lines) > LONGEST_SCRIPT:
        raise ValueError(f"{place}: script has {len(lines)} lines; allowed are {LONGEST_SCRIPT}")
    return Shortfall(**_frozen(entry))


def _check_fields(entry: Mapping[str, Any], required: Sequence[str], kind: type, place: str) -> str:
    """Refuse an entry that lacks a field or has an unknown one; the place of one that does not."""
    place = place or f"ledger entry {entry.get('id', entry)!r}"
    missing = [name for name in required if name not in entry]
    if missing:
        raise ValueError(f"{place}: lacks {', '.join(missing)}")
    known = [f.name for f in fields(kind)]
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ValueError(f"{place}: has unknown fields {', '.join(unknown)}; allowed are {', '.join(known)}")
    return place


def parse(entry: Mapping[str, Any], place: str = "") -> Divergence:
    """A divergence from its fields; ``place`` says in an error where they stand."""
    place = _check_fields(entry, REQUIRED, Divergence, place)
    if not (entry.get("arithmetic") or entry.get("formula") or entry.get("ways")):
        raise ValueError(f"{place}: must say what holds: an arithmetic, ways or a formula")
    if entry.get("formula") and entry.get("ways"):
        raise ValueError(f"{place}: has ways and a formula; allowed is one of them")
    recorded = [smallest.get("quantity") for smallest in entry["smallest"]]
    if sorted(recorded, key=str) != sorted(entry["quantities"]):
        raise ValueError(
            f"{place}: has quantities {', '.join(entry['quantities'])} but smallest inputs for "
            f"{', '.join(map(str, recorded))}; allowed is one smallest input for each quantity"
        )
    return Divergence(**_frozen(entry))


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
