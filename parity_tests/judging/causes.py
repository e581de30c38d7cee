"""Why cases fail, in words that all that fail for the same reason share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.finding import Finding

# The number of its cases; the smallest of them, and its size; the worst error / allowed; the mode that all of
# them have, "" where there is none.
Cause = dict[str, Any]

BROKEN = re.compile(r" {4}\S")  # a line that goes on with the sentence of the one before
LIKE_TORCH = "judged like torch it is no failure"  # of what is made of torch's functions
CASE = re.compile(r"(\w+ b?float\d+ [^:]*?seed=\d+): ")  # as a `Case` is written
WHOLE_NUMBER = re.compile(r"\b\d+\b")
WATCHED = re.compile(r"^(\w+|a function) of .{1,200}?: (?=it )")  # whose function did not come to an end
RAISED = re.compile(r"^.{1,600}?: (?:it raises )?(\w*(?:Error|Exception): )")  # in which call it raised
ARRAY = re.compile(r"\[[][\s\d.,einfa+-]*\]")  # of numbers, nan and inf among them


def merge_cause(causes: dict[str, Cause], cause: str, one: Mapping[str, Any]) -> None:
    """Add cases that fail for a reason to those that are known."""
    known = causes.setdefault(cause, {**one, "cases": 0})
    known["cases"] += one["cases"]
    known["worst"] = max(known["worst"], one["worst"])
    known["mode"] = known["mode"] if known["mode"] == one["mode"] else ""
    if one["example"] and (not known["example"] or one["size"] < known["size"]):
        known["example"], known["size"] = one["example"], one["size"]


def cause_of(finding: Finding) -> str:
    """Why a finding fails: the same words for all that fail for the same reason, without their numbers."""
    what = "the result" if finding.quantity == FORWARD else f"the gradient of {finding.quantity}"
    what += f" {WHOLE_NUMBER.sub('N', finding.mode)}" if finding.mode else ""
    if finding.resembles and finding.resembles.is_way:
        return f"{what} loses as {finding.resembles.name} does, in {finding.resembles.loses}"
    if finding.resembles:
        return f"{what} is off as torch's is known to be ({finding.resembles.name}): {LIKE_TORCH}"
    if finding.verdict.reason:
        return alike(finding.verdict.reason)
    return f"{what} is off"


def first_sentence(message: str) -> str:
    """The first sentence of a message, which `failure_message.explain` may have broken into several lines."""
    first, *rest = message.strip().splitlines() or [""]
    return " ".join([first, *(line.strip() for line in takewhile(BROKEN.match, rest))])


def apart_from_its_case(message: str) -> tuple[str, str]:
    """What the first sentence of a message says, and the case that it begins with; "" where it names none."""
    line = first_sentence(message)
    case = CASE.match(line)
    return (line[case.end() :], case[1]) if case else (line, "")


def alike(message: str) -> str:
    """The first sentence of a message, numbers and shapes left out: two of the same cause read the same."""
    line = first_sentence(message)
    line = re.sub(r"^\w+ of .{1,200}? on \S+, \w+: ", "", line)  # whose function, where, in which dtype
    line = re.sub(r"^\w+ \w+ .{1,400}? seed=\d+: ", "", line)  # or which case
    line = WATCHED.sub("", line)
    if not line.startswith("it raises "):
        line = RAISED.sub(r"it raises \1", line)
    line = ARRAY.sub("[N]", line)
    return re.sub(r"(?<!within )[-+]?\b\d[\w.]*((?<=e)[-+]?\d+)?|(?<==)nan\b", "N", line)


def causes(properties: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Why cases fail, by kind of claim and operator."""
    summed: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for reported in properties:
        of_kind = summed.setdefault((reported["claim"], reported["operator"]), {})
        for cause, one in reported["causes"].items():
            merge_cause(of_kind, cause, one)
    return {key: value for key, value in summed.items() if value}
