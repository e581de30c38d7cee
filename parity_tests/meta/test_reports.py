"""What audits and benchmarks share: the progress of a run where nobody watches, the axes of a picture, the
files of a page.
"""

from __future__ import annotations

from io import StringIO

import pytest

from torch_loss_parity.reports import page
from torch_loss_parity.reports.progress import Progress
from torch_loss_parity.reports.scales import Scale


class Kept(StringIO):
    """A file whose text can still be read once it is closed."""

    text = ""

    def close(self) -> None:
        self.text = self.getvalue()
        super().close()


def lines(units: int) -> list[str]:
    file = Kept()
    progress = Progress(
        file, watched=False, bar="", line="{n_fmt} of {total_fmt}, {percentage:.0f}% {desc}\n"
    )
    progress.start(units)
    for number in range(units):
        progress.name(f"unit {number}")
        progress.advance()
    progress.close()
    assert file.closed
    return file.text.splitlines()


def test_a_long_run_has_a_line_for_every_tenth() -> None:
    said = lines(1000)
    assert len(said) == 10
    assert said[0] == "100 of 1000, 10% unit 99"
    assert said[-1] == "1000 of 1000, 100% unit 999"


def test_a_short_run_has_a_line_for_every_unit() -> None:
    assert lines(2) == ["1 of 2, 50% unit 0", "2 of 2, 100% unit 1"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([3.0, 40.0], ["5", "10", "20", "50"]),
        ([1e-3, 1e4], [f"{10.0**k:g}" for k in range(-3, 5)]),
        ([0.0, -1.0], ["1", "2"]),
    ],
    ids=["few powers of ten", "many", "nothing that has a logarithm"],
)
def test_the_steps_of_a_scale_lie_on_it(values: list[float], labels: list[str]) -> None:
    scale = Scale.around(values, 60, 20)
    steps = scale.steps
    assert [tick.label for tick in steps] == labels
    assert all(20 <= tick.at <= 60 for tick in steps)
    assert [tick.at for tick in steps] == sorted((tick.at for tick in steps), reverse=True)
    assert all(20 < scale.at(value) < 60 for value in values if value > 0)


def test_a_scale_begins_where_it_is_told_to() -> None:
    scale = Scale.around([2.0, 8.0], 0, 100, least=1.0)
    assert (scale.at(1.0), scale.steps[0].label, scale.steps[0].at) == (0.0, "1", 0.0)
    assert scale.at(0.5) == 0.0


def test_a_file_that_no_page_has_is_named() -> None:
    assert page.own("torch_loss_parity.audit", "base.html.jinja") == page.own(
        "torch_loss_parity.benchmarks", "base.html.jinja"
    )
    with pytest.raises(
        FileNotFoundError, match=r"no nothing\.css in the templates of torch_loss_parity\.audit"
    ):
        page.own("torch_loss_parity.audit", "nothing.css")
