"""Functions under torch.compile: many calls in one graph, each result judged against the truth of its own
call.

Compiling costs a second or less for each call but many for each graph, so all calls of a run share one
function. What eager mode returns for the same call is judged beside it: compiled is to be right, not to be
the same.

    python -m torch_loss_parity.claims.transforms.compilation

prints both scores.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from torch_loss_parity.claims.transforms import scripts
from torch_loss_parity.claims.transforms.compiled_calls import Program, programs_of, rewritten_of
from torch_loss_parity.claims.transforms.compilers import (
    BACKENDS,
    DECOMPOSED,
    INDUCTOR,
    UNCOMPILABLE,
    UNDER_COMPILE,
    NoCompiler,
    compiled_by,
)
from torch_loss_parity.claims.transforms.transforms import cotangent_of, of_dtype
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.judge import Finding, judge_results, output_shape
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, PROFILES, Profile
from torch_loss_parity.subjects import BUILTIN, Subject
from torch_loss_parity.subjects.run_subject import by_position_and_name, tensors
from torch_loss_parity.subjects.settings import Settings

# The second runs inductor's decompositions without its kernels.
# --- running ------------------------------------------------------------------------------------------------


def run(
    programs: Sequence[Program],
    subject: Subject,
    device: str,
    backend: str | None,
    *,
    dynamic: bool | None = None,
    fullgraph: bool = True,
) -> list[dict[str, np.ndarray]]:
    """What a subject returns for every program, and its gradients; compiled together by ``backend``, or in
    eager mode for None.
    """
    steps = [
        (subject.function(program.call.operator), program.before, program.summed, program.beside)
        for program in programs
    ]

    def everything(arguments: list[tuple[list[Any], dict[str, Any]]]) -> tuple[list[Any], list[Any]]:
        results, others = [], []
        for (function, before, summed, beside), (positional, named) in zip(steps, arguments, strict=True):
            x = positional[0] if before is None else before(positional[0])
            y = function(x, *positional[1:], **named)
            if beside is not None:
                others.append(beside(x, y))
            results.append(y.sum(-1) if summed else y)
        return results, others

    leaves = [tensors(program.given, device, requires_grad=True) for program in programs]
    arguments = [by_position_and_name(each) for each in leaves]
    torch.compiler.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's, about itself
            function = (
                everything
                if backend is None
                else torch.compile(everything, backend=backend, dynamic=dynamic, fullgraph=fullgraph)
            )
            outputs, _ = function(arguments)
            gradients_in_order = iter(_differentiate(programs, leaves, outputs, device))
    finally:
        torch.compiler.reset()
    results = []
    for program, output in zip(programs, outputs, strict=True):
        call = program.call
        gradients = {
            name: of_dtype(f"{program.name}: the gradient of {name}", next(gradients_in_order), call.dtype)
            for name in call.differentiable
        }
        results.append(
            {FORWARD: of_dtype(f"{program.name}: the result", output, call.output_dtype), **gradients}
        )
    return results


def _differentiate(
    programs: Sequence[Program],
    leaves: Sequence[Mapping[str, Any]],
    outputs: Sequence[torch.Tensor],
    device: str,
) -> Any:
    """The gradients of all programs, in one backward pass."""
    with_gradient = [i for i, program in enumerate(programs) if program.call.differentiable]
    wanted = [leaves[i][name] for i in with_gradient for name in programs[i].call.differentiable]
    upstream = [cotangent_of(programs[i].grad_output, programs[i].call, device) for i in with_gradient]
    return torch.autograd.grad([outputs[i] for i in with_gradient], wanted, upstream) if wanted else ()


def judge_programs(
    programs: Sequence[Program],
    results: Iterable[Mapping[str, np.ndarray]],
    subject: Subject,
    device: str,
    mode: str,
) -> Iterator[Finding]:
    """Judge each result and gradient of each program; ``mode`` is what the ledger knows the way by."""
    backend = mode.removeprefix(f"{UNDER_COMPILE} with ")
    steps = Steps(partial(scripts.compiled, backend)) if mode else None
    for program, observed in zip(programs, results, strict=True):
        call, where = program.call, f"in {program.name!r}"
        if program.summed:
            function = partial(_summed, call.operator)
            bound = expected(call, (FORWARD,), profile=subject.profile, function=function)[FORWARD]
            verdict = judge(observed[FORWARD], bound, FORMATS[call.output_dtype])
            yield Finding(
                None, call, FORWARD, verdict, verdict, "", False, mode=mode, where=where, steps=steps
            )
            continue
        for finding in judge_results(
            subject, device, program.case, call, observed, program.grad_output, mode=mode, steps=steps
        ):
            yield replace(finding, where=where)


def _summed(operator: str, **arguments: Any) -> Any:
    result = OPERATORS[operator].forward(**arguments)
    return result.__array_namespace__().sum(result, axis=-1)


# --- both scores --------------------------------------------------------------------------------------------


def programs_to_run(settings: Settings, backend: str) -> list[Program]:
    """The programs that a run compiles: every one in thorough effort, else the few that tell most for their
    time.

    Standard effort gives all of float32 to inductor, which decomposes first; of every dtype one call an
    operator is decomposed alone, and inductor gets that of bfloat16 too.
    """
    chosen = settings.operators or OPERATORS
    offered = [
        operator
        for operator in OPERATORS.values()
        if settings.subject.offers(operator.name) and operator.name in chosen
    ]
    single = "float32" if "float32" in settings.dtypes else settings.dtypes[0]
    programs = []
    for dtype in settings.dtypes:
        full = settings.effort_name == "thorough" or (dtype == single and backend == INDUCTOR)
        if full or backend == DECOMPOSED or dtype == "bfloat16":
            programs += [
                program
                for operator in offered
                for program in programs_of(operator, dtype, settings.seed, first_alone=not full)
            ]
        if full:
            programs += [program for operator in offered for program in rewritten_of(operator, dtype)]
    return programs


def smallest_of_ledger(settings: Settings) -> list[tuple[Divergence, Program]]:
    """The smallest inputs of the ledger's entries about compilation, as programs: those that lie inside what
    the subject promises.
    """
    smallest, subject = [], settings.subject
    for entry in ledger.entries():
        if compiled_by(DECOMPOSED) in entry.modes and entry.in_force(subject.judged_as, settings.device):
            for quantity, dtype in product(entry.quantities, entry.dtypes):
                call, grad_output = entry.smallest_call(quantity, dtype)
                if not subject.offers(call.operator) or subject.promise.outside_call(call):
                    continue
                upstream = np.ones(output_shape(call)) if grad_output is None else grad_output
                smallest.append((entry, Program(f"the smallest input of {entry.id}", call, call, upstream)))
    return smallest


def judge_compiled(settings: Settings, backend: str) -> tuple[list[Finding], list[str]]:
    """The findings of everything compiled with ``backend``, and the table of eager and compiled scores.

    Raises
    ------
    NoCompiler
        If inductor finds no compiler.
    """
    programs, subject, device = programs_to_run(settings, backend), settings.subject, settings.device
    try:
        results = run(programs, subject, device, backend, fullgraph=subject.name in BUILTIN)
    except Exception as error:
        if any(name in f"{type(error).__name__}: {error}" for name in UNCOMPILABLE):
            raise NoCompiler(f"inductor has no compiler: {type(error).__name__}: {error}") from error
        raise
    judged = replace(subject, profile=profile_of_kernels(backend, device, subject.profile))
    compiled = list(judge_programs(programs, results, judged, device, compiled_by(backend)))
    eager = judge_programs(programs, run(programs, subject, device, None), subject, device, "")
    return compiled, table(scores(eager), scores(compiled))


def profile_of_kernels(backend: str, device: str, profile: Profile) -> Profile:
    """What the arithmetic of compiled code may do: inductor writes C++ for a CPU and Triton for a GPU."""
    writes_triton = backend == INDUCTOR and device.startswith("cuda") and profile == DEFAULT
    return PROFILES["triton"] if writes_triton else profile


def scores(findings: Iterable[Finding]) -> dict[tuple[str, str], float]:
    """The worst error / allowed of each operator and dtype, by the derived bound alone."""
    worst: dict[tuple[str, str], float] = {}
    for finding in findings:
        key = finding.call.operator, finding.call.dtype
        worst[key] = max(worst.get(key, 0.0), finding.strict.fraction)
    return worst


def table(eager: Mapping[tuple[str, str], float], compiled: Mapping[tuple[str, str], float]) -> list[str]:
    """Eager and compiled side by side, by the derived bound alone."""
    header = f"{'operator':<34}{'dtype':<10}{'eager':>10}{'compiled':>10}"
    rows = (f"{key[0]:<34}{key[1]:<10}{eager[key]:>10.3g}{compiled[key]:>10.3g}" for key in eager)
    return [header, "-" * len(header), *rows]


def main() -> None:
    """Print both scores of the built-in torch subject."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.claims.transforms.compilation", description=__doc__
    )
    parser.add_argument("--backend", default=INDUCTOR, choices=BACKENDS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--effort", default="standard")
    options = parser.parse_args()
    _, lines = judge_compiled(
        Settings.of("torch", options.device, ",".join(DTYPES), options.effort, 0), options.backend
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
