"""Where the marks of a plot go: the geometry that the template draws as SVG.

Note [Errors on a scale]
    Errors span from a fraction of an ulp to more than 2^60. An error below all bins, 2^-12 ulps, is drawn as
    0, and one in the last, from 2^64 on, as infinite: a truth that is nearly 0, of a gradient that cancels,
    makes errors of 1e37 ulps, and a scale that held them would show nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch_loss_parity.audit.record import EDGES, Figure, Measures
from torch_loss_parity.reports import formatting
from torch_loss_parity.reports.scales import TICKS, Scale, Tick, apart

WIDTH, HEIGHT = 340, 216  # pixels, as are the margins
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 36
SMALLEST_SHARE = 1e-7
BEYOND_BINS = "≥2⁶⁴"
HALF = 0.5  # ulp


def on_scale(error: float) -> float:
    """An error as a scale has it; see Note [Errors on a scale]."""
    return 0.0 if error < EDGES[0] else error if error < EDGES[-1] else math.inf


def half(scale: Scale) -> Tick | None:
    """Half an ulp, where it is on the scale."""
    return Tick(scale.at(HALF), "½") if 10**scale.low <= HALF <= 10**scale.high else None


@dataclass(frozen=True)
class Series:
    """One implementation's values or gradients; the marks, and a line through the largest of them."""

    by: str  # "subject" or "torch"
    kind: str  # "value" or "gradient"
    marks: str = ""
    line: str = ""
    area: str = ""


@dataclass(frozen=True)
class Point:
    """A mark that can be asked what it is: its place, its row in the table of figures, and whose it is."""

    x: float
    y: float
    row: int
    by: str


@dataclass(frozen=True)
class Plot:
    """Everything that the template draws, in pixels."""

    id: str
    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    half_across: Tick | None = None  # half an ulp, as a vertical or as a horizontal line
    half_along: Tick | None = None
    note: str = ""
    points: tuple[Point, ...] = ()


# By whose and of what: rows, figures and what was measured.
Kinds = Mapping[tuple[str, str], Sequence[tuple[int, Figure, Measures]]]


def by_kind(figures: Iterable[tuple[int, Figure]]) -> Kinds:
    """Figures apart by implementation, and values from gradients."""
    kinds: dict[tuple[str, str], list[tuple[int, Figure, Measures]]] = {}
    for row, figure in figures:
        kind = "value" if figure.quantity == "forward" else "gradient"
        for by, measures in (("torch", figure.torch), ("subject", figure.subject)):
            if measures is not None:
                kinds.setdefault((by, kind), []).append((row, figure, measures))
    return dict(sorted(kinds.items(), reverse=True))


def _x_scale(values: Iterable[float]) -> Scale:
    return Scale.over(values, LEFT, WIDTH - RIGHT)


def _y_scale(values: Iterable[float]) -> Scale:
    return Scale.over(values, HEIGHT - BOTTOM, TOP)


def distribution(id: str, kinds: Kinds) -> Plot:
    """The share of elements with an error of at least so many ulps.

    Searched elements are left out: they were looked for.
    """
    shares = {
        key: _shares([m for _, figure, m in measured if figure.how != "searched"])
        for key, measured in kinds.items()
    }
    shown = [(edge, share) for points in shares.values() for edge, share in points if share > 0]
    note = "" if shown else "every element is exact"
    worst = [on_scale(_largest(measured)) for measured in kinds.values()]
    x = _x_scale([*(edge for edge, _ in shown), *filter(None, worst)] if shown else [0.1, 1.0])
    y = _y_scale([1.0, *(max(share, SMALLEST_SHARE) for _, share in shown)] if shown else [0.01, 1.0])
    series = []
    for (by, kind), points in shares.items():
        visible = [(x.at(edge), y.at(share)) for edge, share in points if share > 0]
        if not visible:
            continue
        end = max(x.at(on_scale(_largest(kinds[by, kind]))), visible[-1][0])
        line = _polyline([*visible, (end, HEIGHT - BOTTOM)])
        area = f"{line}L{visible[0][0]:g} {HEIGHT - BOTTOM:g}z" if by == "subject" else ""
        series.append(Series(by, kind, line=line, area=area))
    above = {
        key: next((share for edge, share in points if edge == HALF), 0.0) for key, points in shares.items()
    }
    said = "; ".join(
        f"{by}, {kind}: {above[by, kind]:.3g} of elements at or above half an ulp" for by, kind in above
    )
    return Plot(
        id=id,
        title="Distribution of errors",
        description=f"Share of elements whose error is at least the number of ulps. {said or 'No elements'}.",
        x_label="error, ulp",
        y_label="share at least so large",
        x_ticks=apart(x.ticks(last=BEYOND_BINS), "x", half(x)),
        y_ticks=apart(y.ticks(), "y"),
        series=tuple(series),
        half_across=half(x),
        note=note,
    )


def _largest(measured: Sequence[tuple[int, Figure, Measures]]) -> float:
    return max((m.max_ulp for _, figure, m in measured if figure.how != "searched"), default=0.0)


def _shares(measured: Sequence[Measures]) -> list[tuple[float, float]]:
    """At each edge, the share of elements at or beyond it; the last bin, from 2^64 on, counts as infinite."""
    bins = [sum(counts) for counts in zip(*(m.bins for m in measured), strict=True)]
    total = sum(bins)
    if not total:
        return []
    points, beyond = [], total - bins[0]
    for edge, inside in zip(EDGES, bins[1:], strict=True):
        points.append((edge if edge < EDGES[-1] else math.inf, beyond / total))
        beyond -= inside
    # Where it begins to fall.
    first = next((i for i, (_, share) in enumerate(points) if share < 0.99 * points[0][1]), 1)
    last = max((i for i, (_, share) in enumerate(points) if share > 0), default=0)
    kept = points[max(first - 1, 0) : last + 1]
    if not math.isinf(kept[-1][0]):
        return kept
    largest = max(
        (edge for (edge, _), inside in zip(points, bins[1:-1], strict=False) if inside), default=1.0
    )
    # From there to infinity there is nothing to see.
    return [*(point for point in kept[:-1] if point[0] <= 2 * largest), kept[-1]]


def against_size(id: str, kinds: Kinds, errors: Sequence[float]) -> Plot:
    """The largest error of each figure by the number of classes, or of elements where there are no rows."""
    classes = any(figure.classes for measured in kinds.values() for _, figure, _ in measured)
    sizes = {
        row: float(figure.classes if classes else figure.rows)
        for measured in kinds.values()
        for row, figure, _ in measured
    }
    distinct = sorted(set(sizes.values()))
    return _scatter(
        id,
        "Error against size",
        "classes in a row" if classes else "elements",
        kinds,
        sizes,
        errors,
        at=distinct if len(distinct) <= 2 * TICKS else (),
        lines=True,
    )


def against_range(id: str, kinds: Kinds, errors: Sequence[float]) -> Plot:
    """The largest error of each figure by the spread of its logits."""
    ranges = {row: figure.logit_range for measured in kinds.values() for row, figure, _ in measured}
    return _scatter(id, "Error against range", "largest minus smallest input", kinds, ranges, errors)


def _scatter(
    id: str,
    title: str,
    x_label: str,
    kinds: Kinds,
    places: Mapping[int, float],
    errors: Sequence[float],
    at: Sequence[float] = (),
    lines: bool = False,
) -> Plot:
    """``errors`` are those of the operator in every dtype: its plots share one scale, and can be compared."""
    x, y = _x_scale(places.values()), _y_scale([HALF, *map(on_scale, errors)])
    series, points, largest = [], [], []
    for (by, kind), measured in kinds.items():
        placed = [(x.at(places[row]), y.at(on_scale(m.max_ulp)), row) for row, _, m in measured]
        # not quite nothing: on paper a line of no length has no ends to draw
        marks = "".join(f"M{px:g} {py:g}h.01" for px, py in dict.fromkeys((px, py) for px, py, _ in placed))
        tops: dict[float, float] = {}
        for px, py, _ in placed:
            tops[px] = min(tops.get(px, py), py)
        series.append(
            Series(
                by, kind, marks=marks, line=_polyline(sorted(tops.items())) if lines and len(tops) > 1 else ""
            )
        )
        points += [Point(px, py, row, by) for px, py, row in placed]
        row, _, worst = max(measured, key=lambda one: one[2].max_ulp)
        largest.append(f"{by}, {kind}: largest {formatting.ulps(worst.max_ulp)} ulp at {places[row]:g}")
    return Plot(
        id=id,
        title=title,
        description=f"Largest error of each figure in ulps, against {x_label}. {'; '.join(largest)}.",
        x_label=x_label,
        y_label="largest error, ulp",
        x_ticks=apart(x.ticks(at), "x"),
        y_ticks=apart(y.ticks(last=BEYOND_BINS), "y", half(y)),
        series=tuple(series),
        half_along=half(y),
        points=tuple(points),
    )


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
