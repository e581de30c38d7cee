"""A report for an upstream issue tracker, for an entry of the ledger: environment, script, what it prints,
truth, and why.

    torch-loss-parity upstream bce-with-logits-cancels

prints Markdown. The script needs only torch; the true value is certified by ball arithmetic. Without an id,
the ids are listed.
"""

from __future__ import annotations

import contextlib
import io
import platform
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import inf, nan

import numpy as np
import torch
from flint import arb

from torch_loss_parity.claims.smallest_inputs import smallest_input
from torch_loss_parity.expectation.expectation import certify, expected, in_balls
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.issue_report.scripts import scripts_of
from torch_loss_parity.judging.comparison import Verdict, judge
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence, Shortfall
from torch_loss_parity.processes import machine
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects.settings import WrongOption

DIGITS = 17  # enough to tell a float64 from its neighbours


class NotShown(AssertionError):
    """A script does not show what the ledger records."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What an entry's smallest input should give: the derived bound around the true value, its format, and
    its digits.

    The digits are those that balls of 256 bits leave no doubt about, at most 17; of an element that is no
    finite number, its name.
    """

    bound: Rounded
    format: Format
    digits: tuple[str, ...]


def truth_of(entry: Divergence, quantity: str, dtype: str) -> Truth:
    """The truth at the entry's smallest input for ``quantity``.

    Raises
    ------
    ArithmeticError
        If balls cannot enclose it tightly enough.
    """
    call, *at = smallest_input(entry, quantity, dtype)
    bound, format = expected(call, (quantity,), *at)[quantity], format_of(call, quantity)
    enclose = partial(in_balls, call, quantity, *at)
    truth = certify(bound, enclose)
    if truth is None and np.isfinite(bound.value).any():
        raise ArithmeticError(f"the true value of {entry.id}, {quantity}, {dtype} cannot be certified")
    with balls.precision(256):
        enclosed = np.asarray(enclose(), dtype=object).reshape(-1)
    values = np.asarray(bound.value).reshape(-1)
    digits = tuple(
        f.str(DIGITS, radius=False) if np.isfinite(v) else str(v)
        for f, v in zip(map(arb, enclosed), values, strict=True)
    )
    return Truth(bound if truth is None else truth, format, digits)


@dataclass(frozen=True, eq=False)
class Shown:
    """A script, what it prints, what it should, and how the one stands against the other."""

    quantity: str
    dtype: str
    script: str
    printed: str
    truth: Truth
    verdict: Verdict


def shown_by(entry: Divergence, quantity: str, dtype: str) -> Shown:
    """The first script of the entry for ``quantity`` whose result breaks the bound.

    Raises
    ------
    NotShown
        If in no mode of the entry the bound is broken at its smallest input.
    """
    truth = truth_of(entry, quantity, dtype)
    printed = ""
    for _, script in scripts_of(entry, quantity, dtype):
        printed = printed_by(script)
        verdict = judge(parsed(printed), truth.bound, truth.format)
        if not verdict.passes:
            return Shown(quantity, dtype, script, printed, truth, verdict)
    raise NotShown(f"{quantity} in {dtype} is {printed}, within the bound")


def parsed(printed: str) -> np.ndarray:
    """The numbers of a printed list."""
    return np.asarray(eval(printed, {"nan": nan, "inf": inf}), dtype=np.float64)


def printed_by(script: str) -> str:
    """What a script prints, run in this process; warnings are not part of it."""
    if "torch.compile" in script:
        torch.compiler.reset()  # another script's variants of a function count against its limit
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(script, "<upstream>", "exec"), {"__name__": "__main__"})
    return out.getvalue().strip()


def report(entry: Divergence | Shortfall, quantity: str | None = None, dtype: str | None = None) -> str:
    """The report as Markdown: of the quantity and dtype that are asked for, else of those that the entry
    breaks most.

    Raises
    ------
    NotShown
        If the entry does not diverge in the installed release of torch.
    """
    if isinstance(entry, Shortfall):
        return _shortfall(entry)
    quantities, dtypes = (quantity,) if quantity else entry.quantities, (dtype,) if dtype else entry.dtypes
    tried = [_shown_or_not(entry, *each) for each in product(quantities, dtypes)]
    shown = [each for each in tried if isinstance(each, Shown)]
    if not shown:
        raise NotShown("; ".join(map(str, tried)))
    return _divergence(entry, max(shown, key=lambda each: each.verdict.fraction))


def _shown_or_not(entry: Divergence, quantity: str, dtype: str) -> Shown | NotShown:
    try:
        return shown_by(entry, quantity, dtype)
    except NotShown as error:
        return error


def _divergence(entry: Divergence, shown: Shown) -> str:
    quantity, truth, verdict = shown.quantity, shown.truth, shown.verdict
    what = (
        "result"
        if quantity == FORWARD
        else quantity
        if " " in quantity
        else f"gradient with respect to {quantity}"
    )
    off = (
        f"{verdict.ulps:.3g} ulp of {truth.format.name} off, {verdict.fraction:.3g} times what rounding "
        f"may "
        f"cost in the best form"
    )
    return "\n".join(
        [
            f"### {entry.operators[0]} ({shown.dtype}): the {what} is off by more than rounding explains",
            "",
            "```python",
            shown.script,
            "```",
            "",
            f"prints `{shown.printed}`",
            "",
            f"The true value, certified by ball arithmetic, is `[{', '.join(shown.truth.digits)}]`: element "
            f"{list(verdict.index)}:"
            f" {verdict.reason or off}.",
            "",
            f"**Measured**, over {', '.join(entry.dtypes)}: {entry.measured}.",
            "",
            f"**Why.** {entry.reason}",
            "",
            f"Concerns {', '.join(entry.operators)} in {', '.join(entry.dtypes)}{_modes(entry)}. See also "
            f"{entry.link}",
            "",
            *_environment(),
        ]
    )


def _shortfall(entry: Shortfall) -> str:
    return "\n".join(
        [
            f"### {', '.join(entry.operators)}: {entry.what}",
            "",
            "```python",
            entry.script.strip(),
            "```",
            "",
            f"prints `{printed_by(entry.script)}`",
            "",
            f"**Why.** {entry.reason}",
            "",
            f"See also {entry.link}",
            "",
            *_environment(),
        ]
    )


def _modes(entry: Divergence) -> str:
    return f", {' and '.join(entry.modes)}" if entry.modes else ""


def _environment() -> list[str]:
    system = f"{machine.system()}, Python {platform.python_version()}"
    build = f"torch built from {torch.version.git_version}"
    return ["**Environment**", "", *(f"- {line}" for line in (machine.header(), system, build))]


def print_report(id: str | None = None, quantity: str | None = None, dtype: str | None = None) -> int:
    """Print the report of one entry, or list the ids; the exit status is 1 if it does not diverge here.

    Raises
    ------
    WrongOption
        If there is no such entry, or it is not about the quantity or the dtype.
    """
    every: tuple[Divergence | Shortfall, ...] = (*ledger.entries_of("torch"), *ledger.shortfalls())
    known = {entry.id: entry for entry in every}
    if id is None:
        print("\n".join(known))
        return 0
    if id not in known:
        raise WrongOption(f"there is no entry {id!r}; choose from {', '.join(known)}")
    entry = known[id]
    for name, given, plural in (("quantity", quantity, "quantities"), ("dtype", dtype, "dtypes")):
        there = getattr(entry, plural, ())
        if isinstance(entry, Divergence) and given is not None and given not in there:
            raise WrongOption(f"--{name} is {given!r}; the entry {entry.id} has {', '.join(there)}")
    try:
        print(report(entry, quantity, dtype))
    except NotShown as error:
        print(f"{entry.id} does not diverge here, on torch {torch.__version__}: {error}", file=sys.stderr)
        return 1
    return 0
