"""A report for an upstream issue tracker, for an entry of the ledger: environment, script, what it prints, truth, and why.

    python -m parity_tests.upstream bce-with-logits-cancels

prints Markdown. The script needs only torch; the true value is certified by ball arithmetic. Without an id, the ids are listed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import sys
import warnings
from math import inf, nan

import numpy as np
import torch

from parity_tests import ledger, second_order
from parity_tests.expect import FORWARD, certified, expected
from parity_tests.ledger import Divergence, Shortfall
from parity_tests.settings import environment
from parity_tests.upstream_scripts import scripts_of
from parity_tests.verdict import judge
from parity_tests.verify_second_order import format_of, smallest_probe
from reference.arithmetic.formats import FORMATS, Format
from reference.arithmetic.rounding import Rounded

DIGITS = 17  # enough to tell a float64 from its neighbours


def script_of(entry: Divergence, claim: str, dtype: str) -> tuple[str, str]:
    """A script whose result breaks the bound, and what it prints.

    Raises
    ------
    AssertionError
        If no mode of the entry breaks the bound at its smallest input.
    """
    truth, format = truth_of(entry, claim, dtype)
    printed = ""
    for _, script in scripts_of(entry, claim, dtype):
        printed = printed_by(script)
        if not judge(parsed(printed), truth, format).passes:
            return script, printed
    raise AssertionError(f"{entry.id} no longer diverges: {claim} in {dtype} is {printed}, within the bound. Retire the entry.")


def parsed(printed: str) -> np.ndarray:
    """The numbers of a printed list."""
    return np.asarray(eval(printed, {"nan": nan, "inf": inf}), dtype=np.float64)


def printed_by(script: str) -> str:
    """What a script prints, run in this process; warnings are not part of it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(script, "<upstream>", "exec"), {"__name__": "__main__"})
    return out.getvalue().strip()


def truth_of(entry: Divergence, claim: str, dtype: str) -> tuple[Rounded, Format]:
    """The true value at the entry's smallest input with the derived bound around it, and the format of the result.

    Raises
    ------
    ArithmeticError
        If balls cannot enclose it tightly enough.
    """
    if second_order.is_second_order(claim):
        asked = second_order.Claim.parse(claim)
        call, probe = smallest_probe(entry, asked, dtype)
        bound = second_order.expected(call, asked, probe)
        truth = second_order.certified(call, asked, probe, bound)
        format = format_of(call, asked)
    else:
        call, grad_output = entry.smallest_call(claim, dtype)
        bound = expected(call, (claim,), grad_output)[claim]
        truth = certified(call, claim, grad_output, bound)
        format = FORMATS[call.dtype_of(claim)]
    if truth is None and not np.isfinite(bound.value).any():
        return bound, format  # no number, and known to be none
    if truth is None:
        raise ArithmeticError(f"the true value of {entry.id}, {claim}, {dtype} cannot be certified")
    return truth, format


def report(entry: Divergence | Shortfall, claim: str | None = None, dtype: str | None = None) -> str:
    """The report as Markdown."""
    return _shortfall(entry) if isinstance(entry, Shortfall) else _divergence(entry, claim or entry.claims[0], dtype or entry.dtypes[0])


def _divergence(entry: Divergence, claim: str, dtype: str) -> str:
    (script, printed), (truth, format) = script_of(entry, claim, dtype), truth_of(entry, claim, dtype)
    what = "result" if claim == FORWARD else claim if " " in claim else f"gradient with respect to {claim}"
    values, allowed = np.atleast_1d(truth.value).reshape(-1), np.atleast_1d(truth.total_error()).reshape(-1)
    ulp = format.spacing(values.astype(np.float64))
    digits = [np.format_float_positional(value, DIGITS, fractional=False, trim="-") if value else "0" for value in values]
    may_err = [f"{a / u:.3g}" if u else "0" for a, u in zip(allowed, ulp, strict=True)]
    return "\n".join(
        [
            f"### {entry.operators[0]} ({dtype}): the {what} is off by more than rounding explains",
            "",
            "```python",
            script,
            "```",
            "",
            f"prints `{printed}`",
            "",
            f"The true value, certified by ball arithmetic: `{', '.join(digits)}`. Evaluated in its best form, rounding may cost",
            f"{', '.join(may_err)} ulp of {format.name}.",
            "",
            f"**Measured**, over {', '.join(entry.dtypes)}: {entry.measured}.",
            "",
            f"**Why.** {entry.reason}",
            "",
            f"Concerns {', '.join(entry.operators)} in {', '.join(entry.dtypes)}{_modes(entry)}. See also {entry.link}",
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
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return ["**Environment**", "", *(f"- {line}" for line in (*environment(), system, f"torch built from {torch.version.git_version}"))]


def main(arguments: list[str] | None = None) -> int:
    """Print the report of one entry, or list the ids."""
    every: tuple[Divergence | Shortfall, ...] = (*ledger.entries(), *ledger.shortfalls())
    known = {entry.id: entry for entry in every}
    parser = argparse.ArgumentParser(prog="python -m parity_tests.upstream", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("id", nargs="?", help="an entry of known_divergences.toml; without it, the ids are listed")
    parser.add_argument("--claim", help="forward, or the argument whose gradient is meant (default: the entry's first)")
    parser.add_argument("--dtype", help="default: the entry's first")
    options = parser.parse_args(arguments)
    if options.id is None:
        print("\n".join(known))
        return 0
    if options.id not in known:
        parser.error(f"there is no entry {options.id!r}; choose from {', '.join(known)}")
    entry = known[options.id]
    for name, plural in (("claim", "claims"), ("dtype", "dtypes")):
        asked, there = getattr(options, name), getattr(entry, plural, ())
        if isinstance(entry, Divergence) and asked is not None and asked not in there:
            parser.error(f"--{name} is {asked!r}; the entry {entry.id} has {', '.join(there)}")
    print(report(entry, options.claim, options.dtype))
    return 0


if __name__ == "__main__":
    sys.exit(main())
