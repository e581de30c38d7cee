"""Arguments of a case: numbers of a distribution, rounded to the argument's dtype."""

from __future__ import annotations

import numpy as np

from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.record import dtypes_of
from torch_loss_parity.reference.arithmetic.formats import FORMATS


def real(case: Case, name: str, values: str, shape: tuple[int, ...], axis: int = 0) -> np.ndarray:
    """Numbers of the argument's dtype; a finite one beyond its largest number becomes that."""
    format = FORMATS[dtypes_of(case).get(name, case.dtype)]
    drawn = np.array(
        distributions.BY_NAME[values](case.generator(name), shape, axis, format), dtype=np.float64
    )
    return format.round(np.where(np.isfinite(drawn), np.clip(drawn, -format.largest, format.largest), drawn))
