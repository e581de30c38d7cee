"""What an audit measures: at each effort, of each operator and dtype, cut into units of work.

Note [Efforts]
    Error depends on the length of a row, on its values and on the path that the options choose. Their product
    is large, so an effort says how much of it is met: every distribution at one length, and some at every
    length; every path at one length and with two distributions. What an effort leaves to a higher one is part
    of the audit, as `Missing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from torch_loss_parity.audit.capabilities import capabilities
from torch_loss_parity.audit.exhaustive import Sweep, sweeps
from torch_loss_parity.audit.float32_result import has_closed_form
from torch_loss_parity.audit.operator_facets import audited, gaps, is_audited
from torch_loss_parity.audit.record import Missing
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.subjects.promise import EVERYTHING, Promise
from torch_loss_parity.subjects.settings import Settings

CLASSES = (2, 10, 1000, 32000, 131072)
USUAL, SHORT = 1000, 10  # the length at which every distribution is met, and that of batches
Cell = tuple[str, str]  # operator and dtype
COMPILED = "torch.compile"  # the subject of which this is no axis
SWEPT, SWEPT_TOGETHER = 2**32, 2**22  # inputs of float32: of a sweep, and of one unit
TOGETHER = 2**17  # elements of the cases of one unit: so many that all units take about as long


@dataclass(frozen=True)
class Extent:
    """How far an effort goes.

    Attributes
    ----------
    rows : mapping of int to int
        How many rows of each length.
    elements : tuple of int
        The sizes of batches where elements stand for themselves; every distribution is met at the last of
        them.
    usual : int or None
        How many of the distributions are met at the usual length; all of them if None.
    everywhere : int or None
        How many are met at every length.
    longest_of_float64 : int
        The longest row of float64, whose errors go to balls element by element: twenty times as long as those
        of other dtypes.
    batches : tuple of int
        How many losses a mean goes over.
    evaluations : int
        The budget of each search: results of one row, or of one element, that it may look at.
    compiled : tuple of str
        The dtypes that are compiled.
    capabilities : bool
        Whether torch is told to use fewer of the processor's instructions.
    sweeps : bool
        Whether all 2**32 numbers of float32 are gone through.
    """

    rows: Mapping[int, int]
    elements: tuple[int, ...]
    usual: int | None
    everywhere: int | None
    longest_of_float64: int
    batches: tuple[int, ...]
    evaluations: int
    compiled: tuple[str, ...]
    capabilities: bool
    sweeps: bool


EXTENTS: Mapping[str, Extent] = {
    "quick": Extent(
        rows={2: 256, 10: 64, 1000: 2, 32000: 1, 131072: 1},
        elements=(1, 2048),
        usual=3,
        everywhere=1,
        longest_of_float64=1000,
        batches=(64,),
        evaluations=512,
        compiled=(),
        capabilities=False,
        sweeps=False,
    ),
    "standard": Extent(
        rows={2: 4096, 10: 1024, 1000: 16, 32000: 1, 131072: 1},
        elements=(1, 1000, 16384),
        usual=None,
        everywhere=3,
        longest_of_float64=32000,
        batches=(1, 64, 4096),
        evaluations=4096,
        compiled=("bfloat16", "float32"),
        capabilities=True,
        sweeps=False,
    ),
    "thorough": Extent(
        rows={2: 65536, 10: 16384, 1000: 256, 32000: 8, 131072: 4},
        elements=(1, 10, 1000, 32000, 131072),
        usual=None,
        everywhere=None,
        longest_of_float64=131072,
        batches=(1, 64, 4096, 65536),
        evaluations=65536,
        compiled=DTYPES,
        capabilities=True,
        sweeps=True,
    ),
}


@dataclass(frozen=True)
class Unit:
    """Work for one process, small enough to be sent to it.

    Attributes
    ----------
    name : str
        Unique; what a part of the run is kept under.
    work : str
        A key of `torch_loss_parity.audit.tasks.WORK`.
    cells : tuple of (operator, dtype)
        Whom its findings are about.
    cases : tuple of Case
    evaluations : int
        The budget of a search.
    option : str
        What is special about it: the axes, or a capability.
    sweep : Sweep or None
    first, count : int
        The inputs of a sweep, by number.
    weight : float
        How long it takes, roughly, in elements.
    """

    name: str
    work: str
    cells: tuple[Cell, ...]
    cases: tuple[Case, ...] = ()
    evaluations: int = 0
    option: str = ""
    sweep: Sweep | None = None
    first: int = 0
    count: int = 0
    weight: float = field(default=1.0, compare=False)


def distributions_of(operator: Operator) -> tuple[str, ...]:
    """The distributions of an audit: those of the random claims, and a range of scales where the record has
    one.
    """
    return (*operator.values, *audited(operator.name).scales)


def cases(operator: Operator, dtype: str, extent: Extent, seed: int) -> Iterator[Case]:
    """What is drawn and measured of an operator in a dtype."""
    measured = audited(operator.name)
    base, telling = measured.base, measured.telling
    every = distributions_of(operator) if extent.usual is None else telling[: extent.usual]
    met = every if extent.everywhere is None else telling[: extent.everywhere]
    if not operator.family.has_rows:
        for number in extent.elements:
            for values in every if number == extent.elements[-1] else met:
                yield operator.case(dtype, (number,), values, base, seed)
        usual: tuple[int, ...] = (extent.elements[-1],)
    else:
        for classes, rows in extent.rows.items():
            if dtype == "float64" and classes > extent.longest_of_float64:
                continue
            for values in every if classes == USUAL else met:
                yield operator.case(dtype, (rows, classes), values, base, seed)
        usual = (extent.rows[USUAL], USUAL)
    for options in measured.paths:
        if options.get("dtype") and DTYPES.index(options["dtype"]) <= DTYPES.index(dtype):
            continue  # no other dtype than the input's, or one that holds less
        shape = usual[::-1] if options.get("dim") == 0 else usual
        for values in telling[: 1 if extent.everywhere == 1 else 2]:
            yield operator.case(dtype, shape, values, options, seed)
    for features in measured.features:
        for values in telling[: 1 if extent.everywhere == 1 else 2]:
            yield operator.case(dtype, usual, values, {**base, "features": features}, seed)
    if "reduction" in operator.options:
        for rows in extent.batches:
            shape = (rows, SHORT) if operator.family.has_rows else (rows,)
            yield operator.case(dtype, shape, telling[0], {**base, "reduction": "mean"}, seed)


def gathered(cases: Iterable[Case]) -> Iterator[tuple[Case, ...]]:
    """Cases in groups that take about as long."""
    group: list[Case] = []
    for case in cases:
        if group and sum(prod(other.shape) for other in group) + prod(case.shape) > TOGETHER:
            yield tuple(group)
            group = []
        group.append(case)
    if group:
        yield tuple(group)


def measures(
    cell: Cell, extent: Extent, seed: int, axes: str, promise: Promise = EVERYTHING
) -> Iterator[Unit]:
    """The units of one operator and dtype: what is drawn, a search, and the axes that any process can go
    along.
    """
    operator, dtype = cell
    name = f"{operator} {dtype}"
    drawn = dict.fromkeys(cases(promise.operator(OPERATORS[operator]), dtype, extent, seed))  # each once
    for number, group in enumerate(gathered(drawn)):
        size = float(sum(prod(case.shape) for case in group))
        yield Unit(f"{name} drawn {number}", "draw", (cell,), group, weight=size + 4096 * len(group))
    if audited(operator).logits is None:
        yield Unit(
            f"{name} searched",
            "search",
            (cell,),
            evaluations=extent.evaluations,
            weight=16.0 * extent.evaluations,
        )
    yield Unit(f"{name} axes", "axes", (cell,), option=axes, weight=2.0**17)
    for sweep in sweeps((operator,), (dtype,), seed):
        if sweep.patterns <= 2**16:
            yield Unit(
                f"{sweep.name} exhausted",
                "exhaust",
                (cell,),
                sweep=sweep,
                count=sweep.patterns,
                weight=2.0**18,
            )
        elif extent.sweeps and has_closed_form(sweep):
            has_rows = OPERATORS[operator].family.has_rows
            every, together = min(sweep.patterns, SWEPT), SWEPT_TOGETHER // (4 if has_rows else 1)
            for first in range(0, every, together):
                count = min(together, every - first)
                yield Unit(
                    f"{sweep.name} from {first:#010x}",
                    "sweep",
                    (cell,),
                    sweep=sweep,
                    first=first,
                    count=count,
                    weight=4.0 * count,
                )


@dataclass(frozen=True)
class Planned:
    """The units of a run, those first that are about many cells, and what it leaves to a higher effort or
    another machine.
    """

    units: tuple[Unit, ...]
    missing: tuple[Missing, ...]


def planned(cells: Sequence[Cell], settings: Settings) -> Planned:
    """What is done for the chosen operators and dtypes; operators that are not audited are named."""
    extent, on_cpu = EXTENTS[settings.effort_name], settings.device == "cpu"
    missing = list(gaps(operator for operator, _ in cells))
    cells = [cell for cell in cells if is_audited(cell[0])]
    missing += left_to_higher_effort(extent, settings) if cells else []
    units: list[Unit] = []
    if settings.subject.name != COMPILED:
        together = {dtype: tuple(cell for cell in cells if cell[1] == dtype) for dtype in extent.compiled}
        units += [
            Unit(f"compiled {dtype}", "compiled", of, weight=2.0**17 * len(of))
            for dtype, of in together.items()
            if of
        ]
    if cells and on_cpu and extent.capabilities:
        in_force, others, unavailable = capabilities()
        missing += [Missing(what=f"capability {name}", why=why) for name, why in unavailable.items()]
        every, weight = tuple(cells), 2.0**15 * len(cells)
        units += [
            Unit(f"capability {name}", "capability", every, option=f"{in_force} {name}", weight=weight)
            for name in others
        ]
    for cell in cells:
        axes = "threads layout batch" if on_cpu else "layout batch"
        units += measures(cell, extent, settings.seed, axes, settings.subject.promise)
    return Planned(tuple(units), tuple(missing))


def left_to_higher_effort(extent: Extent, settings: Settings) -> Iterator[Missing]:
    """What an effort leaves to a higher one."""
    most = EXTENTS["thorough"]
    why = f"left to a higher effort than {settings.effort_name}"
    if extent.everywhere is not None:
        yield Missing(
            what=f"all distributions at other lengths than {USUAL}, and at other sizes than "
            f"{extent.elements[-1]}",
            why=why,
        )
    if extent.usual is not None:
        yield Missing(what=f"other distributions than the first {extent.usual} of each operator", why=why)
    if extent.longest_of_float64 < max(most.rows) and "float64" in settings.dtypes:
        yield Missing(what=f"rows of more than {extent.longest_of_float64} classes in float64", why=why)
    if extent.batches != most.batches:
        yield Missing(what=f"means over {_listed(set(most.batches) - set(extent.batches))} losses", why=why)
    if extent.elements != most.elements:
        yield Missing(
            what=f"batches of {_listed(set(most.elements) - set(extent.elements))} elements", why=why
        )
    if extent.rows != most.rows:
        yield Missing(
            what=f"batches of more rows than {_listed(extent.rows.values())} of "
            f"{_listed(extent.rows)} classes",
            why=why,
        )
    if settings.subject.name == COMPILED:
        yield Missing(what="eager and compiled", why="the subject is compiled")
    elif uncompiled := [dtype for dtype in settings.dtypes if dtype not in extent.compiled]:
        yield Missing(what=f"eager and compiled, {', '.join(uncompiled)}", why=why)
    if "float32" in settings.dtypes and not extent.sweeps:
        yield Missing(what="all 2**32 numbers of float32, of operators of one number or two", why=why)
    elif "float32" in settings.dtypes:
        slow = "there is no closed form to measure 2**32 of them by"
        yield Missing(
            what="all 2**32 numbers of float32: soft targets, random upstream gradients, gradients "
            "of targets",
            why=slow,
        )
    if not extent.capabilities and settings.device == "cpu":
        yield Missing(what="capabilities", why=why)
    if settings.device != "cpu":
        yield Missing(
            what="threads and capabilities",
            why=f"they are the CPU's, and the subject runs on {settings.device}",
        )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))
