"""The domain of each operator in tables: shapes, widths, dimensions, values, options and dtypes.

A `Region` is a stretch of the domain. Its tables are walked together: case number i takes the i-th shape, the
i-th options and the i-th distribution, each table starting over at its end, until the longest has been seen.
A region that is dealt out gives each of its cases to one of the dtypes that are asked for, another one with
the next seed and another one for the next operator; at thorough effort every dtype gets every case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import prod
from typing import Any

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.sampling import ABSENT, covering, fits, hand
from torch_loss_parity.settings import Settings

Shape = tuple[int, ...]
Options = Mapping[str, Any]
ONE_IN = {"quick": 24, "standard": 1, "thorough": 1}  # of the cases of a region,
AT_LEAST = 3  # where there are so many


@dataclass(frozen=True)
class Region:
    """A stretch of the domain of an operator.

    Attributes
    ----------
    name : str
        Completes "the bound holds for ...".
    shapes, options, values : sequence
        Walked together. Without ``values``, those that every claim meets, which do not add to the number of
        cases.
    options_of : mapping of str to sequence
        In place of ``options``, those of each dtype.
    dealt_out : bool
        Whether each case is for one dtype only.
    """

    name: str
    shapes: Sequence[Shape]
    options: Sequence[Options] = ({},)
    values: Sequence[str] = ()
    options_of: Mapping[str, Sequence[Options]] = field(default_factory=dict)
    dealt_out: bool = False

    @property
    def elements(self) -> int:
        """The size of the smallest input."""
        return min(map(prod, self.shapes))

    def cases(self, operator: Operator, dtype: str, knobs: Settings) -> Iterator[Case]:
        """The region's cases for a dtype, under the knobs of a run."""
        options, values = self.options_of.get(dtype, self.options), self.values or list(operator.values)
        numbers = range(max(len(self.shapes), len(options), len(self.values)))
        if self.dealt_out and knobs.effort.shared:
            numbers = numbers[hand(operator.name, dtype, knobs.dtypes, knobs.seed)]
        for number in numbers[:: min(ONE_IN[knobs.effort_name], max(1, len(numbers) // AT_LEAST))]:
            shape, chosen = self.shapes[number % len(self.shapes)], dict(options[number % len(options)])
            # Each time round the distributions are moved on by one: they do not always meet the same shapes
            # and options.
            drawn = chosen.pop("values", values[(number + number // len(values) + knobs.seed) % len(values)])
            yield operator.case(dtype, shape, drawn, chosen, knobs.seed + number)


def _shapes(least: int, class_dim: bool) -> tuple[Shape, ...]:
    """Every shape of up to five dimensions of size 1 or 3, and those with one empty dimension among twos."""
    full = [shape for dims in range(least, 6) for shape in product((1, 3), repeat=dims)]
    empty = [tuple(0 if i == at else 2 for i in range(dims)) for dims in range(1, 6) for at in range(dims)]
    # No class, no target.
    has_class = [shape for shape in empty if not class_dim or (len(shape) > 1 and shape[1])]
    return (*full, *has_class)


WIDTHS = range(1, 301)
AROUND_POWERS = tuple(2**k + d for k in range(1, 11) for d in (-1, 0, 1))
VOCABULARIES = (32000, 50257, 131072, 262144)
MANY_ROWS = 100003  # a prime: no block size divides it
LONG = 300
LONG_SHAPES = ((LONG, 2, 3), (2, LONG, 3), (2, 3, LONG))


def _placed(widths: Sequence[int], classes: bool) -> tuple[tuple[Shape, Options], ...]:
    """Rows of each width, in turn along the last dimension, the first (or only) one, and one in
    the middle.
    """

    def place(number: int, n: int) -> tuple[Shape, Options]:
        if classes:
            return ((2, n), (n,), (2, n, 2))[number % 3], {}
        return ((2, n), (n, 2), (2, n, 2))[number % 3], {"dim": (1, 0, -2)[number % 3]}

    return tuple(place(number, n) for number, n in enumerate(widths))


def _region(name: str, placed: Sequence[tuple[Shape, Options]], **more: Any) -> Region:
    return Region(name, [shape for shape, _ in placed], [options for _, options in placed], **more)


# Rows and what of them a test may get wrong: the remainder of a block, the first dimension, a row that is all
# special.
_SPECIAL_ROWS = (
    ((3, 5), 1),
    ((5, 3), 0),
    ((2, 40), -1),
    ((40, 2), 0),
    ((2, 17, 3), 1),
    ((4,), 0),
    ((33, 2), 1),
)
_SPECIAL_CLASSES = ((3, 5), (2, 40), (2, 17, 3), (4,), (33, 2), (1, 9), (3, 4, 2, 2))
_SPECIAL_ELEMENTS = ((5,), (40,), (3, 7), (), (2, 17, 3), (33, 2))
_REDUCED = ({"reduction": "none"}, {"reduction": "mean"}, {"reduction": "sum"})


def _mixed(*named: tuple[str, str, Options]) -> Mapping[str, list[Options]]:
    """Options by the dtype of the case: (dtypes of the case, the option that names the other dtype, options
    besides).
    """
    made: dict[str, list[Options]] = {}
    for cases, other, options in named:
        argument, dtype = other.split("=")
        for dtype_of_case in cases.split(","):
            made.setdefault(dtype_of_case, []).extend(
                {f"{argument}_dtype": dtype, **options, **reduced} for reduced in _REDUCED
            )
    return made


_SQUARE: Mapping[str, Sequence[Options]] = {
    "rows": ({"dim": 0}, {"dim": 1}, {"dim": -2}),
    "classes": (
        {"reduction": "none", "weight": "positive"},
        {"weight": "positive"},
        {"reduction": "sum", "weight": "positive"},
    ),
    "elements": (
        {"reduction": "none", "weight": "rows", "pos_weight": "last dimension", "target": "soft"},
        {"weight": "last dimension", "pos_weight": "rows", "target": "soft"},
        {"reduction": "sum", "weight": "first dimension", "pos_weight": "first dimension", "target": "soft"},
    ),
}
MIXED: Mapping[str, Mapping[str, list[Options]]] = {
    "nll_loss": _mixed((",".join(DTYPES), "target=uint8", {"ignore_index": 255, "ignored": "some"})),
    "cross_entropy": _mixed(
        (",".join(DTYPES), "target=uint8", {"ignore_index": 255, "ignored": "some", "label_smoothing": 0.1}),
        ("float16,bfloat16", "target=float32", {"target": "probabilities"}),
        ("float16,bfloat16,float32", "target=float64", {"target": "probabilities"}),
        ("float64", "target=float32", {"target": "probabilities", "label_smoothing": 0.1}),
        ("float32", "weight=float64", {"target": "probabilities", "weight": "positive"}),
        ("float16,bfloat16", "weight=float32", {"target": "probabilities", "weight": "positive"}),
    ),
    "binary_cross_entropy": _mixed(
        ("float16,bfloat16,float64", "weight=float32", {"weight": "full"}),
        ("float16,bfloat16,float32", "weight=float64", {"weight": "last dimension"}),
    ),
    "binary_cross_entropy_with_logits": _mixed(
        ("float16,bfloat16", "target=float32", {"target": "soft"}),
        ("float16,bfloat16,float32", "target=float64", {"target": "soft"}),
        ("float16,bfloat16,float64", "weight=float32", {"weight": "full", "target": "soft"}),
        ("float32", "weight=float64", {"weight": "last dimension", "target": "soft"}),
        (
            "float16,bfloat16,float64",
            "pos_weight=float32",
            {"pos_weight": "last dimension", "target": "soft"},
        ),
        ("float32", "pos_weight=float64", {"pos_weight": "last dimension", "target": "soft"}),
    ),
}


def _tables(kind: str, operator: Operator) -> Iterator[Region]:
    extremes = list(operator.extreme_values)
    if kind == "rows":
        dims = tuple({"dim": dim} for dim in (0, -1, 1, -2, 2, -3, 3, -4, 4, -5))
        yield Region(
            "every shape up to five dimensions", _shapes(0, False), dims[: len(dims) - 1], dealt_out=True
        )
        yield _region("every width from 1 to 300", _placed(WIDTHS, False), dealt_out=True)
        yield _region(
            "widths around powers of two",
            _placed([n for n in AROUND_POWERS if n > 300] * 3, False),
            dealt_out=True,
        )
        yield Region("vocabularies", [(1, n) for n in VOCABULARIES], dealt_out=True)
        at = [(shape, {"dim": dim}) for shape in LONG_SHAPES for dim in (0, 1, 2, -1, -2, -3)]
        yield _region("a long dimension first, in the middle and last, along every dim", at, dealt_out=True)
        many = [
            ((2, MANY_ROWS), {"dim": 0}),
            ((MANY_ROWS, 2), {"dim": 1}),
            ((2, MANY_ROWS), {"dim": -2}),
            ((1, 2, MANY_ROWS), {"dim": 1}),
        ]
        yield _region("a hundred thousand rows", many, dealt_out=True)
        special = [(shape, {"dim": dim}) for shape, dim in _SPECIAL_ROWS]
        yield _region("extreme values", special, values=extremes, dealt_out=True)
    elif kind == "classes":
        named = [
            {"reduction": r, "weight": w}
            for r, w in (("mean", None), ("none", "positive"), ("sum", None), ("mean", "positive"))
        ]
        yield Region("every shape up to five dimensions", _shapes(1, True), named[:3], dealt_out=True)
        yield _region("every width from 1 to 300", _placed(WIDTHS, True), dealt_out=True)
        yield _region(
            "widths around powers of two",
            _placed([n for n in AROUND_POWERS if n > 300] * 3, True),
            dealt_out=True,
        )
        at_ends = [
            {"classes": "first"},
            {"reduction": "none", "weight": "positive"},
            {"classes": "last"},
            {"classes": "last"},
        ]
        yield Region("vocabularies", [(2, n) for n in VOCABULARIES], at_ends, dealt_out=True)
        yield Region("a long dimension first, in the middle and last", LONG_SHAPES, named)
        yield Region("a hundred thousand rows", [(MANY_ROWS, 2)], named, dealt_out=True)
        yield Region("extreme values", _SPECIAL_CLASSES, _REDUCED, values=extremes, dealt_out=True)
    else:
        named = [
            {"reduction": r, "weight": w}
            for r, w in (("mean", None), ("none", "full"), ("sum", None), ("mean", "rows"))
        ]
        yield Region("every shape up to five dimensions", _shapes(0, False), named[:3], dealt_out=True)
        yield Region("every width from 1 to 300", [(n,) for n in WIDTHS], _REDUCED[:2], dealt_out=True)
        yield Region(
            "widths around powers of two", [(n,) for n in AROUND_POWERS if n > 300], _REDUCED, dealt_out=True
        )
        yield Region("a long dimension first, in the middle and last", LONG_SHAPES, named)
        yield Region("a hundred thousand elements", [(MANY_ROWS,)], named, dealt_out=True)
        targets = [
            {"reduction": r, "target": t}
            for r in ("none", "mean", "sum")
            for t in ("hard", "soft", "boundary", "extreme")
        ]
        yield Region("extreme values", _SPECIAL_ELEMENTS, targets, values=extremes * 2, dealt_out=True)
    square = [
        {name: value for name, value in options.items() if name in operator.options}
        for options in _SQUARE[kind]
    ]
    yield Region(
        "square shapes, in which one dimension may be taken for another", ((4, 4), (3, 3, 3)), square
    )
    shapes = [(3, 5), (7, 3), (2, 9, 2), (1, 6), (2, 5, 2, 3)]
    yield Region(
        "every pair of options, and of each with extreme values", shapes, pairs(operator.name), dealt_out=True
    )
    if operator.name in MIXED:
        yield Region(
            "arguments of different dtypes", [(3, 5), (7, 3), (1, 6)], options_of=MIXED[operator.name]
        )


@cache
def pairs(name: str) -> list[Options]:
    """Rows in which every two values of the options, the extreme ones too, meet, and each of them every
    extreme distribution.
    """
    operator, rows = OPERATORS[name], []
    every = {
        option: (*operator.options.get(option, (ABSENT,)), *extreme)
        for option, extreme in operator.extreme_options.items()
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
        rows += covering(operator, {**axes, "values": list(operator.extreme_values)}, 2)
    return [{k: v for k, v in row.items() if v != ABSENT} for row in rows]


@cache
def regions(name: str) -> tuple[Region, ...]:
    """The regions of an operator, by its name."""
    operator = OPERATORS[name]
    kind = "rows" if "dim" in operator.options else "classes" if operator.targets_classes else "elements"
    return tuple(_tables(kind, operator))
