"""log_softmax: logarithms of the probabilities of the classes along ``dim``."""

from __future__ import annotations

from collections.abc import Iterator
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
from torch_loss_parity.operators.families import (
    as_log_probabilities,
    audits,
    bits,
    identities,
    rows,
    rows_refusals,
    rows_semantics,
    workloads,
)
from torch_loss_parity.operators.meaning import LIMIT, OVERFLOW
from torch_loss_parity.operators.record import Operator
from torch_loss_parity.operators.semantics import Promotion, Row, row
from torch_loss_parity.reference.ways import ways_of


def semantics() -> Iterator[Row]:
    """What log_softmax means at the corners of its domain."""
    yield from rows_semantics.semantics()
    yield from rows_semantics.one_class(0.0)
    for special in rows_semantics.SPECIAL_ROWS:
        sentence = f"a row {special} beside another -> nan in this row only"
        yield row(
            sentence,
            input=[special, [0.5] * len(special)],
            dim=-1,
            meaning=rows_semantics.meaning_of(special),
        )
    masked = [[-inf, 0.0, -inf]]
    yield row("-inf -> -inf and the rest share", input=masked, dim=1, value=masked, meaning=LIMIT)
    yield row(
        "half the largest numbers do not overflow",
        **rows_semantics.FAR,
        value=lambda format: [[0.0, -format.largest]],
    )
    yield row(
        "the largest numbers -> 0 and -inf",
        **rows_semantics.FARTHEST,
        value=[[0.0, -inf]],
        meaning=OVERFLOW,
        gradient=[[-1.0, 1.0]],
        upstream=1.0,
    )


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
    ways=ways_of("log_softmax"),
    second_order=(
        "log_softmax_double_backward",
        "log_softmax_jvp",
        "log_softmax_double_backward_from_memory",
    ),
    function="torch.nn.functional.log_softmax",
    draw=rows.draw,
    differentiable=rows.differentiable,
    options=rows.OPTIONS,
    extensions={},
    reconcile=rows.reconcile,
    output_dtype=rows.output_dtype,
    result_shape=rows.result_shape,
    values=distributions.LOGITS,
    shapes=rows.SHAPES,
    sizes=rows.SIZES,
    domain=Domain(
        values=distributions.EXTREME_LOGITS,
        marked="equal_but_one",
        masked="masked_but_ends",
        options=rows.EXTREME_OPTIONS,
        dtypes=rows.OTHER_DTYPES,
        copies={"forward": 2, "gradients": 4},
    ),
    semantics=tuple(semantics()),
    promotions=(
        Promotion(
            sentence="with dtype given, an input of dtype",
            other="input",
            others=("int64", "uint8"),
            arguments={"input": [0, 200], "dim": 0, "dtype": ""},
            value=[-200.0, 0.0],
        ),
    ),
    refusals=tuple(rows_refusals.refusals()),
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
    log_probabilities=as_log_probabilities.as_it_is,
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
