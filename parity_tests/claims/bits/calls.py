"""The calls whose bits are compared, a facet of each operator, and the changes that are made to them.

Note [Invariances]
    torch promises none of these, and the bound allows every one to be broken. People count on them all the
    same: who caches, who compares two runs, who serves the same prompt in another batch. So it is recorded,
    for every operator, where its rows lie, and dtype, whether each of them holds, and the smallest
    counterexample where one does not:

    twice       the same call gives the same bits
    alone       a row gives the same bits alone and in a batch of 2, 3, 17 and 64, in whatever position
    batches     the same in batches of all these sizes and in all positions, apart from being alone
    threads     one thread gives the same bits as two
    layouts     views with other strides give the same bits as contiguous tensors
    gradients   the result is the same without gradients and under inference_mode; a gradient, if only its
                argument requires one

    "Holds" means over all sizes that are tried here: lengths around those of vectors, sizes that cross the
    thresholds from which on torch works with several threads. Inputs follow from nothing but the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from torch_loss_parity.operators import Gap, Operator
from torch_loss_parity.operators.facets import BitCalls

INVARIANCES = ("twice", "alone", "batches", "threads", "layouts", "gradients")
QUANTITIES = ("forward", "gradient")
# Sizes of batches; different rows in them, so that each is met in each position.
BATCHES, DISTINCT = (2, 3, 17, 64), 2
Size = tuple[int, int]  # rows, and the length of each

SMALL = ((3, 5), (5, 33), (7, 67), (33, 130))
SHARED_AMONG_THREADS = 2**15  # elements, the least of which torch gives each thread a part
LARGE = (850, 40)  # beyond it
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 70, 256, 1025)
SIZES: Mapping[str, tuple[Size, ...]] = {  # of each probe
    "rows": tuple((DISTINCT, width) for width in WIDTHS),
    "threads": (SMALL[1], SMALL[-1], LARGE),
    "layouts": SMALL,
    "gradients": (*SMALL, LARGE),
}
PROBE = {
    "twice": "threads",
    "alone": "rows",
    "batches": "rows",
    "threads": "threads",
    "layouts": "layouts",
    "gradients": "gradients",
}


@dataclass(frozen=True)
class Family:
    """Calls of one operator that differ in their size alone."""

    operator: Operator
    calls: BitCalls

    @property
    def name(self) -> str:
        return f"{self.operator.name} {self.calls.where}"

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arguments whose gradients are compared."""
        return ("input", "target") if self.calls.target == "probabilities" else ("input",)

    @property
    def invariances(self) -> tuple[str, ...]:
        return tuple(name for name in INVARIANCES if self.calls.batch is not None or PROBE[name] != "rows")

    def draw(self, size: Size) -> dict[str, np.ndarray]:
        """The arguments, and the upstream gradient."""
        rows, width = size
        calls, shape = self.calls, self.calls.shape(rows, width)
        rng = np.random.Generator(np.random.Philox([crc32(self.name.encode()), rows, width]))
        drawn = {"input": calls.input(rng, shape)}
        if calls.target == "indices":
            drawn["target"] = rng.integers(0, width, (shape[0], *shape[2:]))
        elif calls.target == "probabilities":
            drawn["target"] = rng.uniform(0, 1, shape)
        drawn |= {name: rng.uniform(0.25, 2, width) for name in calls.weights}
        result = self.operator.result_shape({**drawn, **calls.options})
        drawn["grad_output"] = np.asarray(rng.normal(0, 1, result))
        return drawn

    def take(self, drawn: Mapping[str, np.ndarray], rows: Sequence[int]) -> dict[str, np.ndarray]:
        """These rows, as one batch."""
        batch = self.calls.batch
        assert batch is not None
        return {
            k: v if k in self.calls.weights else np.take(v, rows, axis=min(batch, v.ndim - 1))
            for k, v in drawn.items()
        }


def families_of(operator: Operator) -> tuple[Family, ...]:
    """The families of an operator; none where it has a `Gap`."""
    return () if isinstance(operator.bits, Gap) else tuple(Family(operator, each) for each in operator.bits)
