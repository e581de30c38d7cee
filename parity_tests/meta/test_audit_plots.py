"""The plots and the numbers of a page."""

from __future__ import annotations

import math
import re

import pytest

from torch_loss_parity.audit import plots, views
from torch_loss_parity.audit.record import EDGES, Audit
from torch_loss_parity.meta.audit_pages import AUDIT, OTHER, measuring
from torch_loss_parity.reports import formatting, scales

# --- the plots ----------------------------------------------------------------------------------------------


def all_plots(audit: Audit) -> list[plots.Plot]:
    return [plot for detail in views.page(audit).details for plot in detail.plots]


@pytest.mark.parametrize("audit", [AUDIT, OTHER], ids=["torch", "another"])
def test_every_mark_and_tick_lies_in_its_plot(audit: Audit) -> None:
    drawn = all_plots(audit)
    assert len(drawn) == 6 * 4 * 3
    for plot in drawn:
        paths = " ".join(series.marks + series.line for series in plot.series)
        assert not re.search(r"nan|inf", paths)
        places = [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", paths)]
        assert all(
            plots.LEFT <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT - plots.BOTTOM for x, y in places
        )
        assert len(plot.x_ticks) >= 1
        assert len(plot.y_ticks) >= 1


def test_a_scale_keeps_the_order_of_numbers_from_zero_to_infinity() -> None:
    values = [0.0, 1e-3, 0.5, 1.0, 7.0, 1e6, math.inf]
    scale = scales.Scale.over(values, 200.0, 0.0)
    places = [scale.at(value) for value in values]
    assert places == sorted(places, reverse=True)
    assert len(set(places)) == len(places)
    assert {tick.label for tick in scale.ticks()} >= {"0", "∞"}
    middle = (scale.at(1e-3) + scale.at(1e6)) / 2
    # A place is rounded to tenths, by 0.05; so is the middle of two.
    assert scale.at(10**1.5) == pytest.approx(middle, abs=0.1)


@pytest.mark.parametrize(
    "values", [[], [0.0], [math.inf], [3.0], [3.0, 3.0], [0.0, math.inf], [5e-324, 1.7e308], [1e-5, 1.7e308]]
)
def test_a_scale_over_little_is_a_scale(values: list[float]) -> None:
    scale = scales.Scale.over(values, 0.0, 100.0)
    assert all(0 <= scale.at(value) <= 100 for value in (0.0, 0.1, 3.0, 1e300, math.inf))
    assert scale.ticks()


def test_the_distribution_is_the_share_of_elements_at_or_beyond_each_edge() -> None:
    bins = [0] * (len(EDGES) + 1)
    half, four = EDGES.index(0.5) + 1, EDGES.index(4.0) + 1
    bins[0], bins[half], bins[four], bins[-1] = 50, 30, 15, 5
    shares = dict(plots._shares([AUDIT.figures[0].subject.model_copy(update={"bins": tuple(bins)})]))
    assert (shares[0.5], shares[1.0], shares[4.0], shares[8.0], shares[math.inf]) == (
        0.5,
        0.2,
        0.2,
        0.05,
        0.05,
    )


def test_what_was_searched_for_is_no_part_of_the_distribution() -> None:
    of_one = [(0, AUDIT.figures[0]), (1, AUDIT.figures[0].model_copy(update={"how": "searched"}))]
    searched = measuring(of_one[1][1], bins=tuple([0] * len(EDGES) + [10**9]))
    with_it = plots.distribution("d", plots.by_kind([of_one[0], (1, searched)]))
    assert with_it.series == plots.distribution("d", plots.by_kind(of_one[:1])).series


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (0.49999, "0.5"),
        (0.5004, "0.5004"),
        (0.50002, "0.50002"),
        (0.5 + 1e-9, ">0.5"),
        (1.0, "1"),
        (1.0004, "1.0004"),
        (1 + 1e-9, ">1"),
        (2047.4, "2047"),
        (1.19e7, f"1.19{formatting.TIMES}10⁷"),
        (1e-20, f"1{formatting.TIMES}10⁻²⁰"),
        (math.inf, "∞"),
    ],
)
def test_an_error_is_never_shown_on_the_better_side_of_half_or_one_ulp(error: float, shown: str) -> None:
    assert formatting.ulps(error) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("0x1.8p+1", "3"),
        ("-0x1.999999999999ap-4", "-0.1"),
        ("0.00056427334141234567890", "0.00056427334"),
        ("-0x0.0p+0", "-0"),
        ("0e-1232", "0"),
        ("1.25e-400", "1.25e-400"),
        ("2e999", "2e+999"),
        ("nan", "nan"),
        ("-inf", "-inf"),
        ("0xfly", "0xfly"),
        ("<b>", "<b>"),
    ],
)
def test_a_number_in_hexadecimal_or_with_many_digits_is_shown_in_decimal(number: str, shown: str) -> None:
    assert formatting.decimal(number, 8) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 7, "0 %"),
        (7, 7, "100 %"),
        (1, 10**6, "<0.01 %"),
        (10**6 - 1, 10**6, ">99.99 %"),
        (9995, 10000, "99.95 %"),
        (1, 3, "33.3 %"),
        (0, 0, "n/a"),
    ],
)
def test_a_share_is_100_per_cent_only_of_all(part: int, whole: int, shown: str) -> None:
    assert formatting.share(part, whole) == shown
