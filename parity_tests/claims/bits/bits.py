"""Which changes of a call leave the bits of its results as they are: measured, and recorded in
``bit_invariances.toml``.

    torch-loss-parity bits                              print what holds for torch here
    torch-loss-parity bits --record                     and write it into the table
    ATEN_CPU_CAPABILITY=avx2 torch-loss-parity bits     as on a CPU without AVX-512

What is changed, and what "holds" means, is in Note [Invariances] of `torch_loss_parity.claims.bits.calls`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch_loss_parity.claims.bits.calls import INVARIANCES, PROBE, QUANTITIES, SIZES, Size, families_of
from torch_loss_parity.claims.bits.measure import Measurement
from torch_loss_parity.ledger.environment import Environment, here
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.subjects import Subject, load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATH = Path(__file__).with_name("bit_invariances.toml")
# Of a quantity: "holds", a list of invariances, and of each other one, the counterexample of each dtype.
Row = Mapping[str, Any]


def size_of(counterexample: str) -> Size:
    """The size that a recorded counterexample begins with."""
    rows, width = counterexample.split(":")[0].split(" x ")
    return int(rows), int(width)


def part_name(subject: Subject, environment: Environment) -> str:
    """The name of a part of the table."""
    return f"{_with(subject)}{environment}"


def _with(subject: Subject) -> str:
    return "" if subject.name in ("torch", "torch.nn") else f"{subject.name} with "


def command(subject: Subject, device: str) -> str:
    options = "" if subject.name in ("torch", "torch.nn") else f" {subject.name}"
    options += "" if device == "cpu" else f" --device {device}"
    return f"torch-loss-parity bits{options} --record"


Families = Mapping[str, Mapping[str, Row]]  # family -> quantity -> what holds and what does not
Table = Mapping[str, Mapping[str, Any]]  # name of a part -> "environment", and families
ENVIRONMENT = "environment"  # the key in a part that is no family


@dataclass(frozen=True)
class Part:
    """What is recorded of a subject somewhere."""

    environment: Environment
    families: Families


def nearest(subject: Subject, device: str) -> Part | None:
    """What is recorded of a subject here, or else in the environment that is most like this one; None where
    nothing is.
    """
    parts = [
        Part(Environment.of(part[ENVIRONMENT]), {k: v for k, v in part.items() if k != ENVIRONMENT})
        for name, part in table().items()
        if name == f"{_with(subject)}{Environment.of(part[ENVIRONMENT])}"
    ]
    best = here(device).nearest(part.environment for part in parts)
    return next((part for part in parts if part.environment == best), None)


def read(path: Path) -> Table:
    with path.open("rb") as file:
        return tomllib.load(file)


@cache
def table() -> Table:
    """The table of the project."""
    return read(PATH)


def measure_subject(subject: Subject, device: str) -> dict[str, dict[str, Row]]:
    """The part of the table for a subject here."""
    part: dict[str, dict[str, Row]] = {}
    offered = (operator for operator in OPERATORS.values() if subject.offers(operator.name))
    for family in (family for operator in offered for family in families_of(operator)):
        rows: dict[str, dict[str, Any]] = {quantity: {"holds": []} for quantity in QUANTITIES}
        for probe in dict.fromkeys(PROBE[name] for name in family.invariances):
            for dtype in DTYPES:
                differences = Measurement(subject, family, dtype, device).smallest(probe, SIZES[probe])
                for (invariance, quantity), how in differences.items():
                    rows[quantity].setdefault(invariance, {})[dtype] = how
        for row in rows.values():
            row["holds"] = [name for name in family.invariances if name not in row]
        part[family.name] = dict(rows)
    return part


def lines(part: Mapping[str, Any], name: str) -> Iterator[str]:
    """A part of the table as TOML."""
    yield f'["{name}".{ENVIRONMENT}]'
    yield from (f'{key} = "{value}"' for key, value in part[ENVIRONMENT].items())
    yield ""
    for family, quantities in part.items():
        if family == ENVIRONMENT:
            continue
        yield f'["{name}"."{family}"]'
        for quantity, row in quantities.items():
            yield f"{quantity}.holds = [{', '.join(f'{x!r}' for x in row['holds'])}]".replace("'", '"')
            for invariance in (x for x in INVARIANCES if x in row):
                yield from (
                    f'{quantity}.{invariance}.{dtype} = "{how}"' for dtype, how in row[invariance].items()
                )
        yield ""


def record(part: Mapping[str, Any], name: str, path: Path = PATH) -> None:
    """Write a part of the table; the others stay."""
    text = path.read_text() if path.exists() else ""
    heading = "".join(line + "\n" for line in text.splitlines() if line.startswith("#"))
    parts: dict[str, Mapping[str, Any]] = {**tomllib.loads(text), name: part}
    body = "\n".join(line for key in sorted(parts) for line in lines(parts[key], key))
    path.write_text(f"{heading}\n{body}".strip() + "\n")


def run_bits(subject: str, device: str, into: Path | None = None) -> int:
    """Measure what holds for a subject here, print it, and record it where a file is named; the exit status.

    Raises
    ------
    SubjectError
        If there is no such subject.
    """
    under_test = load(subject, tuple(OPERATORS))
    environment = here(device)
    name = part_name(under_test, environment)
    part = {ENVIRONMENT: environment.as_dict(), **measure_subject(under_test, device)}
    if into:
        record(part, name, into)
    print("\n".join(lines(part, name)))
    return 0
