"""What ways cost: how much more than the definition's bound each accepts, measured over the domain.

    python -m torch_loss_parity.reports.ways --check      # or --write

``--check`` fails if the catalogue in reference/ways/README.md says anything else. Two factors are measured
for each way. That of an element is the largest ratio of the way's bound to the definition's: it is large
where a form loses an element that the definition keeps. That of a result is the ratio of the largest bounds
in it, an ulp of its largest number added to both: by how much the way widens what is accepted of the whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import expected, grad_output_of
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.linear_cross_entropy import linear
from torch_loss_parity.reference.ways import Way
from torch_loss_parity.reports import readme

SECTION = "catalogue"
EVERYTHING = 1e9  # more than all digits of a number


def every_way() -> tuple[Way, ...]:
    """The ways of every operator."""
    return tuple(way for operator in OPERATORS.values() for way in each(operator.ways))


@cache
def calls(name: str, *, long: bool = False, dtype: str = "float32") -> tuple[tuple[Call, np.ndarray], ...]:
    operator = OPERATORS[name]
    cases = (long_cases if long else small_cases)(operator)
    drawn = [operator.call(replace(case, dtype=dtype)) for case in cases]
    drawn += [confident(call) for call in drawn if operator.targets_classes]
    drawn = [call for call in drawn if not call.arguments.get("dtype")]
    rng = np.random.default_rng(5)
    with_upstream = []
    for call in drawn:
        shape = operator.result_shape(call.arguments)
        with_upstream.append((call, grad_output_of(call, shape, rng)))
        dim = call.arguments.get("dim")
        if shape and shape == call.arguments["input"].shape and isinstance(dim, int):
            with_upstream.append((call, unlike_in_one_place(shape, dim)))
    return tuple(with_upstream)


def unlike_in_one_place(shape: tuple[int, ...], dim: int) -> np.ndarray:
    """An upstream gradient of 1 in the first place of each row, and 0 elsewhere."""
    upstream = np.zeros(shape)
    np.moveaxis(upstream, dim, 0)[:1] = 1.0
    return upstream


def extended_calls(name: str) -> Iterator[tuple[Call, np.ndarray]]:
    """Every other small call, with what kernels take beside torch's arguments: no part of what ways cost."""
    extensions = OPERATORS[name].extensions
    for number, (call, grad_output) in enumerate(calls(name)[::2] if extensions else ()):
        chosen = {name: values[number % len(values)] for name, values in extensions.items()}
        yield replace(call, arguments={**call.arguments, **chosen}), grad_output


def small_cases(operator: Operator) -> Iterator[Case]:
    """Cases of every option's values, each distribution, small shapes, in float32."""
    shapes = [shape for shape in operator.shapes if 0 < np.prod(shape) <= 64]
    names = [*operator.values, *operator.domain.values]
    lists = [[(name, value) for value in values] for name, values in operator.options.items()]
    rng = np.random.default_rng(3)
    for number, values in enumerate(names * 3):
        options = dict(each[rng.integers(len(each))] for each in lists)
        yield operator.case("float32", shapes[number % len(shapes)], values, options, number)


def long_cases(operator: Operator) -> Iterator[Case]:
    """Long reductions, and many losses that are added up, integers among them."""
    for shape, options in operator.sizes:
        if np.prod(shape) <= (2**18 if "values" in options else 2**12):
            given = dict(options)
            values = given.pop("values", next(iter(operator.values)))
            yield operator.case("float32", shape, values, given, 7)
            if "values" in options:  # and a number that division does not leave integers of
                yield operator.case("float32", (1000, *shape[1:]), values, given, 7)
    if "dim" in operator.options:
        yield operator.case("float32", (3, 2047), operator.domain.marked, {"dim": 1}, 7)


def confident(call: Call) -> Call:
    """The call with each row's largest class for its target, and a gap of 10 to the others: where a loss is
    small.
    """
    x, target = call.arguments["input"], call.arguments["target"]
    if target.dtype.kind == "f":
        return call
    if "linear_weight" in call.arguments:
        return _confident_of_a_product(call)
    dim = 0 if x.ndim == 1 else 1
    largest = np.argmax(x, axis=dim, keepdims=True)
    at_largest = np.arange(x.shape[dim]).reshape((-1,) + (1,) * (x.ndim - dim - 1)) == largest
    counted = target != call.arguments["ignore_index"]
    target = np.where(counted, np.squeeze(largest, axis=dim), target)
    return replace(call, arguments={**call.arguments, "input": x + 10.0 * at_largest, "target": target})


def _confident_of_a_product(call: Call) -> Call:
    """The same of logits that are a product: the targets alone."""
    factors = (call.arguments[name] for name in ("input", "linear_weight", "linear_bias"))
    with np.errstate(all="ignore"):
        logits = linear(*factors)
    largest = np.argmax(logits, axis=0 if logits.ndim == 1 else 1)
    target = call.arguments["target"]
    target = np.where(target != call.arguments["ignore_index"], largest, target)
    return replace(call, arguments={**call.arguments, "target": target})


@dataclass(frozen=True)
class Cost:
    """By what factor a way widens the definition's bound: of an element, and of a whole result."""

    of_an_element: float
    of_a_result: float


@cache
def by_definition(operator: str, gives: str, dtype: str, number: int) -> Mapping[str, tuple[Any, Any]]:
    """Of one of all calls the definition's bound on each quantity, and its value."""
    call, grad_output = every_call(operator, dtype)[number]
    of_call = bounds_of(call, gives, grad_output)
    return {name: (bound.total_error(), bound.nearest) for name, bound in of_call.items()}


@cache
def every_call(operator: str, dtype: str) -> tuple[tuple[Call, np.ndarray], ...]:
    """Small and long calls."""
    return (*calls(operator, dtype=dtype), *calls(operator, long=True, dtype=dtype))


def bounds_of(
    call: Call, gives: str, grad_output: np.ndarray, function: Callable[..., Any] | None = None
) -> Mapping[str, Rounded]:
    """The bounds on what a way of a result or of gradients gives; one evaluation serves all gradients, which
    are stored alike.
    """
    if gives == "result":
        return expected(call, (FORWARD,), function=function)
    names = call.differentiable
    return expected(call, names, grad_output, function=function) if names else {}


def costs(way: Way) -> Iterator[Cost]:
    """The factors of each call and quantity, small calls first, where the definition's bound is finite."""
    dtype = "bfloat16" if way.in_half_precision else "float32"
    for number, (call, grad_output) in enumerate(every_call(way.operator, dtype)):
        of_way = bounds_of(call, way.gives, grad_output, way.function)
        definition = by_definition(way.operator, way.gives, dtype, number)
        for quantity, (best, values) in definition.items():
            weaker = of_way[quantity].total_error()
            best, weaker, values = np.broadcast_arrays(best, weaker, values)
            known = (best > 0) & np.isfinite(best)
            with np.errstate(all="ignore"):
                ratios = np.where(known, weaker / best, 0.0)
            of_a_result = 0.0
            if known.any() and np.isfinite(weaker[known]).all():
                ulp = float(FORMATS[dtype].spacing(np.max(np.abs(values[known]))))
                of_a_result = (float(np.max(weaker[known])) + ulp) / (float(np.max(best[known])) + ulp)
            yield Cost(float(np.max(ratios, initial=0.0)), of_a_result)


def cost(way: Way) -> Cost:
    """The largest factors over all calls."""
    every = list(costs(way))
    return Cost(
        max((of_call.of_an_element for of_call in every), default=0.0),
        max((of_call.of_a_result for of_call in every), default=0.0),
    )


def catalogue() -> str:
    """The table of every way, in Markdown."""
    lines = [
        "| operator | way | of its | grade | element | result | loses in | who ships it |",
        "|---|---|---|---|---:|---:|---|---|",
    ]
    for way in every_way():
        measured = cost(way)
        lines.append(
            f"| {way.operator} | `{way.name.replace('|', chr(92) + '|')}` | {way.gives} | {way.grade} "
            f"| {_factor(measured.of_an_element)} | {_factor(measured.of_a_result)} "
            f"| {way.loses.replace('|', chr(92) + '|')} | {way.ships} |"
        )
    return "\n".join(lines)


def _factor(factor: float) -> str:
    """Two digits; more than any number has are all of them."""
    return "all digits" if factor > EVERYTHING else f"{factor:.2g}" if factor < 100 else f"{factor:.1e}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write the catalogue")
    what.add_argument("--check", action="store_true", help="fail if it says anything else")
    options = parser.parse_args(arguments)
    document = catalogue()
    if options.write:
        readme.write(SECTION, document)
        return 0
    differences = readme.drift(SECTION, document, "the ways")
    print("\n".join(differences))
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
