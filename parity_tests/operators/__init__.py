"""The operators: one module each, which holds all that the suite knows about it.

Adding an operator is a definition in `torch_loss_parity.reference`, a module here, and its faults. A module
elsewhere is added by naming its file in the environment variable ``TORCH_LOSS_PARITY_OPERATORS`` (several
are separated as those of ``PATH`` are): processes that a run starts find it there too. Such a module may have
a function ``faults``, which plants its faults.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from torch_loss_parity.operators import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    linear_cross_entropy,
    log_softmax,
    logsumexp,
    nll_loss,
    softmax,
)
from torch_loss_parity.operators.facets import Gap
from torch_loss_parity.operators.record import DTYPES, REDUCTION, Operator

__all__ = ["DTYPES", "OPERATORS", "REDUCTION", "Gap", "Operator"]

ELSEWHERE = "TORCH_LOSS_PARITY_OPERATORS"
# In the order in which they are reported. Cases are dealt out by it: a new one goes to the end.
MODULES = (
    softmax,
    log_softmax,
    nll_loss,
    cross_entropy,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    logsumexp,
    linear_cross_entropy,
)


def _elsewhere(paths: str) -> list[ModuleType]:
    """Modules from files.

    Raises
    ------
    ValueError
        If there is no such file, or it holds no ``OPERATOR``.
    """
    modules = []
    for path in map(Path, filter(None, paths.split(os.pathsep))):
        spec = importlib.util.spec_from_file_location(f"operator_{path.stem}", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise ValueError(f"{ELSEWHERE} names {str(path)!r}, which is not a file of Python")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not isinstance(getattr(module, "OPERATOR", None), Operator):
            raise ValueError(f"{ELSEWHERE} names {str(path)!r}, which holds no OPERATOR, a record of one")
        modules.append(module)
    return modules


def _records(modules: Sequence[ModuleType]) -> dict[str, Operator]:
    records: dict[str, Operator] = {}
    for record in (module.OPERATOR for module in modules):
        if record.name in records:
            raise ValueError(f"there are two operators called {record.name}")
        records[record.name] = record
    return records


ADDED = tuple(_elsewhere(os.environ.get(ELSEWHERE, "")))  # modules from elsewhere
OPERATORS: Mapping[str, Operator] = _records([*MODULES, *ADDED])
