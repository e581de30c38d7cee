"""Where things lie in the pictures of the page: bars against the floor, speed against accuracy, curves over
size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch_loss_parity.benchmarks import scaling, summary
from torch_loss_parity.benchmarks.noise import Noise
from torch_loss_parity.benchmarks.paths import BASELINE
from torch_loss_parity.benchmarks.result import Result, Wrong
from torch_loss_parity.reports import formatting
from torch_loss_parity.reports.scales import Scale

# Told apart without colour, too.
MARKS = ("circle", "square", "triangle", "diamond", "cross", "ring", "bar", "down")


@dataclass(frozen=True)
class Bar:
    """One path of a group: how many times the floor, with its interval."""

    path: str
    colour: int
    y: int
    width: float
    low: float
    high: float
    label: str
    title: str
    told_apart: bool


@dataclass(frozen=True)
class Panel:
    """The bars of one group, and the paths that have none."""

    name: str
    id: str
    axis: Scale
    bars: tuple[Bar, ...]
    wrong: tuple[Wrong, ...]
    height: int


LONGEST = 10  # letters of a name beside a bar
LEAST_ULPS = 0.1  # stands for less
BAR, LEFT, BARS = 22, 90, 330  # pixels: of a bar and its gap, of the names, of the axis


def panels(results: Sequence[Result], wrong: Sequence[Wrong], apart: Noise) -> Iterator[Panel]:
    """A panel for each group, all of one axis so that they compare."""
    axis = Scale.around((result.times_floor for result in results), LEFT, LEFT + BARS, least=1.0)
    colours = list(marks(results))
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.group_name, []).append(result)
    for each in wrong:
        groups.setdefault(", ".join(each.group), [])
    for number, (name, members) in enumerate(groups.items()):
        bars = tuple(
            _bar(result, axis, BAR * i, apart, colours.index(result.path)) for i, result in enumerate(members)
        )
        refused = tuple(each for each in wrong if ", ".join(each.group) == name)
        yield Panel(name, f"group-{number}", axis, bars, refused, BAR * len(bars) + 20)


def _bar(result: Result, axis: Scale, y: int, apart: Noise, colour: int) -> Bar:
    end = axis.at(result.times_floor)
    over, speed = result.over_floor, result.against_torch
    title = (
        f"{result.path}: {formatting.seconds(result.median)}, spread {result.spread:.0%}; "
        f"{summary.times(result)} times the floor ({summary.between(over)}), which is {result.moved}; "
        f"speed against torch {summary.speed(result, apart)} ({summary.between(speed)}); "
        f"{formatting.figure(result.ulps)} ulps"
    )
    return Bar(
        path=result.path if len(result.path) <= LONGEST else f"{result.path[:LONGEST]}...",
        colour=colour,
        y=y,
        width=round(max(end - LEFT, 1.0), 1),
        low=axis.at(over.low),
        high=axis.at(over.high),
        label=f"{summary.times(result)} x, {formatting.seconds(result.median)}",
        title=title,
        told_apart=result.path == BASELINE or apart.tells_apart(result),
    )


@dataclass(frozen=True)
class Point:
    path: str
    x: float
    y: float
    mark: str
    title: str


@dataclass(frozen=True)
class Scatter:
    """Speed against torch over the worst error: fast and right is up and to the left."""

    dtype: str
    x: Scale
    y: Scale
    points: tuple[Point, ...]


def marks(results: Sequence[Result]) -> dict[str, str]:
    """A mark for each path."""
    return {
        path: MARKS[i % len(MARKS)] for i, path in enumerate(dict.fromkeys(result.path for result in results))
    }


def scatters(results: Sequence[Result]) -> Iterator[Scatter]:
    """One for each dtype: an ulp is another error in each."""
    mark = marks(results)
    for dtype in dict.fromkeys(result.dtype for result in results):
        members = [result for result in results if result.dtype == dtype]
        x = Scale.around((max(result.ulps, LEAST_ULPS) for result in members), 60, 680)
        y = Scale.around((result.speed for result in members), 300, 20)
        points = tuple(
            Point(
                result.path,
                x.at(max(result.ulps, LEAST_ULPS)),
                y.at(result.speed),
                mark[result.path],
                _words(result),
            )
            for result in members
        )
        yield Scatter(dtype, x, y, points)


def _words(result: Result) -> str:
    speed, ulps, share = (formatting.figure(value) for value in (result.speed, result.ulps, result.fraction))
    return (
        f"{result.path} in {result.group_name}: {speed} times torch's speed, {ulps} ulps, {share} of "
        f"what "
        f"rounding allows"
    )


@dataclass(frozen=True)
class Line:
    path: str
    points: str
    dots: tuple[tuple[float, float, str], ...]
    label: str
    end: tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """The curves of one work in one mode."""

    name: str
    x: Scale
    y: Scale
    lines: tuple[Line, ...]


def plots(results: Sequence[Result]) -> Iterator[Plot]:
    """Time against size, for what was swept."""
    curves = scaling.curves(results)
    for (work, mode, dtype, along), members in groupby(
        curves, key=lambda curve: (curve.work, curve.mode, curve.dtype, curve.along)
    ):
        each = list(members)
        x = Scale.around((n for curve in each for n, _ in curve.points), 60, 440)
        y = Scale.around((t for curve in each for _, t in curve.points), 240, 20)
        yield Plot(
            f"{work}, {mode}, {dtype}, along {along}", x, y, tuple(_line(curve, x, y) for curve in each)
        )


def _line(curve: scaling.Curve, x: Scale, y: Scale) -> Line:
    dots = tuple(
        (x.at(n), y.at(t), f"{curve.path}: {n} elements, {formatting.seconds(t)}") for n, t in curve.points
    )
    exponent = "" if curve.exponent is None else f" n^{curve.exponent:.2f}"
    return Line(
        curve.path,
        " ".join(f"{px},{py}" for px, py, _ in dots),
        dots,
        f"{curve.path}{exponent}",
        dots[-1][:2],
    )
