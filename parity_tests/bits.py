"""Which changes of a call leave the bits of its results as they are: measured, and recorded in ``bit_invariances.toml``.

    python -m parity_tests.bits                              print what holds for torch here
    python -m parity_tests.bits --record                     and write it into the table
    ATEN_CPU_CAPABILITY=avx2 python -m parity_tests.bits     as on a CPU that knows no AVX-512 (or: default)

Note [Invariances]
    torch promises none of these, and the bound allows every one to be broken. People count on them all the same: who caches, who
    compares two runs, who serves the same prompt in another batch. So it is recorded, for every operator, where its rows lie, and
    dtype, whether each of them holds, and the smallest counterexample where one does not:

    twice       the same call gives the same bits
    alone       a row gives the same bits alone and in a batch of 2, 3, 17 and 64, in whatever position
    batches     the same in batches of all these sizes and in all positions, apart from being alone
    threads     one thread gives the same bits as two
    layouts     views with other strides give the same bits as contiguous tensors
    gradients   the result is the same without gradients and under inference_mode; a gradient, if only its argument requires one

    "Holds" means over all sizes that are tried here: lengths around those of vectors, sizes that cross the thresholds from which
    on torch works with several threads. Inputs follow from nothing but the size.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from packaging.version import Version

from parity_tests.layouts import LAYOUTS, Layout, place
from parity_tests.observe import TORCH_DTYPES
from parity_tests.operators import DTYPES, OPERATORS
from parity_tests.subjects import Subject, load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATH = Path(__file__).with_name("bit_invariances.toml")
INVARIANCES = ("twice", "alone", "batches", "threads", "layouts", "gradients")
CLAIMS = ("forward", "gradient")
BATCHES, DISTINCT = (2, 3, 17, 64), 2  # sizes of batches; different rows in them, so that each is met in each position
Size = tuple[int, int]  # rows, and the length of each
Results = Mapping[str, list[torch.Tensor]]  # of each claim
Differences = Iterator[tuple[str, str, str]]  # an invariance, a claim and how it is broken

SMALL = ((3, 5), (5, 33), (7, 67), (33, 130))
SHARED_AMONG_THREADS = 2**15  # elements, the least of which torch gives each thread a part
LARGE = (850, 40)  # beyond it
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 70, 256, 1025)
SIZES: Mapping[str, tuple[Size, ...]] = {  # of each probe
    "rows": tuple((DISTINCT, width) for width in WIDTHS),
    "threads": (SMALL[1], SMALL[-1], LARGE),
    "layouts": SMALL,
    "gradients": (*SMALL, LARGE),
}
PROBE = {"twice": "threads", "alone": "rows", "batches": "rows", "threads": "threads", "layouts": "layouts", "gradients": "gradients"}


@dataclass(frozen=True)
class Family:
    """Calls of one operator that differ in their size alone.

    Attributes
    ----------
    where : str
        Where the rows lie, or what is reduced: completes the operator's name to the name of a row of the table.
    shape : callable
        Of input, from the number and the length of rows.
    batch : int or None
        The dimension along which rows are stacked; None if they are reduced to one number.
    options : mapping
        The operator's own.
    target : str
        "indices", "probabilities" or none.
    weights : tuple of str
        Weights along the row, which all rows share.
    """

    operator: str
    where: str
    shape: Callable[[int, int], tuple[int, ...]]
    batch: int | None
    options: Mapping[str, Any]
    target: str = ""
    weights: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.operator} {self.where}"

    @property
    def wanted(self) -> tuple[str, ...]:
        return ("input", "target") if self.target == "probabilities" else ("input",)

    @property
    def invariances(self) -> tuple[str, ...]:
        return tuple(name for name in INVARIANCES if self.batch is not None or PROBE[name] != "rows")

    def draw(self, size: Size) -> dict[str, np.ndarray]:
        """The arguments, and the upstream gradient."""
        rows, width = size
        shape = self.shape(rows, width)
        rng = np.random.Generator(np.random.Philox([crc32(self.name.encode()), rows, width]))
        drawn: dict[str, np.ndarray] = {"input": rng.normal(0, 3, shape)}
        if self.operator == "binary_cross_entropy":
            drawn["input"] = rng.uniform(0.001, 0.999, shape)
        elif self.operator == "nll_loss":
            drawn["input"] = -rng.exponential(3.0, shape)
        without_classes = (shape[0], *shape[2:])
        if self.target == "indices":
            drawn["target"] = rng.integers(0, width, without_classes)
        elif self.target == "probabilities":
            drawn["target"] = rng.uniform(0, 1, shape)
        drawn |= {name: rng.uniform(0.25, 2, width) for name in self.weights}
        result = shape if self.operator in _ELEMENTWISE else without_classes
        drawn["grad_output"] = rng.normal(0, 1, () if self.batch is None else result)
        return drawn

    def take(self, drawn: Mapping[str, np.ndarray], rows: Sequence[int]) -> dict[str, np.ndarray]:
        """These rows, as one batch."""
        assert self.batch is not None
        return {k: v if k in self.weights else np.take(v, rows, axis=min(self.batch, v.ndim - 1)) for k, v in drawn.items()}


_ELEMENTWISE = ("softmax", "log_softmax", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def _families() -> Iterator[Family]:
    def flat(rows: int, width: int) -> tuple[int, ...]:
        return rows, width

    def across(rows: int, width: int) -> tuple[int, ...]:
        return width, rows

    def middle(rows: int, width: int) -> tuple[int, ...]:
        return rows, width, 3

    for operator in ("softmax", "log_softmax"):
        yield Family(operator, "along the last dim", flat, 0, {"dim": -1})
        yield Family(operator, "along the first dim", across, 1, {"dim": 0})
        yield Family(operator, "along a dim in the middle", middle, 0, {"dim": 1})
    for operator in ("nll_loss", "cross_entropy"):
        for target in ("indices", "probabilities") if operator == "cross_entropy" else ("indices",):
            of = f"of {target}, " if operator == "cross_entropy" else ""
            smoothed: dict[str, Any] = {"label_smoothing": 0.1} if target == "probabilities" else {}
            yield Family(operator, f"{of}classes last", flat, 0, {"reduction": "none"} | smoothed, target, ("weight",))
            yield Family(operator, f"{of}classes in the middle", middle, 0, {"reduction": "none"} | smoothed, target, ("weight",))
            for reduction in ("mean", "sum"):
                yield Family(operator, f"{of}{reduction}", flat, None, {"reduction": reduction} | smoothed, target, ("weight",))
    for operator, weights in (("binary_cross_entropy", ("weight",)), ("binary_cross_entropy_with_logits", ("weight", "pos_weight"))):
        for reduction in ("none", "mean", "sum"):
            batch = 0 if reduction == "none" else None
            where = "without reduction" if reduction == "none" else reduction
            yield Family(operator, where, flat, batch, {"reduction": reduction}, "probabilities", weights)


FAMILIES = tuple(_families())


@dataclass(frozen=True)
class Measurement:
    """One family of a subject in one dtype, on a device."""

    subject: Subject
    family: Family
    dtype: str
    device: str = "cpu"

    def differences(self, probe: str, size: Size) -> dict[tuple[str, str], str]:
        """How the invariances that a probe looks at are broken at a size, for each of them and each claim."""
        first: dict[tuple[str, str], str] = {}
        with threads(1):
            for invariance, claim, how in getattr(self, f"_{probe}")(self.family.draw(size)):
                first.setdefault((invariance, claim), f"{size[0]} x {size[1]}: {how}")
        return first

    def smallest(self, probe: str, sizes: Sequence[Size]) -> dict[tuple[str, str], str]:
        """The first counterexample to each invariance and claim, among these sizes."""
        smallest: dict[tuple[str, str], str] = {}
        for size in sizes:
            smallest = self.differences(probe, size) | smallest
        return smallest

    def run(
        self,
        drawn: Mapping[str, np.ndarray],
        wanted: Sequence[str] | None = None,
        layout: Callable[[str, np.ndarray], torch.Tensor] | None = None,
        number: int = 1,
    ) -> Results:
        """The result and the gradients with respect to the ``wanted`` arguments, computed by a ``number`` of threads."""
        family = self.family
        wanted = family.wanted if wanted is None else wanted
        made = {name: (layout or self._contiguous)(name, array) for name, array in drawn.items()}
        arguments = {name: tensor.detach().requires_grad_(name in wanted) for name, tensor in made.items() if name != "grad_output"}
        first = [arguments[name] for name in ("input", "target") if name in arguments]
        named = {name: value for name, value in arguments.items() if name in family.weights}
        with threads(number):
            output = self.subject.function(family.operator)(*first, **named, **family.options)
            if not wanted:
                return {"forward": [output.detach()]}
            found = torch.autograd.grad(output, [arguments[name] for name in wanted], made["grad_output"])
        return {"forward": [output.detach()], "gradient": list(found)}

    def _contiguous(self, name: str, array: np.ndarray) -> torch.Tensor:
        dtype = TORCH_DTYPES[self.dtype] if array.dtype.kind == "f" else torch.int64
        return torch.from_numpy(np.array(array)).to(device=self.device, dtype=dtype)

    def _threads(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        """Few calls with two threads: where other processes want the cores, each parallel region waits for its turn."""
        one, two = self.run(drawn), self.run(drawn, number=2)
        yield from _compared("twice", one, self.run(drawn), "called twice")
        yield from _compared("threads", one, two, "one thread and two")
        if drawn["input"].size >= SHARED_AMONG_THREADS:
            yield from _compared("twice", two, self.run(drawn, number=2), "called twice, with two threads")

    def _layouts(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        contiguous, dims = self.run(drawn), drawn["input"].ndim
        for layout in LAYOUTS:
            if dims < layout.least:
                continue

            def placed(name: str, array: np.ndarray, layout: Layout = layout) -> torch.Tensor:
                dtype = TORCH_DTYPES[self.dtype] if array.dtype.kind == "f" else torch.int64
                return place(array, layout.fitting(array.ndim).strides(array.shape), dtype, self.device).view

            yield from _compared("layouts", contiguous, self.run(drawn, layout=placed), f"contiguous and {layout.name}")

    def _gradients(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        every = self.run(drawn)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                yield from _compared("gradients", every, self.run(drawn, ()), f"with gradients and under torch.{mode.__name__}")
        for number, name in enumerate(self.family.wanted):
            of_this = {"forward": every["forward"], "gradient": [every["gradient"][number]]}
            how = f"with every gradient and with that of {name} alone"
            yield from _compared("gradients", of_this, self.run(drawn, (name,)), how)

    def _rows(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        """Rows alone and in batches, each row in each position."""
        alone = [self.run(self.family.take(drawn, [row])) for row in range(DISTINCT)]
        batches = [(rows := [(i + shift) % DISTINCT for i in range(size)], self.run(self.family.take(drawn, rows)))
                   for size in BATCHES for shift in range(DISTINCT)]  # fmt: skip
        together = [self._row(batches[0][1], row) for row in range(DISTINCT)]
        for invariance, first, where in (("alone", alone, "alone"), ("batches", together, f"in a batch of {BATCHES[0]}")):
            for rows, results in batches:
                for claim, found in results.items():
                    for number, result in enumerate(found):
                        axis = self._axis(result)
                        expected = torch.cat([first[row][claim][number] for row in rows], dim=axis)
                        if not _same(expected, result):
                            at = next(i for i in range(len(rows)) if not _same(expected.narrow(axis, i, 1), result.narrow(axis, i, 1)))
                            yield invariance, claim, f"a row {where} and in position {at} of {len(rows)}"

    def _axis(self, result: torch.Tensor) -> int:
        assert self.family.batch is not None
        return min(self.family.batch, result.dim() - 1)

    def _row(self, results: Results, at: int) -> Results:
        return {claim: [result.narrow(self._axis(result), at, 1) for result in found] for claim, found in results.items()}


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch work with this many threads for a while."""
    before = torch.get_num_threads()
    if before != number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same bits."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))


def _compared(invariance: str, one: Results, other: Results, how: str) -> Differences:
    for claim, results in other.items():
        if not all(_same(a, b) for a, b in zip(one[claim], results, strict=True)):
            yield invariance, claim, how


def size_of(counterexample: str) -> Size:
    """The size that a recorded counterexample begins with."""
    rows, width = counterexample.split(":")[0].split(" x ")
    return int(rows), int(width)


# --- the table -------------------------------------------------------------------------------------------------------------

Row = Mapping[str, Any]  # of a claim: "holds", a list of invariances, and of each other one, the counterexample of each dtype


def environment(subject: Subject, device: str) -> str:
    """What bits depend on: the name of a part of the table."""
    name = "" if subject.name in ("torch", "torch.nn") else f"{subject.name} with "
    kind = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    if device.startswith("cuda"):
        kind = torch.cuda.get_device_name(device)
    return f"{name}torch {Version(torch.__version__).base_version} on {device.split(':')[0]}, {kind}"


def command(subject: Subject, device: str) -> str:
    options = "" if subject.name in ("torch", "torch.nn") else f" --subject {subject.name}"
    return f"python -m parity_tests.bits{options}{'' if device == 'cpu' else f' --device {device}'} --record"


Table = Mapping[str, Mapping[str, Mapping[str, Row]]]  # environment -> family -> claim -> what holds and what does not


def read(path: Path) -> Table:
    with path.open("rb") as file:
        return tomllib.load(file)


@cache
def table() -> Table:
    """The table of the project."""
    return read(PATH)


def measured(subject: Subject, device: str) -> dict[str, dict[str, Row]]:
    """The part of the table for a subject here."""
    part: dict[str, dict[str, Row]] = {}
    for family in FAMILIES:
        if not subject.offers(family.operator):
            continue
        rows: dict[str, dict[str, Any]] = {claim: {"holds": []} for claim in CLAIMS}
        for probe in dict.fromkeys(PROBE[name] for name in family.invariances):
            for dtype in DTYPES:
                found = Measurement(subject, family, dtype, device).smallest(probe, SIZES[probe])
                for (invariance, claim), how in found.items():
                    rows[claim].setdefault(invariance, {})[dtype] = how
        for row in rows.values():
            row["holds"] = [name for name in family.invariances if name not in row]
        part[family.name] = dict(rows)
    return part


def lines(part: Mapping[str, Mapping[str, Row]], name: str) -> Iterator[str]:
    """A part of the table as TOML."""
    for family, claims in part.items():
        yield f'["{name}"."{family}"]'
        for claim, row in claims.items():
            yield f"{claim}.holds = [{', '.join(f'{x!r}' for x in row['holds'])}]".replace("'", '"')
            for invariance in (x for x in INVARIANCES if x in row):
                yield from (f'{claim}.{invariance}.{dtype} = "{how}"' for dtype, how in row[invariance].items())
        yield ""


def record(part: Mapping[str, Mapping[str, Row]], name: str, path: Path = PATH) -> None:
    """Write a part of the table; the others stay."""
    text = path.read_text() if path.exists() else ""
    heading = "".join(line + "\n" for line in text.splitlines() if line.startswith("#"))
    parts = {**tomllib.loads(text), name: part}
    body = "\n".join(line for key in sorted(parts) for line in lines(parts[key], key))
    path.write_text(f"{heading}\n{body}".strip() + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m parity_tests.bits", description="What leaves the bits of results as they are.")
    parser.add_argument("--subject", default="torch", metavar="NAME", help="as for pytest (default: torch)")
    parser.add_argument("--device", default="cpu", help="as for pytest (default: cpu)")
    parser.add_argument("--record", nargs="?", const=PATH, type=Path, metavar="FILE", help=f"write it into FILE (default: {PATH.name})")
    chosen = parser.parse_args(arguments)
    subject = load(chosen.subject, tuple(OPERATORS))
    name = environment(subject, chosen.device)
    part = measured(subject, chosen.device)
    if chosen.record:
        record(part, name, chosen.record)
    print("\n".join(lines(part, name)))


if __name__ == "__main__":
    main()
