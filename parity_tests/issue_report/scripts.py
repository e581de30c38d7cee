"""An entry of the ledger as scripts that need only torch: each prints what torch returns at the entry's
smallest input, as a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.expectation.second_order import Claim, is_second_order
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS

Lines = Iterator[str]


def scripts_of(entry: Divergence, claim: str, dtype: str) -> Iterator[tuple[str, str]]:
    """Each mode of the entry that can make the claim, and its script; the mode of a plain call is ""."""
    recorded = dict(next(smallest for smallest in entry.smallest if smallest["claim"] == claim))
    dtypes = recorded.pop("dtypes", {})
    given = {name: recorded.pop(name) for name in ("grad_output", "direction") if name in recorded}
    result_dtype = recorded.pop("output_dtype", recorded.get("dtype", dtype))
    del recorded["claim"]
    lines = ["import torch", "from torch.nn import functional as F", ""]
    for name, value in recorded.items():
        if isinstance(value, list):
            real = any(isinstance(x, float) for x in np.asarray(value).reshape(-1).tolist())
            kind = f", dtype=torch.{dtypes.get(name, dtype)}" if real or name in dtypes else ""
            lines.append(f"{name} = torch.tensor({value}{kind})")
    arguments = ", ".join(f"{name}={_argument(name, value)}" for name, value in recorded.items())
    call = f"F.{entry.operators[0]}({arguments})"
    upstream = f"grad_output = torch.tensor({given.get('grad_output')}, dtype=torch.{result_dtype})"
    direction = f"v = torch.tensor({given.get('direction')}, dtype=torch.{dtype})"
    for mode in entry.modes or (SECOND_ORDER if is_second_order(claim) else ("",)):
        body = _body(entry.operators[0], claim, mode, call)
        if body:
            needed = [upstream] * ("grad_output" in " ".join(body)) + [direction] * is_second_order(claim)
            yield mode, "\n".join([*lines, *needed, *body, "print(result.tolist())"])


def _argument(name: str, value: Any) -> str:
    return name if isinstance(value, list) else f"torch.{value}" if name == "dtype" else repr(value)


def _body(operator: str, claim: str, mode: str, call: str) -> list[str]:
    if is_second_order(claim):
        return list(SECOND_ORDER[mode](operator, Claim.parse(claim), call))
    if mode.startswith("under torch.func"):
        if claim == FORWARD:
            return [f"result = torch.func.vjp(lambda input: {call}, input)[0]"]
        gradient = f"torch.func.vjp(lambda {claim}: {call}, {claim})[1](grad_output)[0]"
        if mode.startswith("under torch.func.vmap"):  # of a batch of one
            return [
                f"gradient = lambda {claim}: {gradient}",
                f"result = torch.func.vmap(gradient)({claim}[None])[0]",
            ]
        return [f"result = {gradient}"]
    compiled = []
    if mode.startswith("under torch.compile"):
        backend = mode.removeprefix("under torch.compile with ")
        function, _, arguments = call.partition("(")
        compiled, call = (
            [f"function = torch.compile({function}, backend={backend!r})"],
            f"function({arguments}",
        )
    if claim == FORWARD:
        return [*compiled, f"result = {call}"]
    return [
        f"{claim}.requires_grad_()",
        *compiled,
        f"output = {call}",
        f"result, = torch.autograd.grad(output, {claim}, grad_output)",
    ]


# --- second order: see torch_loss_parity.judging.modes_second_order -----------------------------------------


def _first_and_second(operator: str, claim: Claim) -> tuple[str, str]:
    """The argument whose gradient double backward takes, and what it differentiates by, see
    `second_order.double_backward`.
    """
    if not claim.of:
        return claim.along, "grad_output"
    return (claim.of, claim.along) if OPERATORS[operator].acts_on_elements else (claim.along, claim.of)


def _create_graph(operator: str, claim: Claim, call: str) -> Lines:
    first, by = _first_and_second(operator, claim)
    yield from (f"{name}.requires_grad_()" for name in dict.fromkeys((first, by)))
    yield f"gradient, = torch.autograd.grad({call}, {first}, grad_output, create_graph=True)"
    yield f"result, = torch.autograd.grad(gradient, {by}, v)"


def _vjp_twice(operator: str, claim: Claim, call: str) -> Lines:
    first, by = _first_and_second(operator, claim)
    yield f"gradient = lambda {by}: torch.func.vjp(lambda {first}: {call}, {first})[1](grad_output)[0]"
    yield f"result = torch.func.vjp(gradient, {by})[1](v)[0]"


def _jvp(operator: str, claim: Claim, call: str) -> Lines:
    if not claim.of:
        yield f"result = torch.func.jvp(lambda {claim.along}: {call}, ({claim.along},), (v,))[1]"


def _forward_ad(operator: str, claim: Claim, call: str) -> Lines:
    if not claim.of:
        yield "with torch.autograd.forward_ad.dual_level():"
        yield f"    {claim.along} = torch.autograd.forward_ad.make_dual({claim.along}, v)"
        yield f"    result = torch.autograd.forward_ad.unpack_dual({call}).tangent"


def _jvp_of_vjp(operator: str, claim: Claim, call: str) -> Lines:
    if claim.of:
        yield (
            f"gradient = lambda {claim.along}: torch.func.vjp(lambda {claim.of}: {call}, "
            f"{claim.of})[1](grad_output)[0]"
        )
        yield f"result = torch.func.jvp(gradient, ({claim.along},), (v,))[1]"


SECOND_ORDER: Mapping[str, Callable[[str, Claim, str], Lines]] = {
    "through create_graph": _create_graph,
    "under torch.func.vjp twice": _vjp_twice,
    "under torch.func.jvp": _jvp,
    "under forward_ad": _forward_ad,
    "under torch.func.jvp of vjp": _jvp_of_vjp,
}
