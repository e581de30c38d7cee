"""What is asked of a subject on every input there is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch_loss_parity.audit import float32_sweep
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.audit.exhaustive_figures import figures_of
from torch_loss_parity.audit.exhaustive_parts import measured
from torch_loss_parity.audit.part import Conditions, Part, attempted


def exhaust(conditions: Conditions, sweep: Sweep) -> str:
    """The figures of every input, where they are few."""

    def measured_part() -> Part:
        result = measured(sweep, 0, sweep.patterns, conditions.subjects, conditions.device)
        return _of_sweep(conditions, sweep, [result], sweep.patterns)

    return attempted(sweep.name, measured_part).model_dump_json()


def swept(conditions: Conditions, sweep: Sweep, first: int, count: int) -> str:
    """A part of every input, to be added to the others."""

    def measured_part() -> Part:
        result = float32_sweep.measured(sweep, first, count, conditions.subjects, conditions.device)
        return Part(swept=json.dumps(result))

    return attempted(f"{sweep.name} from {first:#010x}", measured_part).model_dump_json()


def summed(conditions: Conditions, sweep: Sweep, results: Sequence[str], inputs: int) -> str:
    """The figures of every input, from those of its parts."""
    return attempted(
        sweep.name, lambda: _of_sweep(conditions, sweep, [json.loads(result) for result in results], inputs)
    ).model_dump_json()


def _of_sweep(
    conditions: Conditions, sweep: Sweep, results: Sequence[Mapping[str, Any]], inputs: int
) -> Part:
    """The figures of a sweep, and how long an input took: in all, and the subject alone."""
    times = {
        f"{sweep.name}, an input{'' if whose == 'all' else f', {conditions.subject} alone'}": sum(
            result["seconds"][whose] for result in results
        )
        / inputs
        for whose in ("all", "subject")
    }
    found = figures_of(sweep, results, conditions.subjects, conditions.device)
    return Part(figures=tuple(found), times=times)
