"""Sweeps as chunks: what is run, in which pieces, and a command that runs them alone.

    python -m torch_loss_parity.audit.sweep --dtype float32 --operator binary_cross_entropy_with_logits
    --workers 2 --store DIR

It shows its progress with an estimate, keeps what is finished in DIR, and continues there when it is started
again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from torch_loss_parity.audit import exhaustive_figures, exhaustive_parts, float32_sweep
from torch_loss_parity.audit.exhaustive import Sweep, sweeps
from torch_loss_parity.audit.float32_result import has_closed_form
from torch_loss_parity.audit.operator_facets import gaps
from torch_loss_parity.audit.record import Figure, Missing
from torch_loss_parity.audit.result_store import Chunk, executor, run, state_of
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.processes.cluster_pool import SchedulerError
from torch_loss_parity.processes.task_pool import TaskError
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings, WrongOption

ELEMENTS_AT_ONCE, ROWS_AT_ONCE = 2**22, 2**20  # inputs of a chunk: a second of work, or a few


def planned(
    operators: Sequence[str], dtypes: Sequence[str], *, thorough: bool, seed: int = 0
) -> tuple[list[Sweep], list[Missing]]:
    """What is exhausted, and what could be but is not, with the reason."""
    chosen: list[Sweep] = []
    missing: list[Missing] = []
    for sweep in sweeps(operators, dtypes, seed):
        if sweep.dtype != "float32" or (thorough and has_closed_form(sweep)):
            chosen.append(sweep)
        else:
            why = _without_closed_form(sweep) if thorough else "left to --effort thorough"
            missing.append(Missing(what=f"{sweep.name}: {sweep.what}", why=why))
    return chosen, missing


def _without_closed_form(sweep: Sweep) -> str:
    forms = sweep.facet.targets[sweep.target].forms
    return forms.why if isinstance(forms, Gap) else "not both result and gradient have a closed form"


def chunks_of(sweep: Sweep, subject: str, device: str, profile: str = DEFAULT.name) -> list[Chunk]:
    """The pieces of a sweep, in order; their results go to `exhaustive_figures.figures`."""
    state = state_of(subject)
    if sweep.dtype != "float32":
        whole = sweep, 0, sweep.patterns, subject, device, profile
        return [Chunk(sweep.name, exhaustive_parts.measure, whole, state)]
    at_once = ROWS_AT_ONCE if OPERATORS[sweep.operator].family.has_rows else ELEMENTS_AT_ONCE
    return [
        Chunk(
            f"{sweep.name} {first:#010x}",
            float32_sweep.measure,
            (sweep, first, min(at_once, sweep.patterns - first), subject, device, profile),
            state,
        )
        for first in range(0, sweep.patterns, at_once)
    ]


def times(sweep: Sweep, results: Sequence[Mapping[str, Any]], inputs: int | None = None) -> dict[str, float]:
    """Seconds of one core for an input: of the call of the subject alone, and of everything."""
    inputs = sweep.patterns if inputs is None else inputs
    return {
        f"{sweep.name}: {what}": sum(result["seconds"][key] for result in results) / inputs
        for what, key in (("an input, the subject's calls", "subject"), ("an input, all", "all"))
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.audit.sweep", description="Measure every input of an operator."
    )
    parser.add_argument(
        "--operator",
        help=f"one or more of {', '.join(OPERATORS)} (default: all that have every number tried)",
    )
    parser.add_argument("--dtype", default="float32", help="one or more of float16, bfloat16, float32")
    parser.add_argument("--subject", default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="local processes")
    parser.add_argument("--scheduler", metavar="URL", help="run on the Dask cluster at tcp://HOST:PORT")
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="keep finished chunks here, and continue from them"
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="only N chunks of each sweep, evenly spread: says what the whole would take",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the figures to FILE, as JSON lines"
    )
    given = parser.parse_args(arguments)
    try:
        settings = Settings.of(
            given.subject, given.device, given.dtype, "thorough", given.seed, operator=given.operator
        )
        operators = settings.operators or tuple(OPERATORS)
        planned_sweeps, missing = planned(operators, settings.dtypes, thorough=True, seed=given.seed)
        missing += gaps(operators)
        with executor(given.workers, given.scheduler) as pool:
            for sweep in planned_sweeps:
                chunks = chunks_of(sweep, given.subject, given.device, settings.subject.profile.choice)
                if given.sample:
                    chunks = chunks[:: max(1, len(chunks) // given.sample)]
                inputs = sum(chunk.arguments[2] for chunk in chunks)
                bar = tqdm(
                    total=inputs,
                    desc=sweep.name,
                    unit="input",
                    unit_scale=True,
                    smoothing=0.02,
                    file=sys.stderr,
                )
                with bar:

                    def finished(chunk: Chunk, kept: bool, bar: Any = bar) -> None:
                        bar.update(chunk.arguments[2])

                    results = [result for _, result in run(chunks, pool, given.store, progress=finished)]
                _show(sweep, results, settings.subject, given.device, inputs, pool.size, given.output)
        for what in missing:
            print(f"not measured: {what.what}: {what.why}")
    except (WrongOption, SchedulerError, TaskError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "interrupted" + (f"; start again with --store {given.store} to continue" if given.store else ""),
            file=sys.stderr,
        )
        return 130
    return 0


def _show(
    sweep: Sweep,
    results: Sequence[Mapping[str, Any]],
    subject: Subject,
    device: str,
    inputs: int,
    workers: int,
    output: Path | None,
) -> None:
    for what, each in times(sweep, results, inputs).items():
        print(f"{what}: {each * 1e9:.4g} ns")
    seconds = sum(result["seconds"]["all"] for result in results)
    if inputs < sweep.patterns:
        whole = seconds * sweep.patterns / inputs
        print(
            f"{sweep.name}: {inputs} of {sweep.patterns} inputs took {seconds:.3g} s of a core; all would "
            f"take {whole:.4g} s of one"
        )
        print(f"{sweep.name}: and so {whole / workers:.4g} s on {workers} workers")
        return
    print(f"{sweep.name}: {inputs} inputs in {seconds:.4g} s of a core")
    figures = exhaustive_figures.figures(sweep, results, subject.name, device, subject.profile.choice)
    for figure in figures:
        print(_line(figure))
    if output:
        with output.open("a") as file:
            file.writelines(figure.model_dump_json() + "\n" for figure in figures)


def _line(figure: Figure) -> str:
    measures, worst = figure.subject, figure.worst
    upstream = f" for {figure.options['grad_output']}" if "grad_output" in figure.options else ""
    where = ", ".join(f"{name}={value}" for name, value in worst.arguments.items())
    return (
        f"  {figure.quantity}{upstream}: at most {measures.max_ulp:.3g} ulp ({where}), 99.9 % "
        f"{measures.p999_ulp:.3g}, "
        f"median {measures.median_ulp:.3g}, mean {measures.mean_signed_ulp:+.3g}; {measures.fraction:.3g} of "
        f"what is allowed, "
        f"{measures.standing}{' ' + measures.divergence if measures.divergence else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
