"""log_softmax: logarithms of the probabilities of the classes along ``dim``."""

from __future__ import annotations

from math import inf
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
    Gap,
    Layouts,
    Modules,
)
from torch_loss_parity.operators.facets_audit import SUMMED, Audited, EveryNumber, Shortened, Values
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import audits, rows, workloads
from torch_loss_parity.operators.record import Operator


def gradient_of_pairs(values: Values, upstream: np.ndarray) -> tuple[Any, Any]:
    """g_0 p_1 - g_1 p_0, where the two products may cancel, and its negative for the second class."""
    g = upstream.reshape(-1, 2, 2)
    of_x, of_zero = values["sigmoid(x)"], values["sigmoid(-x)"]
    own = g[:, :, 0] * np.stack([of_zero, of_x], axis=1)
    other = g[:, :, 1] * np.stack([of_x, of_zero], axis=1)
    first, size = own - other, np.abs(own) + np.abs(other)
    return np.stack([first, -first], axis=2), np.stack([size, size], axis=2)


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
    autocast=Autocast(cpu=AS_GIVEN, cuda=SINGLE),
    modules=Modules(name="LogSoftmax", of_images=Gap("torch.nn has no LogSoftmax2d")),
    compiled=(
        Compiled((3, 17, 2), "one_dominant", {"dim": 1}),
        Compiled((4, 33), "wide", {"dim": -1}),
    ),
    sample_inputs="log_softmax",
    audit=Audited(
        telling=audits.TELLING_LOGITS,
        scales=audits.SCALES,
        base=audits.ROWS_BASE,
        paths=audits.ROWS_PATHS,
        probabilities=(),
        # It adds up the upstream gradient as it is.
        shortened=Shortened(holds=lambda call: True, upstream=SUMMED),
        every_number=EveryNumber(
            inputs=audits.PAIRS,
            place=audits.pairs,
            targets=audits.target_of_pairs(
                forward=("-softplus(-x)", "-softplus(x)", "-softplus(x)", "-softplus(-x)"),
                gradient=("sigmoid(-x)", "-sigmoid(-x)", "sigmoid(x)", "-sigmoid(x)"),
            ),
            undefined_at=(inf,),
            gradient=gradient_of_pairs,
        ),
    ),
    workload=Workload(
        values="normal",
        options={},
        variants={},
        exponentials=(1, 1),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.nothing,
        scipy="log_softmax",
    ),
)
