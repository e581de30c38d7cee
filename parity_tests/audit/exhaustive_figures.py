"""The figures of a sweep over every input, from its parts, and the worst element shown again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torch_loss_parity.audit.certify import truths
from torch_loss_parity.audit.exhaustive import Sweep, quantities
from torch_loss_parity.audit.exhaustive_parts import TORCH, Part, element, sha256, subjects_of
from torch_loss_parity.audit.parts_of_calls import element_alone
from torch_loss_parity.audit.record import Figure, Worst
from torch_loss_parity.audit.single_row import extent
from torch_loss_parity.expectation.expectation import expected
from torch_loss_parity.judging.failure_message import script
from torch_loss_parity.judging.judge import Finding, judge_quantity, of_the_subject
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject, run_subject


def figures(
    sweep: Sweep,
    results: Sequence[Mapping[str, Any]],
    subject_name: str,
    device: str,
    profile: str = DEFAULT.name,
) -> list[Figure]:
    """`figures_of` for a subject by its name, and torch where that is another."""
    return figures_of(sweep, results, subjects_of(sweep, subject_name, profile), device)


def figures_of(
    sweep: Sweep, results: Sequence[Mapping[str, Any]], subjects: Mapping[str, Subject], device: str
) -> list[Figure]:
    """The figures of a sweep, from the results of all its parts in their order; of the first of the subjects,
    with those of torch, where that is the second, beside them.
    """
    subject_name = next(iter(subjects))
    inputs = (
        results[0]["inputs"]
        if len(results) == 1
        else sha256(*(result["inputs"].encode() for result in results))
    )
    rows, classes = extent(sweep.call_on(np.zeros(1)))
    measured = []
    for quantity, kind in quantities(sweep):
        added: dict[str, Part] = {}
        for name in subjects:
            key = f"{name} {quantity} {kind}"
            if key not in results[0]["parts"]:
                continue
            added[name] = Part()
            for result in results:
                added[name] += Part.model_validate(result["parts"][key])
        if subject_name not in added:
            continue
        options = {"target": sweep.target, "grad_output": kind}
        measured.append(
            Figure(
                operator=sweep.operator,
                dtype=sweep.dtype,
                quantity=quantity,
                how="exhaustive",
                classes=classes,
                rows=sweep.patterns * rows,
                values=sweep.what,
                logit_range=1.0 if sweep.is_of_probabilities else 2 * FORMATS[sweep.dtype].largest,
                options={name: value for name, value in options.items() if value},
                inputs=inputs,
                subject=added[subject_name].measures(),
                torch=added[TORCH].measures() if TORCH in added and subject_name != TORCH else None,
                worst=worst(
                    sweep,
                    quantity,
                    kind,
                    added[subject_name],
                    {name: subjects[name] for name in added},
                    device,
                ),
            )
        )
    return measured


def worst(
    sweep: Sweep, quantity: str, kind: str, part: Part, subjects: Mapping[str, Subject], device: str
) -> Worst:
    """The worst element, found again from its number, with a script that shows it."""
    subject = next(iter(subjects.values()))
    number = max(part.errors.worst, 0)
    pattern, index = divmod(number, sweep.of_each(quantity))
    call = sweep.call(pattern, 1)
    upstream = sweep.grad_output(kind, call, pattern) if kind else None
    one, g, at = element_alone(call, quantity, upstream, index)
    true = truths(one, (quantity,), g)[quantity]
    bound = expected(one, (quantity,), g, profile=subject.profile)[quantity]
    observed = {}
    for name, implementation in subjects.items():
        with of_the_subject(subject):
            if implementation.is_elsewhere:
                observed[name] = element(implementation, sweep, quantity, kind, number, device)
                continue
            run = (
                run_subject.forward(implementation, one, device)
                if g is None
                else run_subject.gradients(implementation, one, device, g)[quantity]
            )
            observed[name] = np.asarray(run)[at]
    finding = judge_quantity(
        subject, device, None, one, quantity, _placed(true.value, at, observed[subject.name]), bound, g
    )
    arguments = {name: value for name, value in one.arguments.items() if isinstance(value, np.ndarray)}
    if g is not None:
        arguments["grad_output"] = g
    return Worst(
        index=tuple(int(i) for i in np.atleast_1d(number)),
        arguments={
            name: " ".join(_hexadecimal(x) for x in value.reshape(-1)) for name, value in arguments.items()
        },
        observed=_hexadecimal(observed[subject.name]),
        torch=_hexadecimal(observed[TORCH]) if TORCH in observed and subject.name != TORCH else "",
        truth=true.decimal(int(np.ravel_multi_index(at, true.value.shape)) if at else 0),
        ulps=part.errors.max_ulp,
        fraction=finding.strict.fraction,
        script=script(_pointing(finding, at), subject, device),
    )


def _placed(value: np.ndarray, at: tuple[int, ...], observed: Any) -> np.ndarray:
    """A result that is right but for one element: what is said of its fraction is said of that element."""
    placed = np.array(value, dtype=np.float64)
    placed[at] = observed
    return placed


def _pointing(finding: Finding, at: tuple[int, ...]) -> Finding:
    return replace(finding, verdict=replace(finding.verdict, index=at))


def _hexadecimal(x: Any) -> str:
    return float(x).hex() if np.asarray(x).dtype.kind == "f" else str(int(x))
