"""The page as text: what it says of an audit, that its links lead somewhere, that data is escaped, and that
it stays small.

What a browser makes of it is in `test_audit_browser`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.audit import page as pages
from torch_loss_parity.audit import plots, views
from torch_loss_parity.audit.__main__ import main
from torch_loss_parity.audit.files import load, save
from torch_loss_parity.audit.record import EDGES, Audit, Figure
from torch_loss_parity.meta import invented_audit
from torch_loss_parity.reports import formatting, scales

AUDIT = invented_audit.audit(sizes=((64, 1000),), values=("normal", "wide"))
OTHER = invented_audit.audit("mine.kernels", sizes=((64, 1000),), values=("normal",), failing=True)
NOTHING = Audit(settings=AUDIT.settings, environment={}, command="", figures=())
MOST = 1_000_000  # bytes of a page


class Read(HTMLParser):
    """What a page is made of: the elements and their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def with_figures(*figures: Figure) -> Audit:
    return AUDIT.model_copy(update={"figures": figures})


def measuring(figure: Figure, **numbers: Any) -> Figure:
    return figure.model_copy(update={"subject": figure.subject.model_copy(update=numbers)})


RIGHT = [
    measuring(figure, standing="pass", divergence="", fraction=0.5, max_ulp=0.5) for figure in AUDIT.figures
]


# --- what it says -------------------------------------------------------------------------------------------


def test_the_verdict_is_one_sentence_that_counts() -> None:
    known = sum(figure.subject.standing == "known" for figure in AUDIT.figures)
    number = len(AUDIT.figures)
    assert views.page(AUDIT).verdict == (
        f"torch 2.13.0 keeps within what rounding allows in {number - known} of {number} measurements, and "
        f"exceeds it in {known} for "
        f"{len(AUDIT.divergences)} known reasons."
    )
    assert (
        views.page(with_figures(*RIGHT)).verdict == f"torch 2.13.0 keeps within what rounding allows in "
        f"every "
        f"one of {number} measurements."
    )
    assert views.page(OTHER).verdict == (
        f"mine.kernels is wrong: 1 of {len(OTHER.figures)} measurements exceeds what rounding allows and 1 "
        f"call raised or did not return."
    )
    assert views.page(NOTHING).verdict == "Nothing of torch was measured."
    assert [views.page(audit).standing for audit in (AUDIT, with_figures(*RIGHT), OTHER, NOTHING)] == [
        "known",
        "pass",
        "fail",
        "nothing",
    ]


def test_what_raised_is_wrong_even_where_nothing_was_measured() -> None:
    page = views.page(NOTHING.model_copy(update={"missing": OTHER.missing}))
    assert (page.verdict, page.standing) == ("torch is wrong: 1 call raised or did not return.", "fail")


def test_the_second_sentence_names_the_result_that_is_farthest_from_what_is_allowed() -> None:
    page = views.page(with_figures(*RIGHT[:-1], measuring(RIGHT[-1], fraction=0.75)))
    assert page.second_sentence.endswith(
        "Nearest to what is allowed, 0.75 times, is the gradient of target of "
        "binary_cross_entropy_with_logits in float64."
    )
    page = views.page(
        with_figures(*RIGHT[1:], measuring(RIGHT[0], fraction=1234.0, max_ulp=2.0, standing="known"))
    )
    assert page.second_sentence.endswith(
        f"Farthest beyond what is allowed, 1.2{formatting.TIMES}10³ times, is the value of softmax in "
        f"float16."
    )
    page = views.page(with_figures(*RIGHT[1:], measuring(RIGHT[0], fraction=math.inf, standing="fail")))
    assert page.second_sentence.endswith(
        "The worst is the value of softmax in float16: an error where none is allowed."
    )
    worst = "nan or infinite where it should be a number, or the reverse."
    assert views.page(AUDIT).second_sentence.endswith(
        f"The worst is the gradient of input of binary_cross_entropy in float16: {worst}"
    )


def test_the_page_says_where_it_is_exact_to_half_an_ulp_and_where_not() -> None:
    tiers = {tier.name: tier.said for tier in views.page(AUDIT).tiers}
    assert "nll_loss value (every dtype)" in tiers["exact"]
    assert "softmax value (float16, bfloat16)" in tiers["exact"]
    assert "softmax value (float32, float64)" in tiers["bound"]
    assert "log_softmax value (float16, bfloat16)" in tiers["known"]
    said = [len(tier.results) for tier in views.page(AUDIT).tiers]
    assert sum(said) == len(views.page(AUDIT).results)


def test_one_element_beyond_half_an_ulp_is_not_exact() -> None:
    barely = measuring(RIGHT[0], max_ulp=math.nextafter(0.5, 1))
    page = views.page(with_figures(barely, *RIGHT[1:]))
    assert [result.id for result in page.results if result.tier != "exact"] == ["softmax-float16-forward"]
    assert ">0.5</b> ulp" in pages.render(with_figures(barely)).replace("&gt;", ">")


def test_a_planted_error_is_the_worst_case_with_its_input() -> None:
    """Of 65536 float16 values one is off by 3 ulps: that is what the page shows first."""
    figure = next(f for f in RIGHT if f.dtype == "float16" and f.how == "exhaustive")
    worst = figure.worst.model_copy(
        update={"arguments": {"input": "0x1.abcp-3"}, "ulps": 3.0, "fraction": 5.98}
    )
    planted = measuring(figure, standing="fail", max_ulp=3.0, fraction=5.98).model_copy(
        update={"worst": worst}
    )
    page = views.page(with_figures(*(planted if f is figure else f for f in RIGHT)))
    assert page.worst[0].figure.worst == worst
    html = Read(pages.render(page.audit))
    assert "0x1.abcp-3" in html.text
    assert f"{figure.operator} float16 value 3 5.98 FAIL" in html.text


def test_a_worst_case_says_where_another_element_is_farther_from_what_is_allowed() -> None:
    figure = RIGHT[0].model_copy(update={"worst": RIGHT[0].worst.model_copy(update={"fraction": 0.25})})
    farther = (
        f"0.25 {formatting.TIMES} allowed (and 0.5 {formatting.TIMES} at a smaller error, where less "
        f"is "
        f"allowed)"
    )
    assert farther in Read(pages.render(with_figures(figure))).text
    assert "at a smaller error" not in Read(pages.render(with_figures(RIGHT[1]))).text


def test_a_known_divergence_says_who_met_it() -> None:
    known, right = next(f for f in AUDIT.figures if f.subject.standing == "known"), RIGHT[0]
    beside = right.model_copy(update={"torch": known.subject, "values": "other"})
    divergence = next(d for d in AUDIT.divergences if d.id == known.subject.divergence)
    times = f"at most {formatting.times(known.subject.fraction)} times"
    for figures, said in (
        ((known,), f"Met in 1 figure, {times} what is allowed: "),
        ((beside,), f"Met by torch in 1 figure, {times}: "),
        ((known, beside), f"Met in 1 figure, {times} what is allowed; by torch in 1 figure, {times}: "),
    ):
        assert (
            said
            in Read(
                pages.render(with_figures(*figures).model_copy(update={"divergences": (divergence,)}))
            ).text
        )
    assert views.page(with_figures(beside)).standing == "pass"


def test_the_page_says_what_it_may_claim_of_elements_that_no_ball_has_seen() -> None:
    def grounds(**changes: Any) -> str:
        numbers = {"elements": 10**6, "in_balls": 5000, "sampled": 1386} | changes
        return " ".join(views.page(with_figures(measuring(figure, **numbers))).grounds.split())

    figure = next(figure for figure in AUDIT.figures if figure.dtype == "float32")
    said = grounds()
    counted = measuring(figure, elements=10**6, in_balls=5000, sampled=1386)
    assert said in Read(pages.render(with_figures(counted))).text
    assert said.startswith("Of 1 000 000 elements, balls have enclosed the true values of 5 000: ")
    assert "tried on 1 386 elements" in said
    assert "had one in 100 of each" in said  # (1 - 1/100) ** 1386 = 2 ** -20
    assert "drawn at random" not in grounds(sampled=0)
    assert "does not say" in grounds(in_balls=0, sampled=0)
    assert "closed form" not in said
    figure = figure.model_copy(update={"how": "exhaustive"})
    assert "closed form" in grounds()


def test_every_part_of_an_audit_is_on_the_page() -> None:
    said = Read(pages.render(OTHER)).text
    for words in (
        *OTHER.environment,
        *OTHER.environment.values(),
        *(missing.what for missing in OTHER.missing),
        *(missing.why for missing in OTHER.missing),
        *(divergence.reason for divergence in OTHER.divergences),
        *(axis.axis for axis in OTHER.axes),
        *(figure.values for figure in OTHER.figures),
        *OTHER.times,
        OTHER.command,
    ):
        assert words in said
    assert len([id for id in Read(pages.render(OTHER)).values("id") if re.fullmatch(r"f\d+", id)]) == len(
        OTHER.figures
    )


def test_what_was_not_measured_has_a_cell_that_says_so() -> None:
    html = pages.render(
        with_figures(
            *(
                figure
                for figure in AUDIT.figures
                if figure.operator == "softmax" and figure.dtype == "float32"
            )
        )
    )
    assert html.count(">not measured</a>") == 6 * 4 - 1
    assert Read(pages.render(NOTHING)).text.count("not measured") == 6 * 4


# --- what it is made of -------------------------------------------------------------------------------------


@pytest.mark.parametrize("audit", [AUDIT, OTHER, NOTHING], ids=["torch", "another, failing", "nothing"])
def test_every_link_leads_somewhere_and_every_name_is_given_once(audit: Audit) -> None:
    html = Read(pages.render(audit))
    ids = Counter(html.values("id"))
    assert [id for id, times in ids.items() if times > 1] == []
    internal = [href.removeprefix("#") for href in html.values("href") if href.startswith("#")]
    labels = [id for value in html.values("aria-labelledby") for id in value.split()]
    copied = html.values("data-copy")
    assert [id for id in (*internal, *labels, *copied) if id not in ids] == []
    external = {href for href in html.values("href") if not href.startswith("#")} - {"data:,"}
    assert external <= {divergence.link for divergence in audit.divergences}
    assert html.values("src") == []


def test_a_link_that_is_no_address_of_the_web_is_shown_as_text() -> None:
    link = "javascript:alert(1)"
    divergence = AUDIT.divergences[0].model_copy(update={"link": link})
    html = Read(pages.render(AUDIT.model_copy(update={"divergences": (divergence,)})))
    assert link not in html.values("href")
    assert link in html.text


def test_the_points_of_the_plots_are_json_that_ends_no_script() -> None:
    name = "</script><!--<script>"
    html = pages.render(
        with_figures(*(figure.model_copy(update={"operator": name}) for figure in AUDIT.figures[:5]))
    )
    (block,) = re.findall(r'<script type="application/json" id="points">(.*?)</script>', html, re.DOTALL)
    assert "<" not in block
    assert all(
        0 <= row < len(AUDIT.figures) for points in json.loads(block).values() for _, _, row, _ in points
    )


@pytest.mark.whole_runs
def test_a_large_audit_is_a_small_page() -> None:
    values = tuple(f"distribution_{n}" for n in range(6))
    large = invented_audit.audit("mine.kernels", values=values)
    assert len(large.figures) > 1500
    assert len(pages.render(large).encode()) < MOST


def test_the_same_audit_is_the_same_page_from_its_file_too(tmp_path: Path) -> None:
    turned = OTHER.model_copy(
        update={"figures": OTHER.figures[::-1], "environment": dict(reversed(OTHER.environment.items()))}
    )
    save(turned, tmp_path / "audit.json")
    assert pages.render(load(tmp_path / "audit.json")) == pages.render(OTHER) == pages.render(turned)


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


# --- the command --------------------------------------------------------------------------------------------
@pytest.mark.whole_runs
def test_the_command_makes_the_page_of_a_saved_audit_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(AUDIT, tmp_path / "audit.json")
    save(with_figures(*RIGHT), tmp_path / "old.json")
    assert main(["page", str(tmp_path / "audit.json")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'index.html'}\n"
    assert 'id="compared"' not in (tmp_path / "index.html").read_text()
    other = tmp_path / "with.html"
    assert (
        main(
            [
                "page",
                str(tmp_path / "audit.json"),
                "--compare",
                str(tmp_path / "old.json"),
                "--output",
                str(other),
            ]
        )
        == 0
    )
    assert 'id="compared"' in other.read_text()
    assert (
        main(["page", str(tmp_path / "audit.json"), "--output", str(tmp_path / "nowhere" / "index.html")])
        == 2
    )
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Audit"
