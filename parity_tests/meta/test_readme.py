"""The front page is short and true: its verdicts are those of its kernels, its links lead somewhere, its
picture is that of its numbers.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from torch_loss_parity.audit import heat_map
from torch_loss_parity.processes.folders import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PAGES = [path for path in CHECKOUT.rglob("*.md") if not {".venv", ".pytest_cache"}.intersection(path.parts)]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]*)(?:#([^)\s]+))?\)")


def block(before: str) -> str:
    """What stands in the fenced block below a mark."""
    (text,) = re.findall(rf"<!-- {before} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    return str(text)


def standing(verdict: str) -> list[tuple[str, ...]]:
    """The parts of a verdict that no machine changes: the words of its first lines and, of what passes, the
    number of cases.
    """
    return re.findall(
        r"^ *(pass|FAIL|numbers|meaning|refusals|conduct) +((?:pass|not run) +[\d,]+|FAIL|\S+)", verdict, re.M
    )


KERNEL = block("kernel that passes")
OTHER = "return torch.softmax(input, dim).log()"


@pytest.mark.whole_runs
@pytest.mark.parametrize(
    ("kernel", "mark", "status"),
    [
        (KERNEL, "its verdict", 0),
        (KERNEL[: KERNEL.index("    return")] + f"    {OTHER}\n", "the verdict of the other", 1),
    ],
)
def test_the_verdicts_are_those_of_the_kernels(kernel: str, mark: str, status: int, tmp_path: Path) -> None:
    assert OTHER in README
    (tmp_path / "my_kernels.py").write_text(kernel, encoding="utf-8")
    command = [sys.executable, "-m", "torch_loss_parity", "verify", "my_kernels.py"]
    options = ["--operator", "log_softmax", "--effort", "quick"]
    ended = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stdout
    said = ended.stdout.partition("= verdict =")[2]
    assert standing(block(mark)) == standing(said)[: len(standing(block(mark)))]
    assert len(standing(block(mark))) == 5


@pytest.mark.whole_runs
def test_the_kernel_passes_with_any_seed(tmp_path: Path) -> None:
    (tmp_path / "my_kernels.py").write_text(KERNEL, encoding="utf-8")
    command = [sys.executable, "-m", "torch_loss_parity", "verify", "my_kernels.py", "--seed", "1"]
    options = ["--operator", "log_softmax", "--effort", "quick"]
    ended = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def links() -> Iterator[tuple[Path, str, str]]:
    for page in PAGES:
        for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                yield page, target, anchor


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    assert len(list(links())) > 40
    for page, target, anchor in links():
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), (page, target)
        assert not anchor or anchor in anchors(place), (page, target, anchor)


def test_it_is_short_and_holds_no_placeholder() -> None:
    assert len(README.splitlines()) <= 160
    for page in PAGES:
        assert not re.search(r"OWNER/|THIS_REPOSITORY|TODO|FIXME", page.read_text(encoding="utf-8")), page


def test_the_picture_is_that_of_its_numbers() -> None:
    shown = heat_map.HeatMap.model_validate_json(heat_map.NUMBERS.read_text(encoding="utf-8"))
    assert heat_map.draw(shown) == heat_map.PICTURE.read_text(encoding="utf-8")
