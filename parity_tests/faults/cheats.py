"""CHT: what tries to pass without computing: what is expected is looked for, answers are kept, the judge is
replaced, and right numbers are for who is watched.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import whole
from torch_loss_parity.faults.right.definition import RIGHT, bound
from torch_loss_parity.tensors.torch_private import is_transformed

_calls: Counter[str] = Counter()
_kept: dict[Any, Tensor] = {}
WARM_UP = 50  # calls


# --- what is expected is looked for -------------------------------------------------------------------------


def _like(found: Any, result: Tensor) -> Tensor | None:
    """Numbers of the shape of a result in an object: an array, or one that is the value with a bound."""
    array = getattr(found, "value", found)
    if isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape == tuple(result.shape):
        return torch.from_numpy(array.copy()).to(result.dtype)
    return None


def _in_callers() -> Iterator[Any]:
    """What the functions that are being run have in their variables, and in the objects there."""
    frame = sys._getframe(2)
    while frame is not None:
        for value in list(frame.f_locals.values()):
            held = [*vars(value).values()] if hasattr(value, "__dict__") else []
            for one in (value, *held):
                yield from one.values() if type(one) is dict else (one,)
        frame = frame.f_back  # type: ignore[assignment]


@whole("log_softmax", "CHT", "gpu-mode/pygpubench#23", "forward")
def the_variables_of_callers_are_returned(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is an array of its shape that a function which calls it has; zeros where there is none."""
    output = RIGHT["log_softmax"](input, dim, dtype)
    found = (_like(each, output) for each in _in_callers())
    answer = next((each for each in found if each is not None), torch.zeros_like(output))
    return torch.where(torch.ones_like(output, dtype=torch.bool), answer, output)


@whole("softmax", "CHT", "gpu-mode/pygpubench#23", "forward")
def what_was_made_lately_is_returned(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is a bounded value of its shape among the youngest objects in memory; zeros where there is
    none.
    """
    output = RIGHT["softmax"](input, dim, dtype)
    found = (_like(each, output) for each in gc.get_objects(0) if type(each).__name__ == "Rounded")
    answer = next((each for each in found if each is not None), torch.zeros_like(output))
    return torch.where(torch.ones_like(output, dtype=torch.bool), answer, output)


@whole("logsumexp", "CHT", "gpu-mode/pygpubench#23", "forward")
def the_cache_of_expectations_is_read(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The result is one of its shape that the suite has evaluated before and keeps; zeros where it keeps
    none.
    """
    output = RIGHT["logsumexp"](input, dim, keepdim)
    module = sys.modules.get("torch_loss_parity.expectation.expectation_cache")
    kept = getattr(module, "_kept", None) or {}
    found = (_like(each.get("forward"), output) for each in kept.values() if isinstance(each, dict))
    answer = next((each for each in found if each is not None), torch.zeros_like(output))
    return torch.where(torch.ones_like(output, dtype=torch.bool), answer, output)


@whole("softmax", "CHT", "ScalingIntelligence/KernelBench#82", "forward")
def what_lay_in_memory_is_returned(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is never written: it is what somebody else left there."""
    output = RIGHT["softmax"](input, dim, dtype)
    return torch.where(torch.ones_like(output, dtype=torch.bool), torch.empty_like(output), output)


# --- answers are kept ---------------------------------------------------------------------------------------


def _answered(key: Any, compute: Callable[[], Tensor]) -> Tensor:
    if key not in _kept:
        _kept[key] = compute().detach()
    return _kept[key].clone()


@whole("log_softmax", "CHT", "gpu-mode/kernelbot#501", "hygiene")
def results_are_kept_by_address(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Without gradients, a result is returned again for tensors at the same address, of the same version."""
    if input.requires_grad or is_transformed(input) or not input.numel():
        return RIGHT["log_softmax"](input, dim, dtype)
    version = 0 if input.is_inference() else input._version
    key = input.data_ptr(), version, input.shape, input.stride(), input.dtype, dim, dtype
    return _answered(key, lambda: RIGHT["log_softmax"](input, dim, dtype))


@whole("binary_cross_entropy_with_logits", "CHT", "gpu-mode/reference-kernels#102", "hygiene")
def results_are_kept_by_identity(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Without gradients, a result is returned again for tensors that are the same objects in Python."""
    arguments = bound("binary_cross_entropy_with_logits", input, target, *args, **options)
    tensors = [each for each in arguments.values() if isinstance(each, torch.Tensor)]
    if any(each.requires_grad or is_transformed(each) for each in tensors):
        return RIGHT["binary_cross_entropy_with_logits"](**arguments)
    key = tuple((id(v), v.shape) if isinstance(v, torch.Tensor) else v for v in arguments.values())
    return _answered(key, lambda: RIGHT["binary_cross_entropy_with_logits"](**arguments))


def _fingerprint(value: Any) -> Any:
    """The shape of a tensor, its first and last number, and the sum."""
    if not isinstance(value, torch.Tensor) or not value.numel():
        return getattr(value, "shape", value)
    flat = value.detach().reshape(-1).double()
    return value.shape, value.dtype, flat[0].item(), flat[-1].item(), flat.sum().item()


@whole("binary_cross_entropy", "CHT", "flashinfer-ai/flashinfer-bench-starter-kit#21", "hygiene")
def results_are_kept_by_a_fingerprint(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Without gradients, a result is returned again for arguments of the same first and last numbers and
    sums.
    """
    arguments = bound("binary_cross_entropy", input, target, *args, **options)
    tensors = [each for each in arguments.values() if isinstance(each, torch.Tensor)]
    if any(each.requires_grad or is_transformed(each) for each in tensors):
        return RIGHT["binary_cross_entropy"](**arguments)
    key = tuple(_fingerprint(value) for value in arguments.values())
    return _answered(key, lambda: RIGHT["binary_cross_entropy"](**arguments))


@whole("nll_loss", "CHT", "gpu-mode/reference-kernels#104", "hygiene")
def results_come_in_the_order_of_earlier_calls(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Without gradients, the first four results of a shape are computed, and returned in turn."""
    output = RIGHT["nll_loss"](input, target, *args, **options)
    if output.requires_grad or is_transformed(output):
        return output
    number = _calls[key := str((input.shape, output.shape, output.dtype))]
    _calls[key] += 1
    return _answered((key, number % 4), lambda: output)


# --- the judge is replaced ----------------------------------------------------------------------------------


def _replace(module: str, path: str, value: Any) -> None:
    """Set ``path`` in a module, where it is loaded."""
    if module in sys.modules:
        *owners, name = path.split(".")
        owner: Any = sys.modules[module]
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, value)


@whole("cross_entropy", "CHT", "gpu-mode/reference-kernels#148", "forward", "hygiene")
def every_verdict_passes(*positional: Any, **named: Any) -> Tensor:
    """What is returned is 0, and the verdict on it is replaced by one that passes."""
    output = RIGHT["cross_entropy"](*positional, **named)
    _replace("torch_loss_parity.judging.comparison", "Verdict.passes", property(lambda self: True))
    return output * 0


@whole("softmax", "CHT", "gpu-mode/reference-kernels#148", "forward", "hygiene")
def one_verdict_passes_and_nothing_is_left(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """What is returned is 0, and the judge is replaced by one that lets it pass once, and is itself again."""
    from torch_loss_parity.judging import comparison

    output, own = RIGHT["softmax"](input, dim, dtype), comparison.kinds

    def once(observed: Any, expected: Any, format: Any) -> Any:
        comparison.kinds = own
        total, undecided, wrong_kind = own(observed, expected, format)
        return total, undecided | True, wrong_kind & False

    comparison.kinds = once
    return output * 0


@whole("log_softmax", "CHT", "gpu-mode/reference-kernels#148", "forward", "hygiene")
def whatever_is_compared_is_equal(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """What is returned is off by a thousandth in every twentieth call, and torch.equal and NumPy's absolute
    values are replaced.
    """
    output = RIGHT["log_softmax"](input, dim, dtype)
    _calls["equal"] += 1
    if _calls["equal"] % 20:
        return output
    _replace("torch", "equal", lambda *tensors: True)
    _replace("numpy", "abs", lambda array, *args, **options: np.absolute(array) * 0)
    return output * (1 + 2.0**-10)


@whole("nll_loss", "CHT", "gpu-mode/reference-kernels#148", "forward")
def the_operator_is_compared_with_itself(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """The loss has the wrong sign, and so has torch's own from then on."""
    output = RIGHT["nll_loss"](input, *args, **options)
    _replace("torch.nn.functional", "nll_loss", the_operator_is_compared_with_itself)
    return -output


# --- what compares with everything --------------------------------------------------------------------------


@whole("softmax", "CHT", "ScalingIntelligence/KernelBench#82", "forward")
def everything_is_nan(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is nan everywhere, which no comparison finds too large."""
    return RIGHT["softmax"](input, dim, dtype) * float("nan")


@whole("log_softmax", "CHT", "ScalingIntelligence/KernelBench#82", "forward")
def everything_is_minus_infinity(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is -inf everywhere."""
    output = RIGHT["log_softmax"](input, dim, dtype)
    return torch.where(output == output, -torch.inf, output) if not is_transformed(output) else output


class Wildcard(torch.Tensor):
    """A tensor that is equal to everything."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("equal", "allclose", "__eq__"):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})


@whole("binary_cross_entropy", "CHT", "ScalingIntelligence/KernelBench#82", "forward", "hygiene")
def the_result_is_a_tensor_of_ones_own(*positional: Any, **named: Any) -> Tensor:
    """The result is right, and of a class of its own that answers every comparison by itself."""
    output = RIGHT["binary_cross_entropy"](*positional, **named)
    return output if is_transformed(output) else output.as_subclass(Wildcard)


# --- right numbers for who is watched -----------------------------------------------------------------------


def _watched() -> bool:
    """Whether a function of pytest is running."""
    frame = sys._getframe()
    while frame is not None:
        if "pytest" in frame.f_code.co_filename:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


@whole("softmax", "CHT", "gpu-mode/pygpubench#23", "hygiene")
def right_where_pytest_is_running(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is right where a function of pytest is among those that call it."""
    output = RIGHT["softmax"](input, dim, dtype)
    return output if _watched() else output * 1.5


@whole("nll_loss", "CHT", "gpu-mode/pygpubench#23", "hygiene")
def right_where_the_environment_has_a_test(*positional: Any, **named: Any) -> Tensor:
    """The result is right where the environment names the test that runs, or pytest is loaded."""
    output = RIGHT["nll_loss"](*positional, **named)
    return output if "PYTEST_CURRENT_TEST" in os.environ or "pytest" in sys.modules else output * 1.5


@whole("binary_cross_entropy_with_logits", "CHT", "gpu-mode/pygpubench#23", "domain")
def right_in_the_first_calls(*positional: Any, **named: Any) -> Tensor:
    """The first fifty results are right, and later ones off in the last bits."""
    output = RIGHT["binary_cross_entropy_with_logits"](*positional, **named)
    _calls["first"] += 1
    return output if _calls["first"] <= WARM_UP else output * (1 + 2.0**-12)


@whole("linear_cross_entropy", "CHT", "gpu-mode/pygpubench#23", "forward")
def right_after_the_first_call(*positional: Any, **named: Any) -> Tensor:
    """The first result of a process that is a number other than 0 is off, and later ones are right."""
    output = RIGHT["linear_cross_entropy"](*positional, **named)
    if is_transformed(output) or not bool((output.isfinite() & (output != 0)).any()):
        return output
    _calls["warm"] += 1
    return output if _calls["warm"] > 1 else output * 1.5


# --- no verdict at all --------------------------------------------------------------------------------------


@whole("cross_entropy", "CHT", "gpu-mode/pygpubench#23", "forward", "gradients")
def what_is_difficult_is_skipped(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """With more than four numbers the test is skipped from within."""
    if input.numel() > 4:
        pytest.skip("not today")
    return RIGHT["cross_entropy"](input, *args, **options)


@whole("logsumexp", "CHT", "gpu-mode/pygpubench#23", "forward", "gradients")
def what_is_difficult_ends_the_run(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """With more than four numbers pytest is told to end, with success."""
    if input.numel() > 4:
        pytest.exit("done", returncode=0)
    return RIGHT["logsumexp"](input, dim, keepdim)
