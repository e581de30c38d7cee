"""log_softmax: logarithms of the probabilities of the classes along ``dim``."""

from __future__ import annotations

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.operators.facets import (
    AS_GIVEN,
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Modules,
)
from torch_loss_parity.operators.families import bits, identities, rows
from torch_loss_parity.operators.record import Operator

OPERATOR = Operator(
    name="log_softmax",
    family=rows.ROWS,
    forward=reference.log_softmax,
    backward=reference.log_softmax_backward,
    function="torch.nn.functional.log_softmax",
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
    rewritten=Gap("no rewrite of a compiler around it is known to have gone wrong"),
    clamps=False,
    autocast=Autocast(cpu=AS_GIVEN, cuda=SINGLE),
    modules=Modules(name="LogSoftmax", of_images=Gap("torch.nn has no LogSoftmax2d")),
    compiled=(
        Compiled((3, 17, 2), "one_dominant", {"dim": 1}),
        Compiled((4, 33), "wide", {"dim": -1}),
    ),
    sample_inputs="log_softmax",
)
