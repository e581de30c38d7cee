"""The domain of each operator in regions: shapes, widths, dimensions, values, options and dtypes.

What an operator's family says of them is in its record. A region that is dealt out gives each of its cases to
one of the dtypes that are asked for, another one with the next seed and another one for the next operator; at
thorough effort every dtype gets every case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, partial
from typing import overload

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import OPERATORS, Gap, Operator
from torch_loss_parity.operators.dealing import hand
from torch_loss_parity.operators.facets import Options, Region, Shape
from torch_loss_parity.operators.sampling import ABSENT, covering, fits
from torch_loss_parity.subjects.settings import Settings

ONE_IN = {"quick": 24, "standard": 1, "thorough": 1}  # of the cases of a region
# Rows that are added up, a few more than a power of two.
ROWS_OF_BLOCKS = (131, 517, 2049, 71, 259, 1029, 129, 4103, 1027, 69, 257, 519)


def cases_of(region: Region, operator: Operator, dtype: str, settings: Settings) -> Iterator[Case]:
    """The region's cases for a dtype, under the settings of a run."""
    options, values = region.options_of.get(dtype, region.options), region.values or list(operator.values)
    numbers = range(max(len(region.shapes), len(options), len(region.values)))
    whole_family = operator.family.dealt_out and settings.effort.family_shared
    if (region.dealt_out and settings.effort.shared) or whole_family:
        dealt = numbers[hand(operator.name, dtype, settings.dtypes, settings.seed)] or numbers[:1]
        numbers = (dealt[settings.seed % 2 :: 2] or dealt[:1]) if whole_family else dealt
    for number in numbers[:: min(ONE_IN[settings.effort_name], max(1, len(numbers) // region.at_least))]:
        shape, chosen = region.shapes[number % len(region.shapes)], dict(options[number % len(options)])
        # Each time round the distributions are moved on by one: they do not always meet the same shapes and
        # options.
        drawn = chosen.pop("values", values[(number + number // len(values) + settings.seed) % len(values)])
        yield operator.case(dtype, shape, drawn, chosen, settings.seed + number)


@cache
def regions(name: str) -> tuple[Region, ...]:
    """The regions of an operator, by its name."""
    operator = OPERATORS[name]
    square: list[tuple[Shape, Options]] = [
        (shape, {k: v for k, v in each.items() if k in operator.options})
        for each in operator.family.square
        for shape in ((4, 4), (3, 3, 3))
    ]
    # What is left of four dimensions has two, which may be taken for each other too.
    square += [
        ((3, 3, 3, 3), {"dim": dim}) for dim in operator.options.get("dim", ()) if isinstance(dim, tuple)
    ]
    every = [
        *operator.family.regions(operator),
        Region(
            "square shapes, in which one dimension may be taken for another",
            [shape for shape, _ in square],
            [options for _, options in square],
            values=list(operator.values)[:1],  # ordinary ones, in which no row is like another
            at_least=len(square),
        ),
        *_added_up(operator),
        Region(
            "every pair of options, and of each with extreme values",
            [(3, 5), (7, 3), (2, 9, 2), (1, 6), (2, 5, 2, 3)],
            WhenAsked(partial(pairs, name)),
            dealt_out=True,
        ),
    ]
    dtypes = operator.domain.dtypes
    if not isinstance(dtypes, Gap):
        mixed = Region("arguments of different dtypes", [(3, 5), (7, 3), (1, 6)], options_of=dtypes)
        every.append(mixed)
    return tuple(every)


def _added_up(operator: Operator) -> Iterator[Region]:
    """Rows that are added up block by block: a mean of the means of blocks is another number where the last
    one holds fewer rows, or ignored ones lie side by side.
    """
    if "reduction" not in operator.options:
        return
    known = {
        name: (*allowed, *operator.domain.options.get(name, ())) for name, allowed in operator.options.items()
    }
    asked = [
        {"reduction": reduction, "ignored": ignored, "weight": weight}
        for ignored in ("none", "adjacent", "some")
        for reduction, weight in (("mean", None), ("sum", None), ("mean", "positive"), ("sum", "positive"))
    ]
    options = [{k: v for k, v in each.items() if v in known.get(k, ())} for each in asked]
    shapes = [(n, 2 + number % 2) for number, n in enumerate(ROWS_OF_BLOCKS)]
    name, number = "rows of several blocks, added up", len(asked)
    yield Region(name, shapes, options, dealt_out=True, at_least=number)


class WhenAsked(Sequence[Options]):
    """Options that are made when somebody looks at them: tests have their names from a region, and run but
    for some operators.
    """

    def __init__(self, make: Callable[[], Sequence[Options]]) -> None:
        self._make = make

    @cached_property
    def _options(self) -> Sequence[Options]:
        return self._make()

    def __len__(self) -> int:
        return len(self._options)

    @overload
    def __getitem__(self, index: int) -> Options: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Options]: ...

    def __getitem__(self, index: int | slice) -> Options | Sequence[Options]:
        return self._options[index]


@cache
def pairs(name: str) -> list[Options]:
    """Rows in which every two values of the options, the extreme ones too, meet, and each of them every
    extreme distribution.
    """
    operator, rows = OPERATORS[name], []
    every = {
        option: (*operator.options.get(option, (ABSENT,)), *extreme)
        for option, extreme in operator.domain.options.items()
    }
    every = {**operator.options, **every}
    # Class indices and class probabilities have few options in common: apart, nothing is left that makes no
    # sense together.
    for kind in every["target"] if operator.targets_classes and "target" in every else (ABSENT,):
        axes = {
            option: [v for v in allowed if fits(operator, {option: v, "target": kind})]
            for option, allowed in every.items()
        }
        if kind != ABSENT:
            axes["target"] = [kind]
        rows += covering(operator, {**axes, "values": list(operator.domain.values)}, 2)
    return [{k: v for k, v in row.items() if v != ABSENT} for row in rows]
