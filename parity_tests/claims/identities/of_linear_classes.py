"""Identities of linear_cross_entropy."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.record import Pair, identity
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.operators.families.identities import IGNORED

NAME = "linear_cross_entropy"
INPUT, LAYER, BIAS = "input", "linear_weight", "linear_bias"


def gradients(f: Any, x: Any, names: tuple[str, ...] = (INPUT, LAYER), **instead: Any) -> list[Any]:
    """The gradients with respect to some arguments, of a call with others in place of what was drawn."""
    given = {"input": x.input, "layer": x.layer, "target": x.target, "grad": x.grad, **x.options} | instead
    grad, *factors = (given.pop(name) for name in ("grad", "input", "layer", "target"))
    return [f.linear_cross_entropy_backward(grad, *factors, **given, of=name) for name in names]


def result(f: Any, x: Any, **instead: Any) -> Any:
    """The result of such a call."""
    given = {"input": x.input, "layer": x.layer, "target": x.target, **x.options} | instead
    factors = [given.pop(name) for name in ("input", "layer", "target")]
    return f.linear_cross_entropy(*factors, **given)


def logits_of(x: Any) -> np.ndarray:
    """The logits of what was drawn, exactly."""
    logits = np.tensordot(x.drawn.input, x.drawn.layer, axes=(1, -1))
    return logits + x.drawn.bias if "linear_bias" in x.options else logits


@identity("cross_entropy of the product", NAME, needs=("cross_entropy",))
def of_the_product(f: Any, x: Any) -> Iterator[Pair]:
    logits = f.argument(logits_of(x))
    options = {name: value for name, value in x.options.items() if name != BIAS}
    yield FORWARD, result(f, x), f.cross_entropy(logits, x.target, **options)
    g = f.cross_entropy_backward(x.grad, logits, x.target, **options)
    g = f.xp.reshape(g, (x.input.shape[0], prod(x.layer.shape[:-1])))
    layer = f.xp.reshape(x.layer, (g.shape[1], x.input.shape[1]))
    of_input, of_layer = gradients(f, x)
    yield INPUT, of_input, f.xp.matmul(g, layer)
    yield LAYER, of_layer, f.xp.reshape(f.xp.matmul(f.xp.matrix_transpose(g), x.input), x.layer.shape)


@identity("a feature that all classes share changes nothing", NAME)
def common_shift(f: Any, x: Any) -> Iterator[Pair]:
    """What is added to the rows of the layer is added to all logits of a row alike."""
    moved = f.argument(x.drawn.layer + x.drawn.shift)
    yield FORWARD, result(f, x, layer=moved), result(f, x)
    yield from zip((INPUT, LAYER), gradients(f, x, layer=moved), gradients(f, x), strict=True)


@identity("classes of a layer in another order", NAME)
def order_of_classes(f: Any, x: Any) -> Iterator[Pair]:
    order = x.classes
    target = (
        f.argument(x.drawn.target[:, order])
        if x.drawn.target.dtype.kind == "f"
        else np.where(x.target == IGNORED, IGNORED, np.argsort(order)[np.maximum(x.target, 0)])
    )
    given = {"layer": x.layer[order], "target": target}
    given |= {name: x.options[name][order] for name in ("weight", BIAS) if name in x.options}
    yield FORWARD, result(f, x, **given), result(f, x)
    moved, plain = gradients(f, x, **given), gradients(f, x)
    yield INPUT, moved[0], plain[0]
    yield LAYER, moved[1], plain[1][order]


@identity("features in another order", NAME)
def order_of_features(f: Any, x: Any) -> Iterator[Pair]:
    given = {
        "input": f.argument(x.drawn.input[:, x.drawn.features]),
        "layer": f.argument(x.drawn.layer[..., x.drawn.features]),
    }
    yield FORWARD, result(f, x, **given), result(f, x)
    moved, plain = gradients(f, x, **given), gradients(f, x)
    order = np.argsort(x.features)
    yield INPUT, moved[0][:, order], plain[0]
    yield LAYER, moved[1][..., order], plain[1]


@identity("rows of the input in another order", NAME)
def order_of_rows(f: Any, x: Any) -> Iterator[Pair]:
    each = x.options["reduction"] == "none"
    given = {"input": x.input[x.rows], "target": x.target[x.rows]} | (
        {"grad": x.grad[x.rows]} if each else {}
    )
    moved = result(f, x, **{name: value for name, value in given.items() if name != "grad"})
    yield FORWARD, moved, result(f, x)[x.rows] if each else result(f, x)
    moved, plain = gradients(f, x, **given), gradients(f, x)
    yield INPUT, moved[0], plain[0][x.rows]
    yield LAYER, moved[1], plain[1]


@identity("a sum over chunks of rows", NAME, reduction=("sum", "none"))
def chunks(f: Any, x: Any) -> Iterator[Pair]:
    """Rows in two parts, the second of which has a tail: losses and the gradient of the layer add up."""
    each, half = x.options["reduction"] == "none", x.input.shape[0] // 2 + 1
    parts: list[dict[str, Any]] = []
    for part in (slice(None, half), slice(half, None)):
        given = {"input": x.input[part], "target": x.target[part]}
        parts.append(given | ({"grad": x.grad[part]} if each else {}))
    losses = [result(f, x, input=part["input"], target=part["target"]) for part in parts]
    whole = result(f, x)
    if each:
        yield FORWARD, whole[:half], losses[0]
        yield FORWARD, whole[half:], losses[1]
    else:
        yield FORWARD, whole, losses[0] + losses[1]
    first, second = (gradients(f, x, **part) for part in parts)
    together = gradients(f, x)
    yield INPUT, together[0][:half], first[0]
    yield INPUT, together[0][half:], second[0]
    yield LAYER, together[1], first[1] + second[1]


@identity("a bias is a feature of ones", NAME, biased=(True,))
def bias_as_feature(f: Any, x: Any) -> Iterator[Pair]:
    ones = np.ones((x.input.shape[0], 1))
    given = {
        "input": f.argument(np.concatenate([x.drawn.input, ones], axis=1)),
        "layer": f.argument(np.concatenate([x.drawn.layer, x.drawn.bias[..., None]], axis=-1)),
        "linear_bias": None,
    }
    yield FORWARD, result(f, x, **given), result(f, x)
    (of_feature,), (of_bias,) = gradients(f, x, (LAYER,), **given), gradients(f, x, (BIAS,))
    yield BIAS, of_bias, of_feature[..., -1]


@identity("a feature of zeros changes nothing", NAME)
def zero_feature(f: Any, x: Any) -> Iterator[Pair]:
    zeros = np.zeros((x.input.shape[0], 1))
    given = {
        "input": f.argument(np.concatenate([x.drawn.input, zeros], axis=1)),
        "layer": f.argument(np.concatenate([x.drawn.layer, x.drawn.layer[..., :1]], axis=-1)),
    }
    yield FORWARD, result(f, x, **given), result(f, x)
    wider, plain = gradients(f, x, **given), gradients(f, x)
    yield INPUT, wider[0][:, :-1], plain[0]
    yield LAYER, wider[1][..., -1], 0.0


@identity("positions of a layer are rows", NAME, shapes=((3, 4, 5), (2, 8, 3)), reduction=("none",))
def positions(f: Any, x: Any) -> Iterator[Pair]:
    """Each position has a layer of its own."""
    whole = result(f, x)
    (of_layer,) = gradients(f, x, (LAYER,))
    for position in range(x.layer.shape[1]):
        target = f.argument(np.ascontiguousarray(x.drawn.target[..., position]))
        given = {"layer": x.layer[:, position], "target": target}
        if BIAS in x.options:
            given[BIAS] = x.options[BIAS][:, position]
        yield FORWARD, whole[:, position], result(f, x, **given)
        (alone,) = gradients(f, x, (LAYER,), **given, grad=x.grad[:, position])
        yield LAYER, of_layer[:, position], alone
