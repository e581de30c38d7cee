"""Runs of one call, compared with its first run: what may change in between changes nothing in the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.layouts.layouts import GRAD_OUTPUT, bits, called
from torch_loss_parity.expectation.expectation import FORWARD, expected, upstream_gradient
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.judge import judge_quantity, of_the_subject
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.large import large
from torch_loss_parity.operators.sampling import everyday, share
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects.run_subject import WrongResult, gradients_of, must_be_a_tensor, tensors
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import to_tensor, widen
from torch_loss_parity.tensors.torch_private import writes

OPTIONS: tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...] = (
    ((6, 7), {"reduction": "none", "weight": "positive", "dim": -1, "target": "soft", "ignored": "some"}),
    ((2, 5, 3), {"reduction": "mean", "dim": 1, "label_smoothing": 0.1, "target": "probabilities"}),
    (
        (33, 4),
        {"reduction": "sum", "weight": "full", "pos_weight": "last dimension", "dim": 0, "dtype": "float32"},
    ),
)

OF_ELEMENTS: Mapping[str, Any] = {"weight": "full", "pos_weight": "last dimension"}  # in the first of them
ONE_CLASS = (5, 1)


@dataclass
class Run:
    """One call: its arguments and the upstream gradient as tensors, the result and the gradients.

    ``before`` holds the bits of what was given, and autograd's count of writes, as they were before the call.
    """

    arguments: Mapping[str, Any]
    grad_output: torch.Tensor
    output: torch.Tensor
    before: Mapping[str, tuple[torch.Tensor, int]]
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def results(self) -> dict[str, torch.Tensor]:
        return {FORWARD: self.output, **self.gradients}

    @property
    def tensors_given(self) -> dict[str, torch.Tensor]:
        """Everything the subject was given and is not to change or to keep."""
        return _given(self.arguments, self.grad_output)

    def changed(self) -> list[str]:
        """What was given and is not as it was, or was written to."""
        return [
            k
            for k, v in self.tensors_given.items()
            if writes(v) != self.before[k][1] or not torch.equal(bits(v), self.before[k][0])
        ]


@dataclass
class Probe:
    """A call of a subject that can be run again and again.

    Attributes
    ----------
    redrawn : int
        Another upstream gradient than the case's: 1 for one, 2 for the next.
    turned : bool
        Whether the numbers of ``input``, but for the first and the last, are in reverse order.
    twice : tuple of str
        Two arguments that hold the same numbers, those of the first; none unless given.
    begins : float, optional
        What the upstream gradient begins with; as drawn unless given.
    """

    case: Case
    settings: Settings
    tally: Tally
    redrawn: int = 0
    turned: bool = False
    twice: tuple[str, ...] = ()
    begins: float | None = None

    @cached_property
    def call(self) -> Call:
        call = OPERATORS[self.case.operator].call(self.case)
        if self.twice:
            first, second = self.twice
            call = replace(call, arguments={**call.arguments, second: call.arguments[first]})
        given = call.arguments["input"]
        if not self.turned or given.size < 2:
            return call
        first, *between, last = given.ravel()
        turned = np.asarray([first, *reversed(between), last], dtype=given.dtype).reshape(given.shape)
        return replace(call, arguments={**call.arguments, "input": turned})

    @cached_property
    def upstream(self) -> np.ndarray:
        drawn = upstream_gradient(self.call, replace(self.case, seed=self.case.seed + self.redrawn))
        if self.begins is not None and drawn.size:
            drawn = drawn.copy()
            drawn.flat[0] = self.begins
        return drawn

    @cached_property
    def bounds(self) -> dict[str, Rounded]:
        """Of the gradients."""
        call, profile = self.call, self.settings.subject.profile
        return dict(expected(call, call.differentiable, self.upstream, profile=profile))

    @cached_property
    def bound_of_result(self) -> Rounded:
        return expected(self.call, (FORWARD,), profile=self.settings.subject.profile)[FORWARD]

    def given(self, wanted: Sequence[str] | None = None) -> tuple[dict[str, Any], torch.Tensor]:
        """The arguments, of which ``wanted`` require a gradient, every differentiable one unless given, and
        the upstream gradient: tensors of their own.
        """
        call, device = self.call, self.settings.device
        call = call if wanted is None else replace(call, differentiable=tuple(wanted))
        arguments = tensors(call, device, requires_grad=True)
        return arguments, to_tensor(self.upstream, call.output_dtype, device)

    def start(self, wanted: Sequence[str] | None = None) -> Run:
        """Call the subject on what is `given`."""
        arguments, grad_output = self.given(wanted)
        before = {
            name: (bits(tensor).clone(), writes(tensor))
            for name, tensor in _given(arguments, grad_output).items()
        }
        with self.of_the_subject():
            output = called(self.settings.subject, self.call, arguments)
            must_be_a_tensor("the result", output)
        return Run(arguments, grad_output, output, before)

    @contextmanager
    def of_the_subject(self) -> Iterator[None]:
        """Whatever is raised within is the subject's doing, and reproduced by running the call."""
        try:
            with of_the_subject(self.settings.subject):
                yield
        except WrongResult as error:
            message = f"{self.case}: {error}\n{self.script(scripts.again(scripts.RUN_AGAIN))}"
            raise WrongResult(message) from error.__cause__

    def wrong(self, what: str, error: WrongResult, lines: Iterable[str]) -> WrongResult:
        """What was raised in a call that ``what`` describes, counted, with a script that makes it so."""
        self.tally.count(passes=False)
        return WrongResult(f"{self.case}: {what}, {error}\n{self.script(lines)}")

    def finish(self, run: Run, *, retain_graph: bool = False) -> Run:
        """The gradients of what requires one."""
        wanted = [name for name in self.call.differentiable if run.arguments[name].requires_grad]
        with self.of_the_subject():
            gradients = gradients_of(
                run.output, [run.arguments[n] for n in wanted], run.grad_output, retain_graph=retain_graph
            )
            run.gradients = dict(zip(wanted, gradients, strict=True))
            for name, gradient in run.gradients.items():
                must_be_a_tensor(name_of(name), gradient)
        return run

    def run(self, wanted: Sequence[str] | None = None) -> Run:
        return self.finish(self.start(wanted))

    def results_within(
        self, happening: AbstractContextManager[Any], what: str, lines: Iterable[str]
    ) -> dict[str, torch.Tensor]:
        """The result and the gradients of a run while something happens, which ``lines`` say in a script."""
        call, subject = self.call, self.settings.subject
        arguments, grad_output = self.given()
        leaves = [arguments[name] for name in call.differentiable]
        try:
            with happening, of_the_subject(subject):
                output = called(subject, call, arguments)
                must_be_a_tensor(name_of(FORWARD), output)
                gradients = gradients_of(output, leaves, grad_output)
        except WrongResult as error:
            raise self.wrong(what, error, (*lines, "run(mine, grad_output)")) from error.__cause__
        return {FORWARD: output, **dict(zip(call.differentiable, gradients, strict=True))}

    @cached_property
    def _first_two(self) -> tuple[dict[str, torch.Tensor], ...]:
        two = tuple(
            {quantity: result.detach().clone() for quantity, result in self.run().results.items()}
            for _ in range(2)
        )
        if not _same_bits(*two):  # then one of them may be wrong
            for results in two:
                for quantity, result in results.items():
                    self.judge(quantity, result, "in one of two calls that differ")
        return two

    @property
    def first(self) -> dict[str, torch.Tensor]:
        """The results of the first run, in memory of their own."""
        return self._first_two[0]

    @property
    def repeatable(self) -> bool:
        """Whether the second run gave the same bits.

        If not, ``test_bits.py`` says so, and later results are judged here.
        """
        return _same_bits(*self._first_two)

    @property
    def with_other_values(self) -> Probe:
        """The same shapes and options with other numbers."""
        return Probe(replace(self.case, seed=self.case.seed + 1000), self.settings, self.tally)

    @property
    def with_numbers_elsewhere(self) -> Probe:
        """The same call with some numbers in each other's places: whoever looks at a few of them, or adds
        them up, takes it for this one.
        """
        return Probe(self.case, self.settings, self.tally, self.redrawn, turned=True)

    @property
    def with_another_upstream(self) -> Probe:
        """The same call with another upstream gradient, which begins with 1: whoever looks there alone leaves
        out the multiplication by all.
        """
        return Probe(self.case, self.settings, self.tally, self.redrawn + 1, begins=1.0)

    def script(self, lines: Iterable[str], others: Mapping[str, Probe] | None = None) -> str:
        """A script of this call, as a message shows it; see `torch_loss_parity.claims.hygiene.scripts`."""
        settings, calls = (
            self.settings,
            {name: (probe.call, probe.upstream) for name, probe in (others or {}).items()},
        )
        return scripts.script(settings.subject, settings.device, self.call, self.upstream, lines, calls)

    def agrees(
        self,
        results: Mapping[str, torch.Tensor],
        what: str,
        *,
        exactly: bool = True,
        happens: Iterable[str] = scripts.RUN_AGAIN,
        others: Mapping[str, Probe] | None = None,
    ) -> None:
        """Count and compare results with those of the first run.

        Parameters
        ----------
        happens, others
            What has happened since, as a script says it.
        what : str
            Completes "the result ... is another one": "after a call that failed".
        exactly : bool
            Whether the bits are to be the same. If not, or for a subject whose bits change from call to call,
            other bits are judged by the derived bound.

        Raises
        ------
        WrongResult
            If results differ, and are not right.
        """
        for quantity, result in results.items():
            same = result.shape == self.first[quantity].shape and result.dtype == self.first[quantity].dtype
            same = same and torch.equal(bits(result), bits(self.first[quantity]))
            self.tally.count(same or not exactly or not self.repeatable)
            name = "result" if quantity == FORWARD else f"gradient with respect to {quantity}"
            if same:
                continue
            if exactly and self.repeatable:
                raise WrongResult(
                    f"{self.case}: the {name} {what} is another one: "
                    f"{_first_difference(self.first[quantity], result)}\n"
                    f"{self.script(scripts.again(happens), others)}"
                )
            self.judge(quantity, result, what, happens, others)

    def judge(
        self,
        quantity: str,
        result: torch.Tensor,
        what: str,
        happens: Iterable[str] = scripts.RUN_AGAIN,
        others: Mapping[str, Probe] | None = None,
    ) -> None:
        """Fail unless a result is right within the derived bound."""
        settings, upstream = self.settings, None if quantity == FORWARD else self.upstream
        finding = judge_quantity(
            settings.subject,
            settings.device,
            self.case,
            self.call,
            quantity,
            widen(result),
            self.bound_of_result if quantity == FORWARD else self.bounds[quantity],
            upstream,
            mode=what,
        )
        self.tally.add(finding)
        if not finding.verdict.passes:
            calls = {name: (probe.call, probe.upstream) for name, probe in (others or {}).items()}
            finding = replace(
                finding, grad_output=self.upstream, steps=scripts.steps_after(self.call, happens, calls)
            )
            raise WrongResult(explain(finding, settings.subject, settings.device))


def _same_bits(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(bits(first[quantity]), bits(second[quantity])) for quantity in first)


def memory_of(tensor: torch.Tensor) -> object:
    """Where a tensor's storage lies; an empty one lies nowhere."""
    return tensor.untyped_storage().data_ptr() or object()


def name_of(quantity: str) -> str:
    """A quantity in words."""
    return "the result" if quantity == FORWARD else f"the gradient with respect to {quantity}"


def _given(arguments: Mapping[str, Any], grad_output: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)} | {
        GRAD_OUTPUT: grad_output
    }


def _first_difference(first: torch.Tensor, again: torch.Tensor) -> str:
    if first.shape != again.shape or first.dtype != again.dtype:
        return f"{again.dtype} {tuple(again.shape)} instead of {first.dtype} {tuple(first.shape)}"
    a, b = widen(first), widen(again)
    where = next(index for index in np.ndindex(a.shape) if a[index].tobytes() != b[index].tobytes())
    return f"element {list(where)} was {float(a[where])!r} and is {float(b[where])!r}"


def probes(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> list[Probe]:
    """A few small calls: without reduction, as in training, a mean of rows in the middle, a sum."""
    values = next(iter(operator.values))
    each_option = []
    for number, (shape, options) in enumerate(OPTIONS):
        asked = {**options, **OF_ELEMENTS} if operator.acts_on_elements and number == 0 else options
        case = operator.case(dtype, shape, values, offered(operator, asked), settings.seed + number)
        each_option.append(Probe(case, settings, tally))
    in_training = (
        [Probe(everyday(operator, dtype, settings.seed), settings, tally)]
        if "reduction" in operator.options
        else []
    )
    first, *others = each_option
    if settings.effort_name == "quick":
        return [first, *in_training]
    each_option = [first, *in_training, *others]
    return list(share(operator, each_option, dtype, settings.dtypes, settings.seed, settings.effort))


def of_large_calls(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> list[Probe]:
    """Wide rows, or many of them: kernels have a path of their own for each."""
    cases = large(operator, dtype, settings.dtypes, settings.seed)
    return [Probe(case, settings, tally) for case in cases]


def of_one_class(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> Probe:
    """Five rows of one class, whose results are easily had: numbers that are all equal, or those given."""
    options = offered(operator, {"reduction": "none", "dim": -1})
    case = operator.case(dtype, ONE_CLASS, next(iter(operator.values)), options, settings.seed)
    return Probe(case, settings, tally)


def offered(operator: Operator, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that the operator has."""
    return {name: value for name, value in options.items() if value in operator.options.get(name, ())}


def of_all_values(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> list[Probe]:
    """The first of the small calls with every distribution: of values that are clamped, infinite or equal
    too.
    """
    shape, options = OPTIONS[0]
    chosen = offered(operator, options)
    every = [*operator.values, *operator.domain.values][:: 4 if settings.effort_name == "quick" else 1]
    names = share(operator, every, dtype, settings.dtypes, settings.seed, settings.effort)
    return [
        Probe(operator.case(dtype, shape, values, chosen, settings.seed), settings, tally) for values in names
    ]
