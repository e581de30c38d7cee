"""Which cells a run measures, by effort, and what it leaves out.

The whole product of works, modes, shapes, dtypes and paths takes an hour. Each effort takes whole sheets of
it, the telling ones first, and says what is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from torch_loss_parity.benchmarks.paths import Path
from torch_loss_parity.benchmarks.workload import FORWARD, MODES, PLAIN, TRAINING, VARIANTS, WORKS, Work
from torch_loss_parity.operators import DTYPES

Shape = tuple[int, int]
NARROW, SQUARE, WIDE, WIDEST = (8192, 32), (2048, 1024), (256, 32768), (64, 131072)
SHAPES: tuple[Shape, ...] = (NARROW, SQUARE, WIDE, WIDEST)
OF_A_LAYER: Shape = (1024, 1024)  # at quick effort: what is true of all rows of a layer takes seconds
UNTIMED: Shape = (7, 33)
CLASSES: tuple[Shape, ...] = tuple((64, 2**k) for k in range(7, 18, 2))  # the last is WIDEST
ROWS: tuple[Shape, ...] = tuple((2**k, 1024) for k in range(3, 12, 2))  # the last is SQUARE
WORKHORSE = "float32"


def shape_name(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])


@dataclass(frozen=True)
class Cell:
    """What one test measures."""

    work: str
    mode: str
    shape: Shape
    dtype: str
    path: str

    @property
    def group(self) -> tuple[str, str, Shape, str]:
        """What is compared with each other."""
        return self.work, self.mode, self.shape, self.dtype


@dataclass(frozen=True)
class Sheet:
    """A part of the product of works, modes, shapes, dtypes and paths; empty ``paths`` means all."""

    works: Sequence[str]
    modes: Sequence[str]
    shapes: Sequence[Shape]
    dtypes: Sequence[str]
    paths: Sequence[str] = ()


@dataclass(frozen=True)
class Effort:
    """What a run measures.

    Attributes
    ----------
    sheets : tuple of Sheet
        In the order in which they are measured.
    seconds : float
        What a cell's rounds take together, roughly.
    rounds : (int, int)
        The fewest and the most of them.
    limit : float
        After so many seconds, from the start of pytest, no further cell is begun; those that remain are
        named.
    left_out : tuple of str
        Sentences on what is not measured.
    """

    sheets: tuple[Sheet, ...]
    seconds: float
    rounds: tuple[int, int]
    limit: float
    left_out: tuple[str, ...]


BY_ELEMENT = tuple(name for name in PLAIN if WORKS[name].by_element)
LAYERS = tuple(name for name in PLAIN if WORKS[name].products(FORWARD))
BY_ROW = tuple(name for name in PLAIN if name not in (*BY_ELEMENT, *LAYERS))
UNREDUCED = tuple(name for name in PLAIN if "reduction" not in WORKS[name].record.options)

EFFORTS: Mapping[str, Effort] = {
    "quick": Effort(
        sheets=(
            Sheet(BY_ROW + BY_ELEMENT, (TRAINING,), (SQUARE,), (WORKHORSE,)),
            Sheet(LAYERS, (TRAINING,), (OF_A_LAYER,), (WORKHORSE,)),
            Sheet(
                UNREDUCED,
                (FORWARD,),
                (SQUARE,),
                (WORKHORSE,),
                ("torch", "composed", "numpy", "scipy", "subject"),
            ),
        ),
        seconds=0.5,
        rounds=(9, 41),
        limit=48,
        left_out=(
            f"all shapes but {shape_name(SQUARE)}, of {_listed(LAYERS)} but {shape_name(OF_A_LAYER)}; all "
            f"dtypes but {WORKHORSE}",
            f"forward apart from backward, but {_listed(UNREDUCED)} without torch.compile",
            "class weights, smoothing, class probabilities",
            "scaling with rows and classes",
        ),
    ),
    "standard": Effort(
        sheets=(
            Sheet(PLAIN, MODES, (SQUARE,), (WORKHORSE,)),
            Sheet(PLAIN, (FORWARD, TRAINING), (NARROW,), (WORKHORSE,)),
            Sheet(BY_ROW, (TRAINING,), (WIDEST,), (WORKHORSE,)),
            Sheet(BY_ROW, (FORWARD,), (WIDEST,), (WORKHORSE,), ("torch", "numpy", "scipy", "subject")),
            Sheet(
                BY_ROW + BY_ELEMENT, (TRAINING,), (SQUARE,), ("bfloat16",), ("torch", "compile", "subject")
            ),
            Sheet(LAYERS, (TRAINING,), (NARROW,), ("bfloat16",), ("torch", "subject")),
            Sheet(VARIANTS, (TRAINING,), (NARROW,), (WORKHORSE,)),
            Sheet(PLAIN, (TRAINING,), (NARROW,), ("float16",), ("torch", "subject")),
            Sheet(PLAIN, (TRAINING,), (NARROW,), ("float64",), ("torch", "numpy", "subject")),
            Sheet(BY_ROW, (TRAINING,), (WIDE,), (WORKHORSE,), ("torch", "numpy", "subject")),
        ),
        seconds=0.9,
        rounds=(11, 61),
        limit=270,
        left_out=(
            f"{_listed(BY_ELEMENT)} at {shape_name(WIDE)} and {shape_name(WIDEST)}: rows mean nothing "
            f"to them",
            f"bfloat16 but forward+backward of torch and torch.compile at {shape_name(SQUARE)}, of "
            f"{_listed(LAYERS)} of torch at {shape_name(NARROW)}",
            f"{_listed(LAYERS)} at {shape_name(WIDE)} and {shape_name(WIDEST)}, and with other "
            f"numbers of features",
            f"float16, float64 but forward+backward of torch, and in float64 of numpy, at "
            f"{shape_name(NARROW)}",
            f"backward apart from forward, but at {shape_name(SQUARE)}",
            f"torch.compile and composed at {shape_name(WIDE)}, and in forward alone at {shape_name(WIDEST)}",
            f"forward alone at {shape_name(WIDE)}",
            f"class weights, smoothing, class probabilities but forward+backward at {shape_name(NARROW)}",
            "scaling with rows and classes",
        ),
    ),
    "thorough": Effort(
        sheets=(
            Sheet(tuple(WORKS), MODES, SHAPES, DTYPES),
            Sheet(BY_ROW, MODES, CLASSES, (WORKHORSE,)),
            Sheet(PLAIN, MODES, ROWS, (WORKHORSE,)),
        ),
        seconds=1.0,
        rounds=(21, 81),
        limit=float("inf"),
        left_out=(),
    ),
}

# Without times every path computes every work once, on a few numbers, so that none can rot.
CORRECTNESS = (
    Sheet(tuple(WORKS), MODES, (UNTIMED,), (WORKHORSE,), ("torch", "composed", "numpy", "scipy", "subject")),
    Sheet(
        tuple(WORKS),
        (TRAINING,),
        (UNTIMED,),
        tuple(d for d in DTYPES if d != WORKHORSE),
        ("torch", "numpy", "subject"),
    ),
    # The parity tests compile the others.
    Sheet(PLAIN[:1], (TRAINING,), (UNTIMED,), (WORKHORSE,), ("compile",)),
)


def cells(
    sheets: Sequence[Sheet],
    paths: Mapping[str, Path],
    device: str,
    *,
    operators: Sequence[str] = (),
    dtypes: Sequence[str] = DTYPES,
    shapes: Sequence[Shape] = (),
    refused: Counter[str] | None = None,
    works: Mapping[str, Work] = WORKS,
) -> Iterator[Cell]:
    """The cells of ``sheets`` that the paths offer and that were asked for, each once.

    Parameters
    ----------
    operators, dtypes : sequence of str
        Those asked for; no operators means all.
    shapes : sequence
        Measured instead of those of the sheets, if there are any.
    refused : Counter, optional
        Counts why paths do not offer cells that they were asked for.
    works : mapping
        What is timed, by the names that sheets have for it.
    """
    refused = Counter() if refused is None else refused
    met: set[Cell] = set()
    for sheet in sheets:
        for shape in shapes or sheet.shapes:
            for dtype in sheet.dtypes:
                for name in sheet.works:
                    work = works[name]
                    if dtype in dtypes and (not operators or work.operator in operators):
                        for cell in _of_work(sheet, work, shape, dtype, paths):
                            reason = paths[cell.path].why_not(work, cell.mode, dtype, device)
                            refused[reason] += bool(reason) and cell not in met
                            if cell not in met and not reason:
                                yield cell
                            met.add(cell)


def together(chosen: Iterable[Cell]) -> list[Cell]:
    """The cells in their order, but those that share their inputs one after the other: inputs and what is
    true of them are made once.
    """
    by_inputs: dict[tuple[str, str, Shape], list[Cell]] = {}
    for cell in chosen:
        by_inputs.setdefault((cell.work, cell.dtype, cell.shape), []).append(cell)
    return [cell for members in by_inputs.values() for cell in members]


def _of_work(sheet: Sheet, work: Work, shape: Shape, dtype: str, paths: Mapping[str, Path]) -> Iterator[Cell]:
    for mode in sheet.modes:
        for path in paths:
            if not sheet.paths or path in sheet.paths:
                yield Cell(work.name, mode, shape, dtype, path)


def shape_from(text: str) -> Shape:
    """The shape that ``--shape`` names.

    Raises
    ------
    ValueError
        If it is not ROWSxCLASSES, or has fewer than 8 elements.
    """
    rows, _, classes = text.partition("x")
    if not (rows.isdecimal() and classes.isdecimal()) or prod((int(rows), int(classes))) < 8:
        raise ValueError(
            f"--shape is {text!r}; it must be ROWSxCLASSES with at least 8 elements, such as 2048x1024"
        )
    return int(rows), int(classes)
