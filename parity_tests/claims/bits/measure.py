"""One family of calls of a subject measured: which changes alter the bits, see Note [Invariances] in
`torch_loss_parity.claims.bits.calls`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from torch_loss_parity.claims.bits.calls import BATCHES, DISTINCT, SHARED_AMONG_THREADS, Family, Size
from torch_loss_parity.claims.layouts.layouts import LAYOUTS, Layout, place
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import by_position_and_name
from torch_loss_parity.tensors.arrays import dtype_in_call, to_tensor

Results = Mapping[str, list[torch.Tensor]]  # of each quantity
Differences = Iterator[tuple[str, str, str]]  # an invariance, a quantity and how it is broken


@dataclass(frozen=True)
class Measurement:
    """One family of a subject in one dtype, on a device."""

    subject: Subject
    family: Family
    dtype: str
    device: str = "cpu"

    def differences(self, probe: str, size: Size) -> dict[tuple[str, str], str]:
        """How the invariances of a probe are broken at a size, for each of them and each quantity."""
        first: dict[tuple[str, str], str] = {}
        with threads(1):
            for invariance, quantity, how in getattr(self, f"_{probe}")(self.family.draw(size)):
                first.setdefault((invariance, quantity), f"{size[0]} x {size[1]}: {how}")
        return first

    def smallest(self, probe: str, sizes: Sequence[Size]) -> dict[tuple[str, str], str]:
        """The first counterexample to each invariance and quantity, among these sizes."""
        smallest: dict[tuple[str, str], str] = {}
        for size in sizes:
            smallest = self.differences(probe, size) | smallest
        return smallest

    def run(
        self,
        drawn: Mapping[str, np.ndarray],
        wanted: Sequence[str] | None = None,
        layout: Callable[[str, np.ndarray], torch.Tensor] | None = None,
        number: int = 1,
    ) -> Results:
        """The result and the gradients with respect to the ``wanted`` arguments, computed by a ``number`` of
        threads.
        """
        family = self.family
        wanted = self.differentiable if wanted is None else wanted
        placed = {name: (layout or self._contiguous)(name, array) for name, array in drawn.items()}
        arguments = {
            name: tensor.detach().requires_grad_(name in wanted)
            for name, tensor in placed.items()
            if name != "grad_output"
        }
        first, _ = by_position_and_name(arguments)
        named = {name: value for name, value in arguments.items() if name in family.calls.weights}
        with threads(number), self.subject.declining():
            output = self.subject.function(family.operator.name)(*first, **named, **family.calls.options)
            if not wanted:
                return {"forward": [output.detach()]}
            gradients = torch.autograd.grad(
                output, [arguments[name] for name in wanted], placed["grad_output"]
            )
        return {"forward": [output.detach()], "gradient": list(gradients)}

    @property
    def differentiable(self) -> tuple[str, ...]:
        """Those of the family that the subject promises."""
        return self.subject.promise.differentiated(self.family.operator.name, self.family.differentiable)

    def _contiguous(self, name: str, array: np.ndarray) -> torch.Tensor:
        return to_tensor(array, dtype_in_call(array, self.dtype), self.device)

    def _threads(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        """Few calls with two threads: where other processes want the cores, each parallel region waits for
        its turn.
        """
        one, two = self.run(drawn), self.run(drawn, number=2)
        yield from _compared("twice", one, self.run(drawn), "called twice")
        yield from _compared("threads", one, two, "one thread and two")
        if drawn["input"].size >= SHARED_AMONG_THREADS:
            yield from _compared("twice", two, self.run(drawn, number=2), "called twice, with two threads")

    def _layouts(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        contiguous, dims = self.run(drawn), drawn["input"].ndim
        for layout in LAYOUTS:
            if dims < layout.least:
                continue

            def placed(name: str, array: np.ndarray, layout: Layout = layout) -> torch.Tensor:
                dtype = dtype_in_call(array, self.dtype)
                return place(array, layout.fitting(array.ndim).strides(array.shape), dtype, self.device).view

            yield from _compared(
                "layouts", contiguous, self.run(drawn, layout=placed), f"contiguous and {layout.name}"
            )

    def _gradients(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        every = self.run(drawn)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                yield from _compared(
                    "gradients", every, self.run(drawn, ()), f"with gradients and under torch.{mode.__name__}"
                )
        for number, name in enumerate(self.differentiable):
            of_this = {"forward": every["forward"], "gradient": [every["gradient"][number]]}
            how = f"with every gradient and with that of {name} alone"
            yield from _compared("gradients", of_this, self.run(drawn, (name,)), how)

    def _rows(self, drawn: Mapping[str, np.ndarray]) -> Differences:
        """Rows alone and in batches, each row in each position."""
        alone = [self.run(self.family.take(drawn, [row])) for row in range(DISTINCT)]
        batches = [
            (rows := [(i + shift) % DISTINCT for i in range(size)], self.run(self.family.take(drawn, rows)))
            for size in BATCHES
            for shift in range(DISTINCT)
        ]
        together = [self._row(batches[0][1], row) for row in range(DISTINCT)]
        for invariance, first, where in (
            ("alone", alone, "alone"),
            ("batches", together, f"in a batch of {BATCHES[0]}"),
        ):
            for rows, results in batches:
                for quantity, tensors in results.items():
                    for number, result in enumerate(tensors):
                        axis = self._axis(result)
                        expected = torch.cat([first[row][quantity][number] for row in rows], dim=axis)
                        if not _same(expected, result):
                            at = next(
                                i
                                for i in range(len(rows))
                                if not _same(expected.narrow(axis, i, 1), result.narrow(axis, i, 1))
                            )
                            yield invariance, quantity, f"a row {where} and in position {at} of {len(rows)}"

    def _axis(self, result: torch.Tensor) -> int:
        assert self.family.calls.batch is not None
        return min(self.family.calls.batch, result.dim() - 1)

    def _row(self, results: Results, at: int) -> Results:
        return {
            quantity: [result.narrow(self._axis(result), at, 1) for result in tensors]
            for quantity, tensors in results.items()
        }


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch work with this many threads for a while."""
    before = torch.get_num_threads()
    if before != number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same bits."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))


def _compared(invariance: str, one: Results, other: Results, how: str) -> Differences:
    for quantity, results in other.items():
        if not all(_same(a, b) for a, b in zip(one[quantity], results, strict=True)):
            yield invariance, quantity, how
