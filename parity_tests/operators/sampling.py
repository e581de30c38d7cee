"""Where cases come from: random ones, and a grid in which every pair and every three options meet.

`random_cases` is a hypothesis strategy, so a failure is shrunk to a small case. `grid` covers every option
value, every pair and every three of them with few cases (covering arrays), `sizes` the lengths at which
implementations change their path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, cycle, islice, product
from math import prod
from typing import Any, TypeVar
from zlib import crc32

from covertable import make
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.dealing import hand
from torch_loss_parity.operators.draws import OF_THE_SEED_ALONE
from torch_loss_parity.processes.disk_cache import kept

C = TypeVar("C")
ABSENT = ""  # the value of an option that a case does without


@dataclass(frozen=True)
class Effort:
    """How many random cases for each operator, dtype and claim, up to what length; whether options meet in
    threes; how large a size; whether dtypes share what is costly: each such case is then dealt to one of
    them; whether they share all of a costly family; how many seconds a case may take."""

    random_cases: int
    longest: int
    triples: bool
    largest_size: int
    shared: bool
    family_shared: bool
    time_limit: float


EFFORTS = {
    "quick": Effort(
        random_cases=6,
        longest=40,
        triples=False,
        largest_size=2**8,
        shared=True,
        family_shared=False,
        time_limit=60,
    ),
    "standard": Effort(
        random_cases=15,
        longest=200,
        triples=True,
        largest_size=2**30,
        shared=True,
        family_shared=True,
        time_limit=120,
    ),
    "thorough": Effort(
        random_cases=1000,
        longest=2000,
        triples=True,
        largest_size=2**30,
        shared=False,
        family_shared=False,
        time_limit=1800,
    ),
}
LARGE = 2**14  # elements: costly


def share(
    operator: Operator, cases: Sequence[C], dtype: str, dtypes: Sequence[str], base_seed: int, effort: Effort
) -> Sequence[C]:
    """Of an operator's cases those of a dtype: all, unless dtypes share those of its family, in two seeds;
    then at least one.
    """
    if not (operator.family.dealt_out and effort.family_shared and dtypes):
        return cases
    return cases[hand(operator.name, dtype, dtypes, base_seed)][base_seed % 2 :: 2] or cases[:1]


def random_cases(operator: Operator, dtype: str, longest: int) -> st.SearchStrategy[Case]:
    """Cases of an operator with a random shape of up to five dimensions, one of them up to
    ``longest`` long.
    """
    least = min(len(shape) for shape in operator.shapes)

    @st.composite
    def cases(draw: st.DrawFn) -> Case:
        dims = draw(st.lists(st.integers(0, 6) | st.integers(1, 3), min_size=least, max_size=5))
        if dims and bool(draw(st.booleans())):
            dims[draw(st.integers(0, len(dims) - 1))] = draw(st.integers(1, longest))
        if operator.targets_classes and dims[min(1, len(dims) - 1)] == 0:
            dims[min(1, len(dims) - 1)] = 1  # no class, no target
        options = {name: draw(st.sampled_from(values)) for name, values in operator.options.items()}
        values = draw(st.sampled_from(list(operator.values)))
        return operator.case(dtype, tuple(dims), values, options, draw(st.integers(0, 2**32 - 1)))

    return cases()


def for_each_random_case(
    strategy: st.SearchStrategy[Case],
    check: Callable[[Case], None],
    *,
    examples: int,
    base_seed: int,
    name: str,
    shrink: bool = True,
) -> None:
    """Run ``check`` on ``examples`` cases that follow from ``base_seed`` and ``name`` alone; shrink the first
    that fails, unless other cases than these cannot be run.

    Raises
    ------
    AssertionError
        If a case fails, and does not when it is run again.
    """

    @seed(crc32(f"{base_seed} {name}".encode()))
    @settings(
        OF_THE_SEED_ALONE,
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink)[: 1 + shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(strategy)
    def run(case: Case) -> None:
        check(case)

    try:
        run()
    except Flaky as error:  # an error of Hypothesis's own says nothing of the case
        failed = [each for each in getattr(error, "exceptions", ()) if isinstance(each, AssertionError)]
        first = failed[0] if failed else error.__context__ or error
        raise AssertionError(f"a case that fails is right when it is run again:\n{first}") from None


def grid(
    operator: Operator, dtype: str, effort: Effort, base_seed: int, dtypes: Sequence[str] = ()
) -> Iterator[Case]:
    """Cases in which every pair of option values meets; beyond quick effort every three of them, and every
    pair of options, shapes and distributions, which ``dtypes`` share where the effort says so.

    Three, because the oldest faults take three: a class weight, index targets and a mean. What a subject
    promises beside torch's arguments meets a mean of rows of which some are ignored at any effort.
    """
    rows = list(enumerate([*_filled(operator, 2, False), *_of_extensions(operator)]))
    among = len(rows)
    rows = list(share(operator, rows, dtype, dtypes, base_seed, effort))
    if effort.triples:
        more = list(enumerate([*_filled(operator, 3, False), *_filled(operator, 2, True)], among))
        rows += more[hand(operator.name, dtype, dtypes, base_seed)] if effort.shared and dtypes else more
    # Where the grid is small, no row is spent on an empty input.
    telling = [shape for shape in operator.shapes if prod(shape) > 1]
    values = list(operator.values)
    for number, row in rows:
        chosen = dict(row)
        shape = chosen.pop("shape", None)
        if shape is None:
            rotated = telling[number % len(telling) :] + telling[: number % len(telling)]
            shape = next(s for s in rotated if fits(operator, chosen | {"shape": s}))
        drawn = chosen.pop("values", values[number % len(values)])
        yield operator.case(dtype, shape, drawn, chosen, base_seed + number)


def everyday(operator: Operator, dtype: str, base_seed: int) -> Case:
    """The call that training makes: a batch of rows, averaged, and nothing else that is asked for. Kernels
    have a path of its own for it, in which the gradient is made with the loss.
    """
    asked = {"reduction": "mean"} if "mean" in operator.options.get("reduction", ()) else {}
    return operator.case(dtype, (8, 5), next(iter(operator.values)), asked, base_seed)


def _of_extensions(operator: Operator) -> Iterator[dict[str, Any]]:
    """What is promised beside torch's arguments, with every reduction of rows that are ignored in part, with
    class weights and without.
    """
    for name, (_, *values) in operator.extended.items():
        for number, (value, reduction) in enumerate(product(values, operator.options["reduction"])):
            weights = operator.options["weight"]
            wanted = {"target": "indices", "ignored": "some", "weight": weights[number % 2 % len(weights)]}
            inside = {k: v for k, v in wanted.items() if v in operator.options[k]}
            yield {name: value, "reduction": reduction, **inside}


def _filled(operator: Operator, strength: int, with_values_and_shapes: bool) -> list[dict[str, Any]]:
    """The rows of a covering array of the operator's options. A promise leaves fewer of them: they are
    repeated, in other shapes and of other numbers, until there are as many as without it.
    """
    own, every = (
        _together(operator.name, tuple(options.items()), strength, with_values_and_shapes)
        for options in (operator.options, OPERATORS[operator.name].options)
    )
    return list(islice(cycle(own), max(len(own), len(every))))


@cache
def _together(
    name: str, options: tuple[tuple[str, tuple[Any, ...]], ...], strength: int, with_values_and_shapes: bool
) -> list[dict[str, Any]]:
    """A covering array: rows in which every ``strength`` values that make sense together meet; the same for
    every dtype. The options may be fewer than the operator's.
    """
    operator = OPERATORS[name]
    axes: dict[str, list[Any]] = {option: list(allowed) for option, allowed in options}
    if with_values_and_shapes:
        axes |= {"shape": list(operator.shapes), "values": list(operator.values)}
    return covering(operator, axes, strength)


def covering(operator: Operator, axes: Mapping[str, list[Any]], strength: int) -> list[dict[str, Any]]:
    """Rows in which every ``strength`` values of different axes meet, as long as they make sense together."""
    forbidden = {pair: _forbidden(operator, axes, pair) for pair in combinations(axes, 2)}
    constraints = [
        {"operator": "fn", "requires": pair, "evaluate": partial(_is_allowed, pair, values)}
        for pair, values in forbidden.items()
        if values
    ]

    names = list(axes)

    def numbers() -> list[list[tuple[int, int]]]:
        rows = make(axes, strength=min(strength, len(axes)), constraints=constraints)
        return [
            [(names.index(name), _number(value, axes[name])) for name, value in row.items()] for row in rows
        ]

    # It takes longer than to judge a dozen of its cases.
    told_apart = f"{axes!r} {strength} {[sorted(map(repr, each)) for each in forbidden.values()]}"
    rows = [
        [(names[axis], number) for axis, number in row] for row in kept(f"covering {told_apart}", numbers)
    ]
    return [{name: axes[name][number] for name, number in row} for row in rows]


def _number(value: Any, values: list[Any]) -> int:
    """Where a value stands; 1, 1.0 and True are three."""
    return next(i for i, each in enumerate(values) if (type(each), each) == (type(value), value))


def _forbidden(
    operator: Operator, axes: Mapping[str, list[Any]], names: tuple[str, str]
) -> set[tuple[Any, Any]]:
    """The pairs of values of two axes that make no sense together, found once: covering asks a
    million times.
    """
    pairs = product(*(axes[name] for name in names))
    return {pair for pair in pairs if not fits(operator, dict(zip(names, pair, strict=True)))}


def _is_allowed(names: tuple[str, str], forbidden: set[tuple[Any, Any]], row: Mapping[str, Any]) -> bool:
    return tuple(row[name] for name in names) not in forbidden


def fits(operator: Operator, chosen: dict[str, Any]) -> bool:
    """Whether options, and the shape where there is one, make sense together: the operator settles on what
    was chosen.
    """
    options = {
        name: value for name, value in chosen.items() if name not in ("shape", "values") and value != ABSENT
    }
    complete = {name: allowed[0] for name, allowed in operator.options.items()} | options
    settled = (
        operator.reconcile(chosen["shape"], complete)
        if "shape" in chosen
        else operator.reconcile((2,) * 5, complete)
    )
    return all(settled.get(name, ABSENT) == value for name, value in options.items())


def sizes(
    operator: Operator, dtype: str, effort: Effort, base_seed: int, dtypes: Sequence[str] = ()
) -> Iterator[Case]:
    """The operator's sizes, each with another distribution; quick effort leaves out the large ones,
    ``dtypes`` share them where the effort says so."""
    values = list(operator.values)
    numbered = list(enumerate(operator.sizes))
    if effort.shared and dtypes:
        small = [(number, size) for number, size in numbered if prod(size[0]) < LARGE]
        large = [(number, size) for number, size in numbered if prod(size[0]) >= LARGE]
        small = list(share(operator, small, dtype, dtypes, base_seed, effort))
        numbered = small + large[hand(operator.name, dtype, dtypes, base_seed)]
    for number, (shape, options) in numbered:
        if prod(shape) > effort.largest_size:
            continue
        drawn = options.get("values", values[number % len(values)])
        chosen = {name: value for name, value in options.items() if name != "values"}
        yield operator.case(dtype, shape, drawn, chosen, base_seed + number)
