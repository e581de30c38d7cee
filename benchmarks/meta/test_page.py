"""The page: what it shows, that a subject cannot write into it, and that a browser shows it,
light and dark.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from torch_loss_parity.benchmarks import page, summary
from torch_loss_parity.benchmarks.matrix import CLASSES, shape_name
from torch_loss_parity.benchmarks.meta.results import result, run_of
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.benchmarks.page import Report
from torch_loss_parity.benchmarks.result import Result, Wrong

pytest.importorskip("jinja2", reason="Jinja2, of the report extra, makes the page")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SPITEFUL = "<script>document.title='taken'</script>"
SWEEP = [
    result(path, shape=shape_name(s), seconds=1e-4 * 4**i)
    for path in ("torch", "numpy")
    for i, s in enumerate(CLASSES)
]
RESULTS = [
    result("torch", floor=3.0, speed=1.001),
    result("compile", floor=2.0, speed=1.5),
    result(SPITEFUL, floor=90.0, speed=0.03, ulps=5e5),
    *SWEEP,
]
WRONG = [Wrong(("softmax", "forward", "8x8", "float32"), "subject", f"the result is wrong: {SPITEFUL}")]


@pytest.fixture(scope="module")
def html() -> str:
    machine = {"cpu": "a CPU", "environment": {"OMP_X": "1"}}
    return page.page(
        Report(RESULTS, WRONG, ["left out at this effort: nothing much"], machine, {SPITEFUL: "a subject"})
    )


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser to show the page in: none of {', '.join(BROWSERS)} is installed")


def browse(browser: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page as a person would, but without a window and without a network."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1280,2400",
    ]
    quiet = [
        "--enable-logging=stderr",
        "--v=0",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={file.parent / 'profile'}",
    ]
    return subprocess.run(
        [*command, *quiet, *options, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )


def test_the_page_holds_every_figure(html: str) -> None:
    assert html.count('<figure class="panel"') == len({each.group for each in RESULTS}) + len(WRONG)
    assert html.count('class="fill bar"') == len(RESULTS)
    assert html.count('<g class="point') == len(RESULTS)
    assert html.count("<polyline") == 2
    assert "compile: 10 ms, spread 10%; 2 times the floor (1.98..2.02), which is copied; speed" in html
    assert "torch n^1.00" in html
    assert "left out at this effort: nothing much" in html


def test_the_page_is_self_contained(html: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import|<script|<link|<iframe|https?://""", html)


def test_what_comes_from_a_subject_is_escaped(html: str) -> None:
    assert SPITEFUL not in html
    assert "&lt;script&gt;" in html


def test_a_run_in_which_everything_is_wrong_has_a_page() -> None:
    shown = page.page(Report([], WRONG, [], {}, {}))
    assert "Wrong, and so without a time: subject in softmax, forward, 8x8, float32" in shown


@pytest.mark.whole_runs
def test_a_browser_shows_it(html: str, browser: str, tmp_path: Path) -> None:
    """It is laid out, nothing lies outside its picture, no text is cut off, and the browser has nothing to
    complain of.
    """
    probe = """<script>addEventListener("load", () => {
      const box = (e) => e.getBoundingClientRect();
      const shown = [...document.querySelectorAll("svg .bar")].map(box);
      const outside = [...document.querySelectorAll("figure svg text, figure svg rect")].filter((e) => {
        const a = box(e), b = box(e.closest("figure"));
        return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1; });
      document.body.insertAdjacentHTML("beforeend", `<pre id="probe">${JSON.stringify({ title: document.title,
        bars: shown.filter((b) => b.width > 0 && b.height > 5).length,
        outside: outside.map((e) => e.textContent),
        wide: document.documentElement.scrollWidth > innerWidth,
        ground: getComputedStyle(document.body).backgroundColor })}</pre>`);
    })</script>"""
    file = tmp_path / "page.html"
    allowing = html.replace(
        "style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    file.write_text(allowing.replace("</body>", probe + "</body>"), encoding="utf-8")
    for preferred, ground in (("1", "rgb(255, 255, 255)"), ("0", "rgb(20, 23, 26)")):
        shown = browse(browser, file, "--dump-dom", f"--blink-settings=preferredColorScheme={preferred}")
        sizes = json.loads(unescape(shown.stdout.rpartition('<pre id="probe">')[2].partition("</pre>")[0]))
        assert sizes == {
            "title": "Loss functions against the limit",
            "bars": len(RESULTS),
            "outside": [],
            "wide": False,
            "ground": ground,
        }
        assert "CONSOLE" not in shown.stderr, shown.stderr


@pytest.mark.whole_runs
def test_the_page_as_it_is_raises_no_error(html: str, browser: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(html, encoding="utf-8")
    shown = browse(browser, file, f"--screenshot={tmp_path / 'page.png'}")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert "CONSOLE" not in shown.stderr, shown.stderr


def test_the_table_says_what_a_path_is_right_by_and_the_run_by_which_way() -> None:
    textbook = replace(
        result("numpy"),
        ways=("forward: terms times 0 are left out (sharp)", "input: p (g - sum(g p)) (textbook)"),
    )
    known = replace(result("torch"), divergences=("an-entry",))
    rows = [textbook, known, result("compile")]
    assert [summary.right_by(each) for each in rows] == ["textbook", "ledger", "definition"]
    apart = noise(rows)
    at = summary.HEADER.index("right by")
    assert [summary.cells(each, apart)[at] for each in rows] == ["textbook", "ledger", "definition"]
    said = list(summary.omissions(run_of(results=rows)))
    assert (
        "right by another way than the definition: softmax, input: p (g - sum(g p)) (textbook), in numpy"
        in said
    )
    assert Result.from_info(json.loads(json.dumps(textbook.as_info()))) == textbook
