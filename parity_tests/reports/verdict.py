"""The verdict of a run as Markdown, for the page that a service of continuous integration shows.

It is made of what ``pytest --report`` writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch_loss_parity.reports import formatting

NOTHING = 5  # the exit status where nothing, or too little, was tested
SHOWN = 20  # failures
LONGEST = 300  # characters of a message
VERDICTS = {0: "passes", 1: "FAILS"}
SHOWN_CAUSES = 10


def markdown(outcome: Mapping[str, Any]) -> str:
    """The verdict in one line and by its parts, causes, the worst error / allowed of each operator and dtype,
    and what fails.
    """
    parts = (_head, _parts, _table, _failures, _news)
    return "\n".join(line for part in parts for line in part(outcome)) + "\n"


def _head(outcome: Mapping[str, Any]) -> Iterator[str]:
    options, environment = outcome["options"], outcome["environment"]
    verdict = VERDICTS.get(outcome["exitstatus"], f"did not run to its end ({outcome['exitstatus']})")
    if outcome["exitstatus"] == NOTHING:
        verdict = "is too little tested" if outcome["verdict"]["too_little_tested"] else ": nothing was run"
    cases = sum(_cases(cell) for of_dtype in outcome["counts"].values() for cell in of_dtype.values())
    yield f"## torch-loss-parity: `{options['subject']}` {verdict}"
    yield ""
    yield (
        f"{cases:,} cases, {len(outcome['failures'])} failing tests; {options['effort']} effort, seed "
        f"{options['seed']}, on {options['device']}; torch {environment['torch']}, Python "
        f"{environment['python']}, {environment['system']}."
    )
    yield ""


def _parts(outcome: Mapping[str, Any]) -> Iterator[str]:
    """A line for each part of the verdict, and one for each cause."""
    verdict = outcome["verdict"]
    for area, part in verdict["parts"].items():
        fails = f", {part['failed']:,} fail" if part["failed"] else ""
        yield f"- **{area}**: {part['word']}, {part['cases']:,} cases{fails}"
    if verdict["promised"]:
        yield f"- promised: {verdict['promised']}"
    if short := verdict["too_little_tested"]:
        yield f"- too few cases of {len(short)} kinds of claim, such as {short[0]}"
    yield ""
    causes = sorted(verdict["causes"], key=lambda cause: -cause["cases"])
    for cause in causes[:SHOWN_CAUSES]:
        example = f", such as `{_verbatim(cause['example'])}`" if cause["example"] else ""
        yield f"- {cause['cases']:,} cases, {cause['part']} of {', '.join(cause['operators'])}: " + (
            f"`{_verbatim(cause['cause'])}`{example}"
        )
    if len(causes) > SHOWN_CAUSES:
        yield f"- and {len(causes) - SHOWN_CAUSES} more causes"
    if causes:
        yield ""


def _verbatim(text: str) -> str:
    return " ".join(text.replace("`", "'").split())[:LONGEST]


def _table(outcome: Mapping[str, Any]) -> Iterator[str]:
    yield "| operator | dtype | cases | forward, worst error / allowed | gradient | failing tests |"
    yield "|---|---|---:|---:|---:|---:|"
    failing = [(failure["operator"], failure["dtype"]) for failure in outcome["failures"]]
    for operator, of_dtype in outcome["counts"].items():
        for dtype, cell in of_dtype.items():
            worst = outcome["worst"].get(f"{operator} {dtype}")
            if worst is not None:
                figures = (_figure(worst["forward"]), _figure(worst["gradient"]))
                fails = failing.count((operator, dtype))
                yield f"| {operator} | {dtype} | {_cases(cell):,} | {' | '.join(figures)} | {fails} |"
    yield ""


def _cases(cell: Mapping[str, int]) -> int:
    return sum(max(n, 0) for n in cell.values())


def _figure(fraction: float | str | None) -> str:
    return "" if fraction is None else formatting.plain(float(fraction))


def _failures(outcome: Mapping[str, Any]) -> Iterator[str]:
    failures = outcome["failures"]
    if not failures:
        return
    yield "<details><summary>What fails</summary>"
    yield ""
    for failure in failures[:SHOWN]:
        yield f"- {failure['claim']}: `{_verbatim(failure['message'])}`"
    if len(failures) > SHOWN:
        yield f"- and {len(failures) - SHOWN} more"
    yield ""
    yield "</details>"
    yield ""


def _news(outcome: Mapping[str, Any]) -> Iterator[str]:
    texts = list(dict.fromkeys(each["text"] for each in outcome["news"]))
    if texts:
        yield f"Otherwise than recorded, which fails nothing: {len(texts)}."
