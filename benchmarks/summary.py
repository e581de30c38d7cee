"""What is printed at the end of a run, below pytest-benchmark's table where that is asked for: path by path,
against the limit, and what the run does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import Any

from torch_loss_parity.benchmarks import scaling
from torch_loss_parity.benchmarks.interval import Interval
from torch_loss_parity.benchmarks.matrix import shape_from, shape_name
from torch_loss_parity.benchmarks.noise import Noise, noise
from torch_loss_parity.benchmarks.products import MULTIPLIED
from torch_loss_parity.benchmarks.result import Result
from torch_loss_parity.benchmarks.returned import WHOLE
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.judging.report import of_profile
from torch_loss_parity.reports.formatting import figure, seconds

HEADER = (
    "path",
    "median",
    "spread",
    "GB/s",
    "x floor",
    "x exp",
    "mem",
    "speed",
    "95 %",
    "ulps",
    "right by",
    "pages",
)
WIDTHS = (9, 8, 7, 6, 11, 6, 6, 8, 13, 8, 11, 6)  # with one before them no more than a hundred columns
Line = tuple[str, Mapping[str, Any]]
LEGEND = (
    "spread: interquartile range / median.  GB/s: bytes that must move / median.",
    "x floor: over the time of moving them; ~1: as fast; cache: faster, by a cache or a cheaper call.",
    "x exp: over the time of the exponentials alone.  mem: peak beyond the inputs / input.",
    "Of a layer, the floor is the time of its matrix products, and mem is in logits.",
    "speed: against torch, with its 95 % interval; =: not told from it. The row of torch is A/A.",
    "ulps: worst error of result and gradient.  pages: page faults.",
    "right by: the definition, an entry of torch's ledger, or the grade of another way: sharp, textbook.",
)


def lines(run: Benchmarks) -> Iterator[Line]:
    """The summary, each line with its markup."""
    if not (run.results or run.wrong or run.not_begun):
        return
    apart = noise(run.results)
    yield "", {}
    yield "multiples of the floor, by group", {"bold": True}
    yield from table(run.results, apart)
    yield "", {}
    yield from ((line, {}) for line in (*LEGEND, *of_profile(run.subject.profile)))
    yield apart.verdict, {"bold": True}
    for wrong in run.wrong:
        yield f"WRONG, no time: {wrong.path} in {', '.join(wrong.group)}: {wrong.reason}", {"red": True}
    yield from ((line, {}) for line in _multiplication(run.results))
    yield from ((line, {}) for line in _compilation(run.results))
    yield from ((line, {}) for line in scaling.lines(run.results))
    yield from ((line, {}) for line in omissions(run))


def table(results: Sequence[Result], apart: Noise) -> Iterator[Line]:
    yield _row(HEADER), {}
    for group, members in groupby(results, key=lambda result: result.group_name):
        rows = list(members)
        yield group, {"bold": True}
        for result in rows:
            yield _row(cells(result, apart)), {}


def cells(result: Result, apart: Noise) -> tuple[str, ...]:
    """A result as it is printed, in the order of `HEADER`."""
    return (
        result.path,
        seconds(result.median),
        f"{result.spread:.0%}",
        figure(result.bandwidth / 1e9),
        times(result),
        figure(result.times_exponentials),
        "-" if result.peak_over_input is None else f"{result.peak_over_input:.2f}",
        speed(result, apart),
        between(result.against_torch),
        figure(result.ulps),
        right_by(result),
        figure(result.page_faults),
    )


def omissions(run: Benchmarks) -> Iterator[str]:
    """What the figures do not cover, each thing by name."""
    half = sorted({entry for result in run.results for entry in result.divergences})
    if half:
        yield (f"known divergences of torch met (parity_tests/ledger/): {', '.join(half)}")
    for way, paths in _by_ways(run.results):
        yield f"right by another way than the definition: {way}, in {paths}"
    for reason, count in _counted(result.no_peak for result in run.results if result.no_peak):
        yield f"memory not measured in {count} cells: {reason}"
    if uncounted := sum(result.page_faults is None for result in run.results):
        yield f"page faults not counted in {uncounted} cells: this system does not tell them"
    picked = (result for result in run.results if len(run.works[result.work].gradients) == 1)
    if large := sum(prod(shape_from(result.shape)) > WHOLE for result in picked):
        yield (
            f"in {large} cells results and gradients of more than {WHOLE} elements were judged in rows that "
            f"the seed picks; a mean over "
            "all elements is judged whole"
        )
    for reason, count in (+run.not_offered).items():
        yield f"not offered in {count} cells: {reason}"
    yield from run.promised
    for what in run.not_timed:
        yield f"no workload: {what}"
    for sentence in run.left_out:
        yield f"left out at this effort: {sentence}"
    for group, members in groupby(run.not_begun, key=lambda cell: cell.group):
        work, mode, shape, dtype = group
        yield (
            f"not begun, as the time of this effort was used up: {work}, {mode}, {shape_name(shape)}, "
            f"{dtype}: "
        ) + ", ".join(cell.path for cell in members)
    unfinished = len(run.cells) - len(run.results) - len(run.wrong) - len(run.not_begun)
    if unfinished > 0:
        yield (
            f"{unfinished} of {len(run.cells)} cells have no result: not selected, interrupted, failed or "
            f"not offered"
        )


def _multiplication(results: Sequence[Result]) -> Iterator[str]:
    """What the products of a layer are, and how fast they are computed."""
    for group, members in groupby(results, key=lambda result: result.group_name):
        first = next(members)
        if first.flops and first.moved in MULTIPLIED:
            yield (
                f"the floor of {group}: {first.flops / 1e9:.3g} GFLOP {first.moved}, "
                f"{first.flops / first.floor / 1e9:.3g} GFLOP/s"
            )


def _compilation(results: Sequence[Result]) -> Iterator[str]:
    first = [result.first_call for result in results if result.compiles]
    if first:
        yield (
            f"torch.compile: the first calls of {len(first)} cells took {sum(first):.1f} s, the longest "
            f"{max(first):.1f} s; compilation is "
            "in them and in no other figure"
        )


def _by_ways(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Each way of an operator that was needed, and the paths that needed it."""
    by = sorted({(result.work, way, result.path) for result in results for way in result.ways})
    for (work, way), members in groupby(by, key=lambda each: each[:2]):
        yield f"{work}, {way}", ", ".join(path for _, _, path in members)


def _counted(reasons: Iterator[str]) -> list[tuple[str, int]]:
    distinct = list(reasons)
    return [(reason, distinct.count(reason)) for reason in dict.fromkeys(distinct)]


def _row(parts: Sequence[str]) -> str:
    first, *others = (f"{part:>{width}}" for part, width in zip(parts, WIDTHS, strict=True))
    return f" {first.strip():<{WIDTHS[0]}}{''.join(others)}"


def right_by(result: Result) -> str:
    """What says that it is right: the grade of a way, the ledger, or the definition."""
    return result.grade or ("ledger" if result.divergences else "definition")


def times(result: Result) -> str:
    """The multiple of the floor; ~1 where it is as fast, and whether a cache explains that it is below."""
    if result.at_floor:
        return "~1"
    return figure(result.times_floor) + (" cache" if result.cached else "")


def speed(result: Result, apart: Noise) -> str:
    """The speed against torch, and whether it is told from it."""
    return figure(result.speed) + ("" if apart.tells_apart(result) else " =")


def between(interval: Interval) -> str:
    """The ends of an interval."""
    return f"{figure(interval.low)}..{figure(interval.high)}"
