"""Which ways does anybody need? Those by which right kernels pass, recorded; the ledger names others.

    python -m torch_loss_parity.campaign.right_ways --check      # or --write

judges every right kernel by the claims of numbers, see `torch_loss_parity.campaign.right_checks`, and keeps
by which ways each passed that is not right by the definition alone. ``--check`` fails if another was needed
than is recorded, or if a way of the catalogue is needed by no right kernel and named by no entry of the
ledger: that one is to go, or the right kernel that people ship is to be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from torch_loss_parity.campaign.right_checks import CHECKS, judged
from torch_loss_parity.claims.semantics import checks as semantics
from torch_loss_parity.faults.right import RIGHT_KERNELS, RightKernel
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.reference.ways import Way
from torch_loss_parity.subjects import RIGHT, load

RECORD = Path(__file__).with_name("right_ways.json")
SEEDS = (0, 1, 2)
Needed = Mapping[str, Sequence[str]]  # of each right kernel, the names of ways


def measure(kernels: Sequence[str], seeds: Iterable[int] = SEEDS) -> dict[str, list[str]]:
    """By which ways each kernel passes: the claims of numbers at quick effort, and the rows of the table of
    semantics that say what the documentation does.
    """
    needed: dict[str, set[str]] = {name: set() for name in kernels}
    for kernel, tally in chain(_of_semantics(kernels), *(_of_numbers(kernels, seed) for seed in seeds)):
        ways = each(OPERATORS[kernel.operator].ways)
        needed[kernel.name] |= {way.name for way in ways if any(_by(way, said) for said in tally.ways)}
    return {name: sorted(of_kernel) for name, of_kernel in needed.items()}


def _of_numbers(kernels: Sequence[str], seed: int) -> Iterator[tuple[RightKernel, Tally]]:
    for kernel, tally, _ in judged(kernels, tuple(CHECKS), "quick", seed):
        yield kernel, tally


def _of_semantics(kernels: Sequence[str]) -> Iterator[tuple[RightKernel, Tally]]:
    for kernel in (RIGHT_KERNELS[name] for name in kernels):
        operator = OPERATORS[kernel.operator]
        subject = load(RIGHT + kernel.name, (operator.name,))
        for dtype in kernel.dtypes:
            tally = Tally(operator.name, dtype, semantics.CLAIM)
            for row in each(operator.semantics):
                if row.meaning and dtype in row.dtypes and not row.about_shape:
                    semantics.problem_in_row(subject, "cpu", operator, row, dtype, tally)
            yield kernel, tally


def _by(way: Way, sentence: str) -> bool:
    """Whether a sentence of a tally says that the way explains something, itself or as autograd has it."""
    _, _, explanation = sentence.partition(": ")
    return explanation.startswith(
        (f"{way}", f"autograd of {way.name} (", f"nan where {way.name} is infinite")
    )


def recorded() -> dict[str, list[str]]:
    """By which ways each right kernel passed when that was last measured."""
    return dict(json.loads(RECORD.read_text()))


def of_ledger() -> set[tuple[str, str]]:
    """The operators and names of the ways that entries of the ledger name."""
    return {(name, way) for entry in ledger.entries() for name in entry.operators for way in entry.ways}


def unneeded(needed: Needed) -> list[str]:
    """The ways that neither a right kernel needs nor an entry of the ledger names."""
    used = of_ledger() | {
        (RIGHT_KERNELS[name].operator, way) for name, ways in needed.items() for way in ways
    }
    every = [way for operator in OPERATORS.values() for way in each(operator.ways)]
    return [f"{way.operator}: {way.name}" for way in every if (way.operator, way.name) not in used]


def drift(needed: Needed) -> list[str]:
    """What does not hold of the record."""
    known = recorded()
    return [
        f"{name} passes by {', '.join(ways) or 'the definition'}; recorded is "
        f"{', '.join(known[name]) or 'the definition'}"
        if name in known
        else f"{name} is not in the record"
        for name, ways in needed.items()
        if known.get(name) != ways
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write or check the record."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.campaign.right_ways", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--right", help="names of right kernels, separated by commas (default: all)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="record what was measured; of others it stays")
    what.add_argument("--check", action="store_true", help="fail if it is otherwise than recorded")
    options = parser.parse_args(arguments)
    kernels = options.right.split(",") if options.right else list(RIGHT_KERNELS)
    if unknown := [name for name in kernels if name not in RIGHT_KERNELS]:
        parser.error(f"--right has {', '.join(unknown)}; choose from {', '.join(RIGHT_KERNELS)}")
    needed = measure(kernels)
    if options.write:
        known = recorded() if RECORD.exists() else {}
        every = {name: needed.get(name, known.get(name)) for name in RIGHT_KERNELS}
        kept = {name: ways for name, ways in every.items() if ways is not None}
        RECORD.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    problems = drift(needed)
    if not options.right:  # a way may be needed by a kernel that was not measured
        problems += [f"nobody needs {way}" for way in unneeded(recorded())]
    print("\n".join(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
