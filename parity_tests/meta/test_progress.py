"""The progress of a run where nobody watches: a line for every tenth, and no more."""

from __future__ import annotations

from io import StringIO

from torch_loss_parity.reports.progress import Progress


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
