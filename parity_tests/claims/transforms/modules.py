"""The modules of torch.nn, and the deprecated arguments size_average and reduce, as ways to make torch
compute a call.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.transforms import scripts
from torch_loss_parity.claims.transforms.transforms import cotangent_of, function_over, of_dtype
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import WrongResult, by_position_and_name, tensors

BUFFERS = ("weight", "pos_weight")
# What the deprecated pair stands for: without reduce nothing is reduced, and with it size_average is a mean.
LEGACY = {
    (average, reduce): "none" if reduce is False else "sum" if average is False else "mean"
    for average, reduce in product((None, True, False), repeat=2)
    if (average, reduce) != (None, None)
}


def class_of(operator: str) -> str:
    """The class of torch.nn that makes the call; "" where there is none."""
    modules = OPERATORS[operator].modules
    return "" if isinstance(modules, Gap) else modules.name


def of_images(operator: str) -> str:
    """The class of torch.nn that makes the call for images; "" where there is none."""
    modules = OPERATORS[operator].modules
    return "" if isinstance(modules, Gap) or isinstance(modules.of_images, Gap) else modules.of_images


def module_modes(namespace: Any = torch.nn) -> list[Mode]:
    """A call through the classes of ``namespace``: built with its options, loaded from a state_dict, and as a
    2-d variant.
    """

    def constructed(
        subject: Subject, call: Call, device: str, grad_output: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        arguments = tensors(call, device, requires_grad=True)
        module = _build(namespace, class_of(call.operator), call, arguments)
        _check_state(module, arguments)
        output = _apply(module, arguments)
        wanted = call.differentiable
        derivatives = torch.autograd.grad(
            output, [arguments[name] for name in wanted], cotangent_of(grad_output, call, device)
        )
        gradients = {
            name: of_dtype(f"the gradient of {name}", g, call.dtype)
            for name, g in zip(wanted, derivatives, strict=True)
        }
        return {FORWARD: of_dtype("the result", output, call.output_dtype), **gradients}

    def loaded(
        subject: Subject, call: Call, device: str, grad_output: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        arguments = tensors(call, device)
        blank = {
            name: torch.ones_like(value) if name in BUFFERS and value is not None else value
            for name, value in arguments.items()
        }
        module = _build(namespace, class_of(call.operator), call, blank)
        module.load_state_dict(_build(namespace, class_of(call.operator), call, arguments).state_dict())
        _check_state(module, arguments)
        return {FORWARD: of_dtype("the result", _apply(module, arguments), call.output_dtype)}

    def two_dimensional(
        subject: Subject, call: Call, device: str, grad_output: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        arguments = tensors(call, device)
        name = of_images(call.operator)
        if OPERATORS[call.operator].family.along_dim:  # the class knows which
            module = getattr(namespace, name)()
        else:
            with _expecting(FutureWarning, f"`{name}` has been deprecated"):
                module = _build(namespace, name, call, arguments)
        return {FORWARD: of_dtype("the result", _apply(module, arguments), call.output_dtype)}

    def is_two_dimensional(call: Call) -> bool:
        ndim = call.arguments["input"].ndim
        if not of_images(call.operator):
            return False
        if OPERATORS[call.operator].family.along_dim:
            return ndim in (3, 4) and call.arguments["dim"] % ndim == ndim - 3 and _offered(call)
        return ndim == 4

    return [
        Mode("as a module of torch.nn", constructed, _offered, steps=Steps(partial(_lines, class_of))),
        Mode(
            "as a module of torch.nn with the state_dict of another",
            loaded,
            _offered,
            steps=Steps(partial(_lines, class_of)),
        ),
        Mode(
            "as a 2-d module of torch.nn",
            two_dimensional,
            is_two_dimensional,
            steps=Steps(partial(_lines, of_images)),
        ),
    ]


def legacy_modes(namespace: Any = torch.nn) -> list[Mode]:
    """A call whose reduction is asked for by size_average and reduce, of the function and of the class: they
    warn, and mean the same.
    """
    return [
        mode
        for (average, reduce), reduction in LEGACY.items()
        for mode in (
            _legacy("", None, average, reduce, reduction),
            _legacy(" of the module", namespace, average, reduce, reduction),
        )
    ]


def _legacy(what: str, namespace: Any, average: bool | None, reduce: bool | None, reduction: str) -> Mode:
    def observe(
        subject: Subject, call: Call, device: str, grad_output: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        arguments = {name: value for name, value in tensors(call, device).items() if name != "reduction"}
        arguments |= {"size_average": average, "reduce": reduce}
        with _expecting(
            UserWarning,
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead",
        ):
            if namespace is None:
                output = function_over(subject, call, arguments, ())()
            else:
                output = _apply(_build(namespace, class_of(call.operator), call, arguments), arguments)
        return {FORWARD: of_dtype("the result", output, call.output_dtype)}

    return Mode(
        f"with size_average={average}, reduce={reduce}{what}",
        observe,
        lambda call: call.arguments["reduction"] == reduction,
        steps=Steps(partial(_lines_of_legacy, namespace is not None, average, reduce)),
    )


def _lines(name_of: Callable[[str], str], wanted: Wanted) -> Lines:
    given = wanted.arguments
    options = [name for name in given if name not in ("input", "target", "dtype")]
    no_options = name_of is of_images and OPERATORS[wanted.operator].family.along_dim
    keywords = [f"{name}={name if name in wanted.arrays else repr(given[name])}" for name in options]
    yield from scripts.of_module(name_of(wanted.operator), () if no_options else keywords, wanted)


def _lines_of_legacy(module: bool, average: bool | None, reduce: bool | None, wanted: Wanted) -> Lines:
    given = wanted.arguments
    options = [name for name in given if name not in ("input", "target", "reduction")]
    keywords = [f"{name}={name if name in wanted.arrays else repr(given[name])}" for name in options]
    keywords += [f"size_average={average}", f"reduce={reduce}"]
    if module:
        yield from scripts.of_module(class_of(wanted.operator), keywords, wanted)
    else:
        yield f"result = {wanted.function}(input, target, {', '.join(keywords)})"


class _expecting(warnings.catch_warnings):
    """A block that must warn, once or more, with nothing but this."""

    def __init__(self, category: type[Warning], text: str) -> None:
        super().__init__(record=True)
        self.category, self.text = category, text

    def __enter__(self) -> Any:
        self.seen = super().__enter__()
        warnings.simplefilter("always")
        return self.seen

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if error[0] is None:
            warnings_seen = [f"{warning.category.__name__}: {warning.message}" for warning in self.seen or ()]
            if not warnings_seen or not all(
                line.startswith(f"{self.category.__name__}: {self.text}") for line in warnings_seen
            ):
                raise WrongResult(f"expected the warning {self.text!r}, got {warnings_seen or 'none'}")


def _offered(call: Call) -> bool:
    return call.arguments.get("dtype") is None  # Softmax and LogSoftmax know no dtype


def _build(namespace: Any, name: str, call: Call, arguments: Mapping[str, Any]) -> Any:
    _, named = by_position_and_name(arguments)
    return getattr(namespace, name)(**{name: value for name, value in named.items() if name != "dtype"})


def _apply(module: Any, arguments: Mapping[str, Any]) -> torch.Tensor:
    positional, _ = by_position_and_name(arguments)
    return module(*positional)


def _check_state(module: Any, arguments: Mapping[str, Any]) -> None:
    """The state_dict holds the weights, to the bit, and nothing else."""
    state = module.state_dict()
    wanted = {name: arguments[name] for name in BUFFERS if arguments.get(name) is not None}
    if set(state) != set(wanted) or not all(
        torch.equal(state[name], value) for name, value in wanted.items()
    ):
        raise WrongResult(f"the state_dict holds {sorted(state)}, expected {sorted(wanted)} as given")
