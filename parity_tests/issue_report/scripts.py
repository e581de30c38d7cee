"""An entry of the ledger as scripts that need only torch: each prints what torch returns at the entry's
smallest input, as a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from torch_loss_parity.claims.modes.directional import CREATE_GRAPH, FORWARD_AD, JVP, JVP_OF_VJP, VJP_TWICE
from torch_loss_parity.claims.transforms.compilers import BACKENDS, compiled_by
from torch_loss_parity.claims.transforms.transforms import GRAD, JACREV, PER_SAMPLE, VJP, VMAP
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS

Lines = Iterator[str]
Writer = Callable[[str, Quantity, str], Lines]  # of an operator, a quantity and a call
PLAIN = ""  # the mode of a plain call


def scripts_of(entry: Divergence, quantity: str, dtype: str) -> Iterator[tuple[str, str]]:
    """Each mode of the entry in which the quantity is computed, and its script."""
    recorded = dict(next(smallest for smallest in entry.smallest if smallest["quantity"] == quantity))
    dtypes = recorded.pop("dtypes", {})
    given = {name: recorded.pop(name) for name in ("grad_output", "direction") if name in recorded}
    result_dtype = recorded.pop("output_dtype", recorded.get("dtype", dtype))
    del recorded["quantity"]
    function = OPERATORS[entry.operators[0]].function.replace("torch.nn.functional.", "F.")
    imported = ["from torch.nn import functional as F"] if function.startswith("F.") else []
    lines = ["import torch", *imported, ""]
    for name, value in recorded.items():
        if isinstance(value, list):
            real = any(isinstance(x, float) for x in np.asarray(value).reshape(-1).tolist())
            kind = f", dtype=torch.{dtypes.get(name, dtype)}" if real or name in dtypes else ""
            lines.append(f"{name} = torch.tensor({value}{kind})")
    arguments = ", ".join(f"{name}={_argument(name, value)}" for name, value in recorded.items())
    call = f"{function}({arguments})"
    upstream = f"grad_output = torch.tensor({given.get('grad_output')}, dtype=torch.{result_dtype})"
    direction = f"v = torch.tensor({given.get('direction')}, dtype=torch.{dtype})"
    parsed = Quantity.parse(quantity)
    in_direction = bool(parsed.along)
    for mode in entry.modes or (IN_DIRECTION if in_direction else (PLAIN,)):
        body = list(WRITERS[mode](entry.operators[0], parsed, call))
        if body:
            needed = [upstream] * ("grad_output" in " ".join(body)) + [direction] * in_direction
            yield mode, "\n".join([*lines, *needed, *body, "print(result.tolist())"])


def _argument(name: str, value: Any) -> str:
    return name if isinstance(value, list) else f"torch.{value}" if name == "dtype" else repr(value)


# --- first order: see torch_loss_parity.claims.transforms ---------------------------------------------------


def _plain(operator: str, quantity: Quantity, call: str) -> Lines:
    if not quantity.of:
        yield f"result = {call}"
        return
    yield f"{quantity.of}.requires_grad_()"
    yield f"output = {call}"
    yield f"result, = torch.autograd.grad(output, {quantity.of}, grad_output)"


def _compiled(backend: str, operator: str, quantity: Quantity, call: str) -> Lines:
    function, _, arguments = call.partition("(")
    first, *rest = _plain(operator, quantity, f"function({arguments}")
    compiled = f"function = torch.compile({function}, backend={backend!r})"
    yield from (first, compiled, *rest) if rest else (compiled, first)


def _vjp(operator: str, quantity: Quantity, call: str) -> Lines:
    if not quantity.of:
        yield f"result = torch.func.vjp(lambda input: {call}, input)[0]"
    else:
        yield f"result = {_pulled_back(quantity.of, call)}"


def _of_a_batch_of_one(operator: str, quantity: Quantity, call: str) -> Lines:
    if not quantity.of:
        yield from _vjp(operator, quantity, call)
        return
    yield f"gradient = lambda {quantity.of}: {_pulled_back(quantity.of, call)}"
    yield f"result = torch.func.vmap(gradient)({quantity.of}[None])[0]"


def _pulled_back(name: str, call: str) -> str:
    return f"torch.func.vjp(lambda {name}: {call}, {name})[1](grad_output)[0]"


# --- second order: see torch_loss_parity.claims.modes.second_order -----------------------------------------


def _first_and_second(operator: str, quantity: Quantity) -> tuple[str, str]:
    """The argument whose gradient double backward takes, and what it differentiates by, see
    `second_order.double_backward`.
    """
    if not quantity.of:
        return quantity.along, "grad_output"
    pair = quantity.along, quantity.of
    return pair[::-1] if OPERATORS[operator].acts_on_elements else pair


def _create_graph(operator: str, quantity: Quantity, call: str) -> Lines:
    first, by = _first_and_second(operator, quantity)
    yield from (f"{name}.requires_grad_()" for name in dict.fromkeys((first, by)))
    yield f"gradient, = torch.autograd.grad({call}, {first}, grad_output, create_graph=True)"
    yield f"result, = torch.autograd.grad(gradient, {by}, v)"


def _vjp_twice(operator: str, quantity: Quantity, call: str) -> Lines:
    first, by = _first_and_second(operator, quantity)
    yield f"gradient = lambda {by}: torch.func.vjp(lambda {first}: {call}, {first})[1](grad_output)[0]"
    yield f"result = torch.func.vjp(gradient, {by})[1](v)[0]"


def _jvp(operator: str, quantity: Quantity, call: str) -> Lines:
    if not quantity.of:
        yield f"result = torch.func.jvp(lambda {quantity.along}: {call}, ({quantity.along},), (v,))[1]"


def _forward_ad(operator: str, quantity: Quantity, call: str) -> Lines:
    if not quantity.of:
        yield "with torch.autograd.forward_ad.dual_level():"
        yield f"    {quantity.along} = torch.autograd.forward_ad.make_dual({quantity.along}, v)"
        yield f"    result = torch.autograd.forward_ad.unpack_dual({call}).tangent"


def _jvp_of_vjp(operator: str, quantity: Quantity, call: str) -> Lines:
    if quantity.of:
        yield (
            f"gradient = lambda {quantity.along}: torch.func.vjp(lambda {quantity.of}: {call}, "
            f"{quantity.of})[1](grad_output)[0]"
        )
        yield f"result = torch.func.jvp(gradient, ({quantity.along},), (v,))[1]"


IN_DIRECTION: Mapping[str, Writer] = {
    CREATE_GRAPH: _create_graph,
    VJP_TWICE: _vjp_twice,
    JVP: _jvp,
    FORWARD_AD: _forward_ad,
    JVP_OF_VJP: _jvp_of_vjp,
}
WRITERS: Mapping[str, Writer] = {
    PLAIN: _plain,
    **{compiled_by(backend): partial(_compiled, backend) for backend in BACKENDS},
    **dict.fromkeys((VJP, GRAD, JACREV), _vjp),
    **dict.fromkeys((VMAP, PER_SAMPLE), _of_a_batch_of_one),
    **IN_DIRECTION,
}
