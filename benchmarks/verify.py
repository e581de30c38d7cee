"""Is what was timed right? The parity tests' verdict on what a path returned, by the same derived bound.

Note [Sampled rows]
    Evaluating the bound costs more than most of what is timed. A result as large as the input is judged whole
    up to `WHOLE` elements; of a larger one, rows that the seed picks are. Rows do not depend on each other,
    so the picked ones are evaluated alone, with the upstream gradient of a mean scaled by their share, which
    is a power of two and so exact. Where they do depend on each other (a mean divided by a sum of class
    weights, a total that is kept in half precision) all rows are evaluated and the picked ones judged. A mean
    over everything is always evaluated over everything, and the gradient of a layer, which adds up all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from torch_loss_parity.benchmarks.buffers import Dataset
from torch_loss_parity.benchmarks.paths import RESULT, Path
from torch_loss_parity.benchmarks.returned import Returned, is_as_large, picked_rows
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import certified, expected
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.settle import settle
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.reference.arithmetic.rounding import Rounded


@dataclass(frozen=True)
class Judgement:
    """How one quantity about a timed result stands.

    Attributes
    ----------
    passes : bool
    fraction : float
        Worst error / allowed, by the derived bound.
    ulps : float
        The worst error of any element, in ulps of the output's format.
    divergence : str
        The entry of the ledger that explains a broken bound.
    reason : str
        What is wrong, empty if nothing is.
    way : str
        The way that explains a broken bound, with its grade.
    """

    quantity: str
    passes: bool
    fraction: float
    ulps: float
    divergence: str = ""
    reason: str = ""
    way: str = ""


class Truth:
    """What a dataset's result and gradient are; evaluated when first asked for, and once for all paths."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._bounds: dict[tuple[str, str, Profile], Rounded] = {}

    @cached_property
    def rows(self) -> np.ndarray | None:
        """The rows that are judged of a result as large as the input; None for all."""
        return picked_rows(self.dataset)

    def sampled(self, quantity: str) -> bool:
        return is_as_large(self.dataset, quantity) and self.rows is not None

    @cached_property
    def _alone(self) -> tuple[Call, np.ndarray] | None:
        """The picked rows as a call of their own; None where they depend on the others."""
        call, rows, g = self.dataset.call, self.rows, self.dataset.grad_output
        half = FORMATS[call.dtype].precision < FORMATS["float32"].precision
        if (
            rows is None
            or call.arguments.get("weight") is not None
            or (half and call.arguments["input"].ndim and _adds_rows(call))
        ):
            return None
        whole = call.arguments["input"].shape
        arguments = {
            k: v[rows] if isinstance(v, np.ndarray) and v.shape[:1] == whole[:1] else v
            for k, v in call.arguments.items()
        }
        upstream = g[rows] if g.ndim else g * (len(rows) / whole[0])
        return replace(call, arguments=arguments), upstream

    def bound(
        self, quantity: str, explanation: Explanation | None = None, profile: Profile = DEFAULT
    ) -> Rounded:
        """The expected value with its bound, of the rows that are judged; that of an explanation, if one is
        given.
        """
        name = explanation.name if explanation else ""
        if (quantity, name, profile) not in self._bounds:
            for each, bound in self._evaluate(quantity, explanation, profile).items():
                self._bounds[each, name, profile] = bound
        return self._bounds[quantity, name, profile]

    def _evaluate(self, quantity: str, by: Explanation | None, profile: Profile) -> Mapping[str, Rounded]:
        """A quantity, and the others that the same evaluation gives."""
        changes, function = (by.arithmetic, by.function) if by else (None, None)
        apart = self._alone if self.sampled(quantity) else None
        call, g = apart or (self.dataset.call, self.dataset.grad_output)
        quantities = (quantity,) if quantity == RESULT or by else call.differentiable
        bounds = expected(call, quantities, g, profile=profile, changes=changes, function=function)
        among = self.sampled(quantity) and not apart
        return {name: rows_of(bound, self.rows) if among else bound for name, bound in bounds.items()}

    def judge(self, quantity: str, returned: Any, path: Path, device: str) -> Judgement:
        """Judge what ``path`` returned for a quantity."""
        call = self.dataset.call
        described = Returned.of(returned, self.rows if self.sampled(quantity) else None)
        if wrong := described.wrong(self._shape(quantity), call.dtype_of(quantity)):
            return Judgement(quantity, False, np.inf, np.inf, reason=wrong)
        observed = described.numbers
        bound, format = self.bound(quantity, profile=path.profile), FORMATS[call.dtype_of(quantity)]
        alone = self._alone if self.sampled(quantity) else (call, self.dataset.grad_output)

        def truth() -> Rounded | None:
            return certified(alone[0], quantity, alone[1], bound) if alone else None

        def known() -> tuple[Explanation, ...]:
            return explanations.in_order(self._entries(path, device, quantity), call, quantity)

        settled = settle(
            observed,
            bound,
            format,
            known,
            lambda explanation: self.bound(quantity, explanation, path.profile),
            truth,
            resembling=lambda: explanations.resembling((), call, quantity),
        )
        verdict, strict = settled.verdict, settled.strict
        reason = (
            ""
            if verdict.passes
            else verdict.reason or (f"the error is {verdict.fraction:.3g} times what rounding allows")
        )
        return Judgement(
            quantity,
            verdict.passes,
            strict.fraction,
            worst_ulps(observed, bound, format),
            settled.divergence,
            reason,
            str(settled.way or ""),
        )

    def _entries(self, path: Path, device: str, quantity: str) -> tuple[Divergence, ...]:
        call = self.dataset.call
        entries = ledger.in_force(path.judged_as, device, call.operator, call.dtype) if path.judged_as else ()
        return tuple(entry for entry in entries if entry.covers(call, quantity, path.judged_under))

    def _shape(self, quantity: str) -> tuple[int, ...]:
        call = self.dataset.call
        return self.dataset.grad_output.shape if quantity == RESULT else call.arguments[quantity].shape


def _adds_rows(call: Call) -> bool:
    """Whether an entry of the ledger may speak of how the total over the rows is kept."""
    return OPERATORS[call.operator].targets_classes and call.facts.get("target", "indices") == "indices"


def rows_of(bound: Rounded, rows: np.ndarray | None) -> Rounded:
    """Some rows of an expected value. Errors that a row shares stay shared: they lie along it."""
    shape = bound.value.shape

    def picked(array: Any) -> Any:
        return np.broadcast_to(array, shape)[rows]

    error = bound.error
    shared = {unknown: (picked(r), picked(a)) for unknown, (r, a) in error.shared.items()}
    return Rounded(
        picked(bound.value), bound.arithmetic, Error(picked(error.relative), picked(error.absolute), shared)
    )


def worst_ulps(observed: np.ndarray, bound: Rounded, format: Any) -> float:
    """The worst error of any element in ulps of the true value; infinite where one is not finite and the
    other is.
    """
    value = np.asarray(bound.value, dtype=np.float64)
    with np.errstate(all="ignore"):
        ulps = np.abs(observed - bound.value).astype(np.float64) / format.spacing(value)
        ulps = np.where((observed == value) | (np.isnan(observed) & np.isnan(value)), 0.0, ulps)
    return float(np.max(np.where(np.isnan(ulps), np.inf, ulps), initial=0.0))


def stale(returned: Mapping[str, Any], other: Truth, path: Path, device: str) -> bool:
    """Whether what was returned is right for the numbers that lay at the same address before; of what was
    returned elsewhere only the rows are there that are judged of its own numbers.
    """
    if any(isinstance(value, Returned) for value in returned.values()):
        return False
    return all(other.judge(quantity, value, path, device).passes for quantity, value in returned.items())


Judge = Callable[[Truth, Mapping[str, Any]], tuple[Judgement, ...]]
