"""softmax: probabilities of the classes along ``dim``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, nan
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
from torch_loss_parity.operators.facets_audit import AVERAGED, Audited, EveryNumber, Shortened, Values
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
from torch_loss_parity.operators.record import Operator
from torch_loss_parity.operators.semantics import Promotion, Row, row
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.ways import ways_of


def semantics() -> Iterator[Row]:
    """What softmax means at the corners of its domain."""
    yield from rows_semantics.semantics()
    yield from rows_semantics.one_class(1.0)
    for special in rows_semantics.SPECIAL_ROWS:
        n = len(special)
        yield row(
            f"a row {special} beside another -> nan in this row only",
            input=[special, [0.5] * n],
            dim=-1,
            value=[[nan] * n, [1 / n] * n],
            meaning=rows_semantics.meaning_of(special),
        )
    yield row("-inf -> 0 and the rest share", input=[[-inf, 0.5, 0.5]], dim=1, value=[[0.0, 0.5, 0.5]])
    yield row("ties share evenly", input=[[3.0] * 4], dim=1, value=0.25)
    yield row("half the largest numbers do not overflow", **rows_semantics.FAR, value=[[1.0, 0.0]])
    sentence = "the largest numbers -> 1 and 0"
    yield row(sentence, **rows_semantics.FARTHEST, value=[[1.0, 0.0]], gradient=0.0)


def gradient_of_pairs(values: Values, upstream: np.ndarray) -> tuple[Any, Any]:
    """p_0 p_1 (g_0 - g_1), and its negative for the second class."""
    g = upstream.reshape(-1, 2, 2)
    first = values["product"][:, None] * (g[:, :, 0] - g[:, :, 1])
    size = np.abs(first)
    return np.stack([first, -first], axis=2), np.stack([size, size], axis=2)


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
    ways=ways_of("softmax"),
    second_order=(
        "softmax_double_backward",
        "softmax_jvp",
        "softmax_double_backward_from_memory",
    ),
    function="torch.nn.functional.softmax",
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
            others=("int64", "uint8", "bool"),
            arguments={"input": [1, 1], "dim": 0, "dtype": ""},
            value=[0.5, 0.5],
        ),
        Promotion(
            sentence="with dtype given, unlike numbers of dtype",
            other="input",
            others=("int64", "uint8"),
            arguments={"input": [0, 200], "dim": 0, "dtype": ""},
            value=[0.0, 1.0],
        ),
    ),
    refusals=tuple(rows_refusals.refusals()),
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
    log_probabilities=as_log_probabilities.of_probabilities,
    audit=Audited(
        telling=audits.TELLING_LOGITS,
        scales=audits.SCALES,
        base=audits.ROWS_BASE,
        paths=audits.ROWS_PATHS,
        probabilities=(),
        shortened=Shortened(holds=lambda call: True, upstream=AVERAGED),
        every_number=EveryNumber(
            inputs=audits.PAIRS,
            place=audits.pairs,
            targets=audits.target_of_pairs(
                forward=("sigmoid(x)", "sigmoid(-x)", "sigmoid(-x)", "sigmoid(x)"),
                gradient=("product", "-product", "product", "-product"),
            ),
            undefined_at=(inf,),
            gradient=gradient_of_pairs,
        ),
    ),
    workload=Workload(
        values="normal",
        options={},
        variants={},
        exponentials=(1, 0),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.nothing,
        scipy="softmax",
    ),
)
