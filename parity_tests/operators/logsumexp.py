"""logsumexp: the logarithm of the sum of the exponentials along ``dim``, one dimension or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, nan
from typing import Any

import numpy as np

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.facets import (
    AS_GIVEN,
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Options,
    Shape,
    dims_of,
)
from torch_loss_parity.operators.facets_audit import SUMMED, Audited, EveryNumber, Shortened, Values
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import (
    audits,
    bits,
    identities,
    rows,
    rows_refusals,
    rows_semantics,
    workloads,
)
from torch_loss_parity.operators.meaning import LIMIT, LIMIT_WITHOUT_SLOPE, NAN, Meaning
from torch_loss_parity.operators.record import Operator, of_input
from torch_loss_parity.operators.refusals import NOT_REAL, Refusal, X, refusal
from torch_loss_parity.operators.semantics import Row, reals, row
from torch_loss_parity.reference.ways import ways_of

OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "dim": (-1, 0, 1, -2, 2, (0, -1), (1, 2), (-1, 0, 1), (-1, -2)),
    "keepdim": (False, True),
}
# What a row of the family has of its own, and rows along several dimensions, apart and out of order.
VIEWS: tuple[tuple[Shape, Options], ...] = (
    ((9,), {}),
    ((4, 67), {"dim": -1}),
    ((67, 5), {"dim": 0}),
    ((3, 3, 3, 3), {"dim": (1, 2)}),
    ((3, 5, 4), {"dim": 1, "keepdim": True}),
    ((2, 3, 2, 5, 2), {"dim": (0, -1)}),
)


def draw(case: Case) -> dict[str, Any]:
    """The input and the options."""
    return {"input": rows.draw_input(case), "dim": case.option["dim"], "keepdim": case.option["keepdim"]}


def result_shape(arguments: Options) -> Shape:
    """That of the input without the dimensions, or with 1 in their places."""
    shape = arguments["input"].shape
    along = dims_of(arguments["dim"], len(shape))
    if arguments.get("keepdim"):
        return tuple(1 if axis in along else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in along)


def semantics() -> Iterator[Row]:
    """What logsumexp means at the corners of its domain."""
    yield from rows_semantics.shapes(of_nothing=LIMIT)
    shape: Shape
    for shape in ((2, 3), (2, 3, 4), (2, 0), (2, 3, 0)):
        several = ((0,), (0, -1), (-1, 0), tuple(range(len(shape) - 1)), tuple(range(len(shape))))
        for dims in dict.fromkeys(several):
            for keepdim in (False, True):
                sentence = f"shape {shape}, dims {dims}" + ", kept" * keepdim
                given: dict[str, Any] = {"input": reals(*shape), "dim": dims, "keepdim": keepdim}
                of_nothing = LIMIT if any(shape[dim] == 0 for dim in dims) else None
                yield row(sentence, **given, about_shape=True, meaning=of_nothing)
    for shape, dim in (((), 0), ((), -1), ((), (0,)), ((2, 1), 1), ((1,), 0), ((1, 1), (0, 1))):
        x = reals(*shape)
        value = x.reshape(shape[:1]) if len(shape) == 2 and dim == 1 else x.reshape(())
        sentence = f"one number, shape {shape}, dim {dim} -> that number, gradient 1"
        yield row(sentence, input=x, dim=dim, value=value, gradient=1.0, upstream=1.0)
    yield row("0-d, dim kept -> 0-d", input=reals(), dim=0, keepdim=True, about_shape=True)
    yield from _special()
    yield row("ties -> the number and log n", input=[[3.0] * 4], dim=1)
    yield row("ties at 0 -> log n", input=[[0.0] * 5], dim=1)
    yield row("no numbers -> -inf", input=np.zeros((2, 0)), dim=1, value=-inf, meaning=LIMIT)
    sentence = "no numbers along several dims -> -inf"
    yield row(sentence, input=np.zeros((2, 0)), dim=(0, 1), value=-inf, meaning=LIMIT)
    far: dict[str, Any] = {"gradient": [[1.0, 0.0]], "upstream": 1.0}
    yield row(
        "half the largest numbers do not overflow",
        **rows_semantics.FAR,
        **far,
        value=lambda format: [format.largest / 2],
    )
    yield row(
        "the largest numbers do not overflow",
        **rows_semantics.FARTHEST,
        **far,
        value=lambda format: [format.largest],
    )
    yield row(
        "the most negative numbers -> their logarithm of a sum, not -inf",
        input=lambda format: [[-format.largest, -format.largest]],
        dim=1,
        value=lambda format: [-format.largest],
        gradient=0.5,
        upstream=1.0,
    )


def _special() -> Iterator[Row]:
    """Infinities and nan: of the result, and of the gradient, which is undefined where infinities meet."""
    special: tuple[tuple[list[float], float, list[float], Meaning], ...] = (
        ([-inf, -inf], -inf, [nan, nan], LIMIT_WITHOUT_SLOPE),
        ([inf, 0.0], inf, [nan, 0.0], LIMIT_WITHOUT_SLOPE),
        ([inf, inf, 0.0], inf, [nan, nan, 0.0], LIMIT_WITHOUT_SLOPE),
        ([nan, 0.0, 1.0], nan, [nan, nan, nan], NAN),
        ([nan, inf, -inf], nan, [nan, nan, nan], NAN),
        ([inf, -inf], inf, [nan, 0.0], LIMIT_WITHOUT_SLOPE),
        ([-inf, 0.5], 0.5, [0.0, 1.0], LIMIT),
    )
    for numbers, value, gradient, meaning in special:
        said: dict[str, Any] = {"value": value, "upstream": 1.0, "meaning": meaning}
        yield row(f"a row {numbers} -> {value}", input=[numbers], dim=1, gradient=[gradient], **said)
        block = np.asarray(numbers).reshape(-1, 1)
        sentence = f"a block {numbers} along two dims -> {value}"
        yield row(sentence, input=block, dim=(0, 1), gradient=np.reshape(gradient, (-1, 1)), **said)
        beside = [numbers, [-inf] * (len(numbers) - 1) + [0.5]]
        sentence = f"a row {numbers} beside another -> in this row only"
        yield row(sentence, input=beside, dim=-1, value=[value, 0.5], meaning=meaning)


def refusals() -> Iterator[Refusal]:
    """What logsumexp refuses."""
    yield from rows_refusals.out_of_range()
    yield from rows_refusals.no_integers(1.0, "1", True, None)
    for within in ((1.0,), (True,), (0, None)):
        words = f"dim is {within[-1]!r} | integer"
        yield refusal(f"dims {within}", TypeError, words, X, dim=within)
    for outside, dims in ((2, (0, 2)), (-3, (-3, 0))):
        words = f"dim is {outside} | between -2 and 1"
        yield refusal(f"dims {dims} of 2 dimensions", IndexError, words, X, dim=dims)
    repeated: tuple[tuple[int, ...], ...] = ((0, 0), (1, -1), (0, 1, 0))
    for twice in repeated:
        yield refusal(f"dims {twice}", RuntimeError, f"dim is {twice} | each dimension once", X, dim=twice)
    yield refusal("dims (0, -1) of 0", RuntimeError, "dim is (0, -1) | once", X[0, 0], dim=(0, -1))
    yield refusal(
        "no dim",
        RuntimeError,
        "dim is () | at least one",
        X,
        dim=(),
        definition_alone="torch takes all dimensions where there is none or no element, and else fails",
    )
    for bad in NOT_REAL:
        yield refusal(
            f"{bad.dtype} input",
            NotImplementedError,
            f"input has dtype | {bad.dtype} | real floating point",
            bad,
            dim=1,
            definition_alone="torch converts integers, and has a logarithm of complex numbers",
        )
    yield refusal(
        "keepdim 1",
        TypeError,
        "",
        X,
        dim=1,
        keepdim=1,
        torch_alone="others may take whatever is true or false",
    )


def gradient_of_pairs(values: Values, upstream: np.ndarray) -> tuple[Any, Any]:
    """g p_0 and g p_1, undefined where x is infinite: inf - inf."""
    g = upstream.reshape(-1, 2, 1)
    of_x = np.where(values["softplus(x)"] == inf, nan, values["sigmoid(x)"])
    of_zero = values["sigmoid(-x)"]
    pairs = np.stack([np.stack([of_x, of_zero], axis=1), np.stack([of_zero, of_x], axis=1)], axis=1)
    return g * pairs, np.abs(g * pairs)


OPERATOR = Operator(
    name="logsumexp",
    family=rows.ROWS,
    forward=reference.logsumexp,
    backward=reference.logsumexp_backward,
    ways=ways_of("logsumexp"),
    second_order=(
        "logsumexp_double_backward",
        "logsumexp_forward_mode",
        "logsumexp_double_backward_from_memory",
    ),
    function="torch.logsumexp",
    draw=draw,
    differentiable=rows.differentiable,
    options=OPTIONS,
    extensions={},
    reconcile=rows.reconcile,
    output_dtype=of_input,
    result_shape=result_shape,
    values=distributions.LOGITS,
    shapes=rows.SHAPES,
    sizes=(*rows.SIZES, ((256, 512), {"dim": (0, 1)})),
    domain=Domain(
        values=distributions.EXTREME_LOGITS,
        marked="equal_but_one",
        masked="masked_but_ends",
        options={},
        dtypes=Gap("there is one argument"),
        copies={"forward": 2, "gradients": 4},
    ),
    semantics=tuple(semantics()),
    promotions=Gap("there is one argument"),
    refusals=tuple(refusals()),
    layouts=Layouts(result="contiguous", views=VIEWS),
    identities=identities.of_rows(reduced=True),
    bits=bits.of_rows(bits.logits, options={"keepdim": True}),
    rewritten=Gap("no rewrite of a compiler around it is known to have gone wrong"),
    clamps=False,
    autocast=Autocast(cpu=AS_GIVEN, cuda=SINGLE),
    modules=Gap("torch.nn has no module of it"),
    compiled=(
        Compiled((4, 33), "normal", {"dim": -1}),
        Compiled((3, 17, 2), "wide", {"dim": (0, 1), "keepdim": True}),
    ),
    sample_inputs="logsumexp",
    log_probabilities=Gap("it is what probabilities are divided by"),
    audit=Audited(
        telling=audits.TELLING_LOGITS,
        scales=audits.SCALES,
        base=audits.ROWS_BASE,
        paths=({"dim": 0},),
        probabilities=(),
        # There is one upstream gradient for a row: nothing of it is added up.
        shortened=Shortened(holds=lambda call: True, upstream=SUMMED),
        every_number=EveryNumber(
            inputs=audits.PAIRS,
            place=audits.pairs,
            targets=audits.target_of_pairs(
                forward=("softplus(x)", "softplus(x)"),
                gradient=("sigmoid(x)", "sigmoid(-x)", "sigmoid(-x)", "sigmoid(x)"),
            ),
            undefined_at=(),
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
        scipy="logsumexp",
    ),
)
