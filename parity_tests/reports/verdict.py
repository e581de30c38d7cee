"""The verdict of a run as Markdown, for the page that a service of continuous integration shows.

It is made of what ``pytest --outcome`` writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch_loss_parity.reports import formatting

SHOWN = 20  # failures
LONGEST = 300  # characters of a message
VERDICTS = {0: "passes", 1: "FAILS", 5: "nothing was run"}


def markdown(outcome: Mapping[str, Any]) -> str:
    """The verdict in one line, the worst error / allowed of each operator and dtype, and what fails."""
    return "\n".join([*_head(outcome), "", *_table(outcome), "", *_failures(outcome), *_news(outcome)]) + "\n"


def _head(outcome: Mapping[str, Any]) -> Iterator[str]:
    options, environment = outcome["options"], outcome["environment"]
    verdict = VERDICTS.get(outcome["exitstatus"], f"did not run to its end ({outcome['exitstatus']})")
    cases = sum(
        n for of_dtype in outcome["counts"].values() for cell in of_dtype.values() for n in cell.values()
    )
    yield f"## torch-loss-parity: `{options['subject']}` {verdict}"
    yield ""
    yield (
        f"{cases:,} cases, {len(outcome['failures'])} failing tests; {options['effort']} effort, seed "
        f"{options['seed']}, on {options['device']}; torch {environment['torch']}, Python "
        f"{environment['python']}, {environment['system']}."
    )


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
                yield f"| {operator} | {dtype} | {sum(cell.values()):,} | {' | '.join(figures)} | {fails} |"


def _figure(fraction: float | None) -> str:
    return "" if fraction is None else formatting.plain(fraction)


def _failures(outcome: Mapping[str, Any]) -> Iterator[str]:
    failures = outcome["failures"]
    if not failures:
        return
    yield "<details><summary>What fails</summary>"
    yield ""
    for failure in failures[:SHOWN]:
        message = failure["message"].replace("`", "'")[:LONGEST]
        yield f"- {failure['claim']}: `{message}`"
    if len(failures) > SHOWN:
        yield f"- and {len(failures) - SHOWN} more"
    yield ""
    yield "</details>"
    yield ""


def _news(outcome: Mapping[str, Any]) -> Iterator[str]:
    texts = list(dict.fromkeys(each["text"] for each in outcome["news"]))
    if texts:
        yield f"Otherwise than recorded, which fails nothing: {len(texts)}."
