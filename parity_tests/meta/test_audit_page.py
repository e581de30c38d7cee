"""The page as text: what it says of an audit, that its links lead somewhere, that data is escaped, and that
it stays small.

What a browser makes of it is in `test_audit_browser`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.audit import page as pages
from torch_loss_parity.audit import summary, views
from torch_loss_parity.audit.__main__ import main
from torch_loss_parity.audit.files import load, save
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.meta import invented_audit
from torch_loss_parity.meta.audit_pages import AUDIT, NOTHING, OTHER, Read, measuring, with_figures
from torch_loss_parity.reports import formatting

MOST = 1_000_000  # bytes of a page


RIGHT = [
    measuring(figure, standing="pass", divergence="", fraction=0.5, max_ulp=0.5) for figure in AUDIT.figures
]


# --- what it says -------------------------------------------------------------------------------------------


def test_the_verdict_is_one_sentence_that_counts() -> None:
    known = sum(figure.subject.standing == "known" for figure in AUDIT.figures)
    number = len(AUDIT.figures)
    assert views.page(AUDIT).verdict == (
        f"torch 2.13.0 keeps within what rounding allows in {number - known} of {number} measurements; in "
        f"{known} it exceeds that, explained by {len(AUDIT.divergences)} entries of the ledger."
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
    tiers = {tier.name: tier.result_names for tier in views.page(AUDIT).tiers}
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


def test_a_result_that_is_right_by_a_way_says_by_which_and_where_it_loses() -> None:
    way = "x - m - log(sum) (textbook); loses in confident rows"
    by_way = measuring(RIGHT[0], fraction=9.0, standing="known", way=way)
    audit = with_figures(by_way, *RIGHT[1:])
    page = views.page(audit)
    assert [[result.id for result in results] for results in page.ways.values()] == [
        ["softmax-float16-forward"]
    ]
    html = unescape(pages.render(audit))
    assert "Right by another way than the definition" in html
    assert f"<b>{way}</b>" in html
    assert "Right by another way" not in pages.render(with_figures(*RIGHT))
    lines = summary.table(audit)
    below = " ".join(" ".join(lines[lines.index("softmax") + 1 :]).split())
    assert re.match(r"float16 [^f]*pass; 1 of \d+ by a textbook way bfloat16 ", below)
