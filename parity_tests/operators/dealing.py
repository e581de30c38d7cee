"""Cases that are dealt out to the dtypes of a run, where all of them in each would cost too much."""

from __future__ import annotations

from collections.abc import Sequence

from torch_loss_parity.operators import OPERATORS


def hand(operator: str, dtype: str, dtypes: Sequence[str], base_seed: int) -> slice:
    """Of cases that are dealt out to ``dtypes`` in turn, those of one of them: others with the next seed,
    others for the next operator.
    """
    return slice(
        (dtypes.index(dtype) - list(OPERATORS).index(operator) - base_seed) % len(dtypes), None, len(dtypes)
    )
