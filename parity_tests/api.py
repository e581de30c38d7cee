"""One function under test, from Python: for a notebook, or for somebody's own tests.

    from torch_loss_parity import verify

    verify(my_cross_entropy, "cross_entropy", dtypes=["float32", "bfloat16"], device="cuda")

in the manner of torch.autograd.gradcheck. The checks that run are those of ``pytest parity_tests --subject
...``, but for those of torch's transforms, of identities between operators and of bits.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from torch_loss_parity.claims import accuracy
from torch_loss_parity.claims.checks import Check, RowCheck, TallyOf
from torch_loss_parity.claims.domain import checks as domain
from torch_loss_parity.claims.errors import checks as errors
from torch_loss_parity.claims.hygiene import checks as hygiene
from torch_loss_parity.claims.layouts import checks as layouts
from torch_loss_parity.claims.modes import checks as modes
from torch_loss_parity.claims.semantics import checks as semantics
from torch_loss_parity.judging import report, tally
from torch_loss_parity.judging.causes import alike
from torch_loss_parity.judging.given_call import operator_named
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.kinds import AREAS, KINDS
from torch_loss_parity.processes import replaced
from torch_loss_parity.processes.origin import OTHER_OUTCOMES, is_of_the_suite
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.reports.screen import NOTHING, PASSED, Screen
from torch_loss_parity.subjects import Subject, promise_of_signatures
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.promise import together
from torch_loss_parity.subjects.settings import Settings, WrongOption
from torch_loss_parity.subjects.written_promise import PromiseError, may_say, must_take, of_mapping

# What each kind of claim asks of an operator, in one dtype or of one row in several.
OF_DTYPE: Mapping[str, Callable[[Operator], tuple[Check, ...]]] = {
    "forward": partial(accuracy.checks_of, "forward"),
    "gradients": partial(accuracy.checks_of, "gradients"),
    "domain": domain.checks_of,
    "hygiene": hygiene.checks_of,
    "layouts": layouts.checks_of,
    "modes": modes.checks_of,
}
OF_ROW: Mapping[str, Callable[[Operator], tuple[RowCheck, ...]]] = {
    "semantics": semantics.checks_of,
    "errors": errors.checks_of,
}
CLAIMS = tuple(kind for kind in KINDS if kind in OF_DTYPE or kind in OF_ROW)
Test = Callable[[TallyOf], None]


class VerificationError(AssertionError):
    """The function is wrong, or too little of it was tested; the message is the first failure's, and the
    verdict. ``verified`` has all of them.
    """

    def __init__(self, verified: Verified) -> None:
        super().__init__("\n\n".join([*verified.failures[:1], str(verified)]))
        self.verified = verified


@dataclass
class Verified:
    """What was found; true where nothing is wrong and enough was tested. Prints as the verdict and a table.

    Attributes
    ----------
    rows : list of Row
        Cases, the worst error / allowed and the verdict, by dtype.
    failures : list of str
        What is wrong, as pytest shows it.
    not_offered : dict of str to int
        How many cases the function declined with `NotImplementedError`, by what it said.
    skipped : list of str
        What was not run, and why.
    profile : Profile
        What the arithmetic was taken to be.
    screen : Screen
        The verdict.
    """

    rows: list[tally.Row]
    failures: list[str] = field(default_factory=list)
    not_offered: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    profile: Profile = DEFAULT
    screen: Screen = NOTHING

    def __bool__(self) -> bool:
        return self.screen.word == PASSED

    def __str__(self) -> str:
        lines = [line for line, _ in self.screen.lines()]
        lines += [*report.of_profile(self.profile), *report.table(self.rows, self.profile)]
        lines += [f"{count} not offered: {reason}" for reason, count in sorted(self.not_offered.items())]
        lines += [f"skipped: {reason}" for reason in sorted(set(self.skipped))]
        return "\n".join([*lines, self._failing()])

    def _failing(self) -> str:
        if not self.failures:
            return "no test fails"
        cases = sum(self.screen.part(area).failed for area in AREAS)
        return f"{cases:,} cases fail, in {len(self.failures):,} tests"

    __repr__ = __str__


def verify(
    function: Callable[..., Any],
    operator: str,
    *,
    dtypes: Sequence[str | torch.dtype] | str | torch.dtype = DTYPES,
    device: str = "cpu",
    effort: str = "quick",
    seed: int = 0,
    claims: Sequence[str] | str = CLAIMS,
    profile: str = DEFAULT.name,
    promise: Mapping[str, Any] | None = None,
    like: str = "",
    raise_exception: bool = True,
) -> Verified:
    """Verify an implementation of an operator.

    Parameters
    ----------
    function : callable
        Called as torch.nn.functional's function of that name, on torch tensors; differentiable by autograd. A
        module of torch.nn is one that takes what its ``forward`` takes.
        An option that it does not offer it refuses with `NotImplementedError`.
    operator : str
        The name of the operator.
    dtypes : sequence of str or torch.dtype, or one
    device : str
    effort : {"quick", "standard", "thorough"}
    seed : int
    claims : sequence of str, or one
        Which of `CLAIMS` to check.
    profile : str
        What the arithmetic that it runs on may do: a name in
        `torch_loss_parity.reference.arithmetic.profiles.PROFILES`, or the path of a ``.toml`` file.
    promise : mapping, optional
        Which calls it answers, as ``PROMISES`` of a module says, see
        `torch_loss_parity.subjects.written_promise`:
        ``{"target": "indices", "weight": None, "reduction": ("mean", "sum")}``. Nothing else is asked. An
        argument that the function does not take is never given. Where it is left out, the ``PROMISES`` of
        the function's module hold, as they do on the command line; ``{}`` promises everything.
    like : {"", "torch", "torch.compile"}
        Whose known divergences are its own. torch's own functions are judged as torch.
    raise_exception : bool
        Raise if the function is wrong; else return what was found all the same.

    Raises
    ------
    VerificationError
        If the function is wrong, or declines so much that too little was tested: an `AssertionError`, with
        the message that pytest shows.
    ValueError
        If the operator, a dtype, the device, the effort, a claim, the profile or the promise is unknown, or
        the function cannot be called as torch's.
    """
    __tracebackhide__ = True  # what is raised is told without the lines of this function
    record = operator_named(operator)
    claims = (claims,) if isinstance(claims, str) else claims
    if unknown := [claim for claim in claims if claim not in CLAIMS]:
        raise WrongOption(f"claims has {', '.join(map(repr, unknown))}; choose from {', '.join(CLAIMS)}")
    if not callable(function):
        raise WrongOption(f"function is a {type(function).__name__}; it must be callable")
    if inspect.isclass(function):
        raise WrongOption(f"function is the class {function.__name__}; it must be what computes: an instance")
    named = [dtypes] if isinstance(dtypes, str | torch.dtype) else dtypes
    names = ",".join(str(dtype).removeprefix("torch.") for dtype in named)
    try:
        checked = Settings.of("torch", device, names, effort, seed, profile=profile, like=like or None)
    except WrongOption as error:  # it speaks of the command's options
        raise WrongOption(str(error).removeprefix("--")) from None
    name = getattr(function, "__name__", type(function).__name__)
    imports = f"import types; subject = types.SimpleNamespace({operator}={name})  # {name} is yours"
    said, written = ("promise", promise) if promise is not None else promises_of(function)
    try:
        stated = of_mapping(written)
        must_take(operator, function, stated)
        promised = together([may_say(written), promise_of_signatures({operator: function}), stated])
    except PromiseError as error:
        raise WrongOption(f"{said} has {error}" if written else str(error)) from None
    if nothing := promised.nothing_of(operator):
        raise WrongOption(f"{said}: {nothing}")
    own = function is getattr(checked.subject.namespace, operator, None)
    subject = Subject(
        "torch" if own else name,
        SimpleNamespace(**{operator: function}),
        imports,
        checked.subject.profile,
        promised.of((operator,)),
        like,
    )
    tested = tuple(dtype for dtype in checked.dtypes if dtype in promised.dtypes)
    if not tested:
        raise WrongOption(f"{said} has dtypes={promised.dtypes}, and dtypes has none of them")
    settings = Settings(subject, checked.device, tested, effort, seed)
    asked = promised.claims_of(operator)
    if not (claims := [claim for claim in claims if claim in asked]):
        raise WrongOption(f"{said} has claims={asked}, and claims has none of them")
    verified = Verified([], profile=subject.profile)
    counts: dict[str, dict[str, Tally]] = {}
    replaced.begin()
    try:
        for kind, test in tests_of(subject.promise.operator(record), settings, claims):
            of_kind = counts.setdefault(kind, {name: Tally(operator, name, kind) for name in settings.dtypes})
            _run(test, of_kind, verified)
    finally:
        replaced.end()
    properties = [count.as_property() for of_kind in counts.values() for count in of_kind.values()]
    verified.rows, verified.not_offered = (
        tally.rows(properties, OPERATORS, DTYPES, subject.excludes),
        tally.not_offered(properties),
    )
    title = f"{name} on {checked.device}, {effort} effort, seed {seed}"
    verified.screen = Screen(title, properties, (), str(subject.promise), subject.excludes)
    if not verified and raise_exception:
        raise VerificationError(verified)
    return verified


def promises_of(function: Callable[..., Any]) -> tuple[str, Any]:
    """What the module of a function promises, as it says by ``PROMISES``; and whose it is, in words."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    module = getattr(function, "__module__", None) or ""
    beside = getattr(function, "__globals__", None) or vars(sys.modules.get(module, object))
    return f"PROMISES of {module}", beside.get("PROMISES", {})


def _run(test: Test, counts: dict[str, Tally], verified: Verified) -> None:
    """Run one test; what it finds wrong is a failure, and one that raises before it could judge a case is a
    case that fails.
    """
    before: dict[str, Tally] = {}

    def of(dtype: str) -> Tally:
        before.setdefault(dtype, counts[dtype].copy())
        return counts[dtype]

    def fail(message: str) -> None:
        verified.failures.append(message)
        asked = {dtype: counts[dtype] for dtype in before or list(counts)[:1]}
        if not any(count.failed > before[dtype].failed for dtype, count in asked.items() if before):
            list(asked.values())[-1].count(False)
        if not any(count.causes != before[dtype].causes for dtype, count in asked.items() if before):
            list(asked.values())[-1].blame(alike(message), "")

    try:
        with replaced.looked_at():
            test(of)
    except NotOffered as error:
        for dtype in before:
            counts[dtype].decline(str(error))
    except OTHER_OUTCOMES as error:
        if is_of_the_suite(error):
            verified.skipped.append(str(error))
        else:
            fail(f"it raises {type(error).__name__}: {error}")
    except Exception as error:
        fail(str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}")


def tests_of(operator: Operator, settings: Settings, claims: Sequence[str]) -> Iterator[tuple[str, Test]]:
    """The checks of the claims, each with its kind, as functions of what gives the tally of a dtype."""

    def in_dtype(check: Check, dtype: str) -> Test:
        return lambda of: check(operator, dtype, settings, of(dtype))

    def of_row(check: RowCheck) -> Test:
        return lambda of: check(operator, settings.dtypes, settings, of)

    for kind, checks_of in OF_DTYPE.items():
        if kind in claims:
            checks = checks_of(operator)
            yield from ((kind, in_dtype(check, dtype)) for dtype in settings.dtypes for check in checks)
    for kind, rows_of in OF_ROW.items():
        if kind in claims:
            yield from ((kind, of_row(check)) for check in rows_of(operator))
