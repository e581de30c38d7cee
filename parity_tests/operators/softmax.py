"""softmax: probabilities of the classes along ``dim``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.operators.facets import (
    AS_GIVEN,
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Layouts,
    Modules,
    Rewritten,
)
from torch_loss_parity.operators.families import bits, identities, rows
from torch_loss_parity.operators.record import Operator
from torch_loss_parity.reference.arithmetic.formats import FORMATS


def rewritten(dtype: str) -> Iterator[Rewritten]:
    """What compilers have got wrong: a softmax of scaled logits, its sum, and beside another result."""
    plain = {"dim": -1, "dtype": None}
    logits = np.asarray([[0.0, 100.0, 3.0], [-1.0, -2.0, -1.5], [1.0, 1.0, -1.0], [-np.inf, 2.0, 0.0]])
    for scale in (1e14, -10.0) if dtype != "float16" else (100.3, -10.0):
        # pytorch#163932 and #161150, asi#2886: a shift before the scale, or fused with it, overflows. The
        # product, rounded, is the input; its gaps are so wide that whoever does not round it gets the same.
        yield Rewritten(
            name=f"softmax of logits * {scale:g}",
            judged={"input": FORMATS[dtype].round(logits * scale), **plain},
            given={"input": logits, **plain},
            before=_times(scale),
        )
    # pytorch#189787: the sum is folded to 1, also where a row is nan.
    rows = np.asarray([[0.0, 1.0, 2.0], [np.nan, 0.0, 0.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, 0.0]])
    arguments = {"input": rows, **plain}
    yield Rewritten(name="softmax, summed", judged=arguments, given=arguments, summed=True)
    # pytorch#114225: another result of the same function changes this one.
    drawn = np.random.Generator(np.random.Philox(1)).normal(0, 3, (5, 17))
    arguments = {"input": FORMATS[dtype].round(drawn), **plain}
    yield Rewritten(name="softmax beside torch.cat", judged=arguments, given=arguments, beside=_concatenate)


def _times(scale: float) -> Callable[[Any], Any]:
    return lambda x: x * scale


def _concatenate(x: Any, y: Any) -> Any:
    import torch  # which the records do without

    return torch.cat([x, y])


OPERATOR = Operator(
    name="softmax",
    family=rows.ROWS,
    forward=reference.softmax,
    backward=reference.softmax_backward,
    function="torch.nn.functional.softmax",
    draw=rows.draw,
    differentiable=rows.differentiable,
    options=rows.OPTIONS,
    settle=rows.settle,
    output_dtype=rows.output_dtype,
    result_shape=rows.result_shape,
    values=distributions.LOGITS,
    shapes=rows.SHAPES,
    sizes=rows.SIZES,
    domain=Domain(
        values=distributions.EXTREME_LOGITS,
        options=rows.EXTREME_OPTIONS,
        dtypes=rows.OTHER_DTYPES,
        copies={"forward": 2, "gradients": 4},
    ),
    layouts=Layouts(result="contiguous", views=rows.VIEWS),
    identities=identities.of_rows(),
    bits=bits.of_rows(bits.logits),
    rewritten=rewritten,
    clamps=False,
    autocast=Autocast(cpu=AS_GIVEN, cuda=SINGLE),
    modules=Modules(name="Softmax", of_images="Softmax2d"),
    compiled=(
        Compiled((4, 33), "normal", {"dim": -1}),
        Compiled((3, 17, 2), "wide", {"dim": 1}),
    ),
    sample_inputs="softmax",
)
