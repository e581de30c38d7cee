"""The page in a real browser: it runs without an error and without the network, leads where it says, and
keeps data from becoming code.

`opened` collects what a browser complains of, and each kind of complaint is planted once: a script that
fails, an escape that is missing, an address that is fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from torch_loss_parity.audit import page as pages
from torch_loss_parity.audit.compare import compare
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.meta import invented_audit
from torch_loss_parity.meta.browser_scripts import CONTRAST
from torch_loss_parity.reports import page as shared

pytestmark = pytest.mark.whole_runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AUDIT = invented_audit.audit("mine.kernels", sizes=((64, 1000),), values=("normal", "wide"))
RENDERED = cache(lambda: pages.render(AUDIT))
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WHERE = "install one (Debian: apt-get install chromium; elsewhere: python -m playwright install chromium)"
HOSTILE = "<script>alert(1)</script>"
BREAKING = "</script></pre></svg></title></style>\"'><img src=x onerror=alert(2)><script>alert(3)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not find_spec("playwright"):
        pytest.skip("no browser: playwright is not installed (it is in the extra dev)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, NAMES)), None) or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip(f"no browser: no Chromium on this machine; {WHERE}")
        launched = playwright.chromium.launch(executable_path=path)
        yield launched
        launched.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(audit: Audit = AUDIT, *, comparison: Any = None, change: Callable[[str], str] = str) -> Path:
        path = tmp_path / "index.html"
        path.write_text(
            change(RENDERED() if audit is AUDIT and not comparison else pages.render(audit, comparison)),
            encoding="utf-8",
        )
        return path

    return write


@contextmanager
def opened(browser: Browser, path: Path, at: str = "", **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page opened from disk, and what the browser complains of; also of whatever it fetches."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda request: None if is_own(request.url, path) else complaints.append(f"request: {request.url}"),
    )
    try:
        page.goto(path.as_uri() + at)
        yield page, complaints
    finally:
        context.close()


def is_own(url: str, path: Path) -> bool:
    return url.partition("#")[0] == path.as_uri() or url.startswith("data:")


def in_view(page: Page, selector: str) -> bool:
    return bool(
        page.evaluate(
            "s => { const b = document.querySelector(s).getBoundingClientRect();"
            " return b.width > 0 && b.height > 0 && b.top >= 0 && b.bottom <= innerHeight; }",
            selector,
        )
    )


# --- what it does -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_every_cell_of_the_heat_map_leads_to_its_detail(
    browser: Browser, write: Callable[..., Path], scripts: bool
) -> None:
    with opened(browser, write(), java_script_enabled=scripts) as (page, complaints):
        tiles = page.locator(".heat .tile")
        assert tiles.count() == 6 * 4 * 2
        for number in (0, 5, 17, 47):
            tile = tiles.nth(number)
            tile.click()
            target = page.url.partition("#")[2]
            assert tile.get_attribute("href") == f"#{target}"
            assert page.locator(f"[id='{target}']").is_visible()
            assert not scripts or in_view(page, f"[id='{target}']")
            assert not scripts or in_view(page, f"article:has([id='{target}']) h3 span")
        assert complaints == []


def test_a_cell_shows_in_words_what_its_colour_says(browser: Browser, write: Callable[..., Path]) -> None:
    with opened(browser, write()) as (page, _):
        known = page.locator('.tile[href="#log_softmax-float16-forward"]')
        assert known.inner_text().split("\n")[:3] == ["value", "known", "2047 ulp"]
        assert "gradient" in known.evaluate("tile => getComputedStyle(tile).backgroundImage")  # the hatching
        assert "½" in page.locator('.tile[href="#nll_loss-float32-forward"]').inner_text()


def test_a_worst_case_opens_and_its_script_is_copied(browser: Browser, write: Callable[..., Path]) -> None:
    with opened(browser, write(), permissions=["clipboard-read", "clipboard-write"]) as (page, complaints):
        row = page.locator("#worst-cases tbody tr").first
        row.locator("a.show").click()
        target = page.url.partition("#")[2]
        assert in_view(page, f"[id='{target}'] dl")
        script = page.locator(f"[id='{target}-script']").text_content()
        assert script is not None
        assert script.startswith("import torch\n")
        for button in (page.locator(f"[data-copy='{target}-script']").last, row.locator("button.copy")):
            page.evaluate("navigator.clipboard.writeText('nothing')")
            button.click()
            page.wait_for_function("navigator.clipboard.readText().then((text) => text !== 'nothing')")
            assert page.evaluate("navigator.clipboard.readText()") == script
            assert button.inner_text() == "Copied"
        assert complaints == []


def test_the_filter_and_the_order_are_in_the_address(browser: Browser, write: Callable[..., Path]) -> None:
    path = write()
    with opened(browser, path) as (page, complaints):
        page.locator('[data-text="softmax float16"]').click()
        shown = page.locator("#all-figures tbody tr:visible")
        texts = shown.all_inner_texts()
        expected = sum(figure.operator == "softmax" and figure.dtype == "float16" for figure in AUDIT.figures)
        assert len(texts) == expected
        assert (
            page.locator("[data-shown='all-figures']").inner_text()
            == f"{expected} of {len(AUDIT.figures)} rows"
        )
        page.locator("#all-figures th button", has_text="max").first.click()
        errors = [float(text.split("\t")[8]) for text in shown.all_inner_texts()]
        assert errors == sorted(errors, reverse=True)
        assert len(set(errors)) > 1
        address = page.url.partition("#")[2]
        assert address == "all-figures?q=softmax+float16&sort=8&down=1"
        assert complaints == []
    with opened(browser, path, f"#{address}") as (page, _):
        assert page.locator("#all-figures tbody tr:visible").all_inner_texts() == sorted(
            texts, key=lambda text: -float(text.split("\t")[8])
        )
        assert page.locator("[data-filter='all-figures']").input_value() == "softmax float16"


def test_an_address_that_leads_nowhere_does_no_harm(browser: Browser, write: Callable[..., Path]) -> None:
    with opened(browser, write(), "#%") as (page, complaints):
        for wrong in (
            "#nowhere",
            "#%zz?q=1",
            "#all-figures?sort=99",
            "#all-figures?sort=x&q=",
            "#summary?q=softmax",
        ):
            page.evaluate("wrong => (location.hash = wrong)", wrong)
            page.wait_for_timeout(20)
            assert page.locator("#all-figures tbody tr:not([hidden])").count() == len(AUDIT.figures)
        assert complaints == []


def test_a_mark_of_a_plot_says_which_figure_it_is_and_leads_to_it(
    browser: Browser, write: Callable[..., Path]
) -> None:
    with opened(browser, write(), "#softmax-float32") as (page, complaints):
        x, y, row, _ = page.evaluate(
            "JSON.parse(document.getElementById('points').textContent)['softmax-float32-size'][0]"
        )
        plot = page.locator("svg[data-plot='softmax-float32-size']")
        box = plot.bounding_box()
        assert box is not None
        scale = box["width"] / 340
        page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)
        assert " ulp" in page.locator("#tip").inner_text()
        page.mouse.click(box["x"] + x * scale, box["y"] + y * scale)
        assert page.url.endswith(f"#f{row}")
        page.wait_for_function(
            "row => document.getElementById(row).getBoundingClientRect().height > 0", arg=f"f{row}"
        )
        assert complaints == []


def test_what_changed_is_on_the_page(browser: Browser, write: Callable[..., Path]) -> None:
    first = AUDIT.figures[0]
    worse = first.model_copy(
        update={"subject": first.subject.model_copy(update={"max_ulp": 7.0, "outputs": "other"})}
    )
    comparison = compare(AUDIT, AUDIT.model_copy(update={"figures": (worse, *AUDIT.figures[1:-1])}))
    with opened(browser, write(comparison=comparison)) as (page, complaints):
        page.locator("nav a", has_text="Compared").click()
        (row,) = page.locator("#changes tbody tr").all()
        assert row.inner_text().split("\t")[0] == first.key
        assert "▲" in row.inner_text()
        assert AUDIT.figures[-1].key in page.locator("#compared details[open]").inner_text()
        assert complaints == []


# --- how it looks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(
    browser: Browser, write: Callable[..., Path], scheme: str
) -> None:
    """The contrast that WCAG 2 asks for at level AA: 4.5 for text."""
    path = write(invented_audit.audit(sizes=((64, 1000),), values=("wide",), failing=True))
    with opened(browser, path, color_scheme=scheme) as (page, complaints):
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (min(map(int, background[4:-1].split(","))) > 200) == (scheme == "light")
        for selector in (
            ".tile .ulp",
            ".verdict",
            ".second",
            ".lead",
            ".muted",
            ".standing",
            "a",
            ".tier dt b",
            "svg + *, th, td",
            "code",
        ):
            assert page.evaluate(CONTRAST, selector) >= 4.5, selector
        page.add_style_tag(content=".muted { color: #808080 !important; }") if scheme == "light" else None
        assert scheme == "dark" or page.evaluate(CONTRAST, ".muted") < 4.5  # it can fail
        assert complaints == []


SPILLED = (
    "tiles => tiles.filter((tile) => tile.scrollWidth > tile.clientWidth + 1).map((tile) => tile.innerText)"
)


def test_nothing_runs_out_of_the_page(browser: Browser, write: Callable[..., Path]) -> None:
    with opened(browser, write()) as (page, _):
        for width in (360, 700, 1201, 1920):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator(".tile").evaluate_all(SPILLED) == []
        page.add_style_tag(content=".tile { max-width: 40px; }")
        assert page.locator(".tile").evaluate_all(SPILLED)  # it can fail


def test_paper_has_no_navigation_and_all_results(browser: Browser, write: Callable[..., Path]) -> None:
    with opened(browser, write(), color_scheme="dark") as (page, _):
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert page.locator(".plot svg").last.is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


# --- data stays data ----------------------------------------------------------------------------------------


def hostile() -> Audit:
    """An audit in which every name and value would be code if anything let it."""
    first, second, *rest = AUDIT.figures
    worst = first.worst.model_copy(
        update={
            "arguments": {HOSTILE: BREAKING},
            "observed": BREAKING,
            "torch": HOSTILE,
            "truth": BREAKING,
            "script": BREAKING,
        }
    )
    subject = first.subject.model_copy(update={"standing": "known", "divergence": BREAKING, "fraction": 9e9})
    names = {
        "operator": HOSTILE,
        "dtype": BREAKING,
        "quantity": BREAKING,
        "values": BREAKING,
        "options": {HOSTILE: BREAKING},
    }
    divergence = AUDIT.divergences[0].model_copy(
        update={"id": BREAKING, "title": HOSTILE, "reason": BREAKING, "link": "javascript:alert(4)"}
    )
    axis = AUDIT.axes[1].model_copy(
        update={"axis": HOSTILE, "first": BREAKING, "second": BREAKING, "operator": BREAKING, "differing": 3}
    )
    return AUDIT.model_copy(
        update={
            "settings": AUDIT.settings.model_copy(
                update={"subject": HOSTILE, "device": BREAKING, "effort": BREAKING}
            ),
            "environment": {HOSTILE: BREAKING, "torch": BREAKING},
            "command": BREAKING,
            "figures": (first.model_copy(update=names | {"worst": worst, "subject": subject}), second, *rest),
            "axes": (axis,),
            "divergences": (divergence,),
            "missing": tuple(
                missing.model_copy(update={"what": HOSTILE, "why": BREAKING}) for missing in AUDIT.missing
            ),
            "times": {HOSTILE: 1.0},
        }
    )


def test_what_comes_from_a_subject_stays_text(browser: Browser, write: Callable[..., Path]) -> None:
    audit = hostile()
    path = write(
        audit,
        comparison=compare(audit.model_copy(update={"figures": AUDIT.figures, "environment": {}}), audit),
    )
    with opened(browser, path) as (page, complaints):
        assert page.title() == f"Audit of {HOSTILE} on {BREAKING}"
        assert HOSTILE in page.locator("h1").inner_text()
        assert elements(page) == {
            "script": 2,
            "img": 0,
            "style": 1,
            "[onerror], [onclick], [onload]": 0,
            "[href^='javascript:']": 0,
        }
        assert page.locator("#command").text_content() == BREAKING
        page.locator(".heat .tile.k3").first.click()
        page.locator("details.card summary").first.click()
        assert complaints == []


def elements(page: Page) -> dict[str, int]:
    selectors = ("script", "img", "style", "[onerror], [onclick], [onload]", "[href^='javascript:']")
    return {selector: page.locator(selector).count() for selector in selectors}


def test_without_escapes_the_same_checks_fail_and_the_policy_stops_what_would_run(
    browser: Browser, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = partial(shared.environment, autoescape=False)
    monkeypatch.setattr(shared, "environment", careless)
    with opened(browser, write(hostile())) as (page, complaints):
        assert elements(page)["script"] > 2
        assert elements(page)["img"] > 0
        assert any("Content Security Policy" in complaint for complaint in complaints)
        assert not any(complaint.startswith("dialog") for complaint in complaints)


def test_a_script_that_fails_is_a_complaint(
    browser: Browser, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shared.own

    def failing(package: str, name: str) -> str:
        text = own(package, name)
        return text.replace('"use strict";', "undefined.planted;") if name == "page.js" else text

    monkeypatch.setattr(shared, "own", failing)
    with opened(browser, write(AUDIT.model_copy())) as (_, complaints):
        assert [complaint for complaint in complaints if "planted" in complaint]


def test_an_address_that_is_fetched_is_a_complaint(browser: Browser, write: Callable[..., Path]) -> None:
    fetched = '<main><img src="http://127.0.0.1:9/planted.png">'
    with opened(browser, write(change=lambda html: html.replace("<main>", fetched))) as (_, complaints):
        assert any("planted.png" in complaint for complaint in complaints)
    without_policy = write(
        change=lambda html: (
            html.replace("<main>", fetched)
            .replace("default-src 'none'", "default-src *")
            .replace("img-src data:", "img-src *")
        )
    )
    with opened(browser, without_policy) as (_, complaints):
        assert "request: http://127.0.0.1:9/planted.png" in complaints


def test_a_script_of_anyone_else_does_not_run(browser: Browser, write: Callable[..., Path]) -> None:
    with opened(
        browser, write(change=lambda html: html.replace("<main>", "<main><script>alert(1)</script>"))
    ) as (_, complaints):
        assert [complaint.partition(":")[0] for complaint in complaints] == ["console"]
        assert "Content Security Policy" in complaints[0]
