"""PyTorch's private API: all that the project uses of it, and what stands in where a release lacks it.

Names that begin with an underscore change without notice. Nobody else uses them, so a release that takes one
away is met here, by one function.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

# Of the variants that dynamo compiles of one function; before torch 2.6 under the names that come second.
LIMIT_NAMES = ("recompile_limit", "cache_size_limit")
LIMITS_OF_ALL_NAMES = ("accumulated_recompile_limit", "accumulated_cache_size_limit")


# --- tensors ------------------------------------------------------------------------------------------------


def writes(tensor: torch.Tensor) -> int:
    """How often autograd saw a tensor written to.

    Uses ``Tensor._version``. Without it: 0, and whoever asks compares the bits alone.
    """
    return 0 if tensor.is_inference() else getattr(tensor, "_version", 0)


def negated_view(tensor: torch.Tensor) -> torch.Tensor:
    """A view whose numbers are those of ``tensor`` with the other sign, once they are read.

    Uses ``torch._neg_view``. Without it: a negated tensor, which is no view.
    """
    return torch._neg_view(tensor) if hasattr(torch, "_neg_view") else -tensor


def memory_is_gone(tensor: torch.Tensor) -> Callable[[], bool]:
    """Says, later, whether the memory of a tensor is no longer held by anything; holds nothing itself.

    Uses ``torch.multiprocessing.reductions.StorageWeakRef``. Without it: a weak reference to the tensor,
    which another tensor of the same memory does not keep alive.
    """
    try:
        from torch.multiprocessing.reductions import StorageWeakRef
    except ImportError:
        reference = weakref.ref(tensor)
        return lambda: reference() is None
    of_memory = StorageWeakRef(tensor.untyped_storage())
    return lambda: bool(of_memory.expired())


if hasattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor"):

    def is_transformed(tensor: torch.Tensor) -> bool:
        """Whether a tensor is one of a transform of torch.func, which has no memory of its own.

        Uses ``torch._C._functorch.is_functorch_wrapped_tensor``. Without it: `has_no_address`.
        """
        return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))

else:

    def is_transformed(tensor: torch.Tensor) -> bool:
        """Whether a tensor is one of a transform of torch.func, which has no memory of its own."""
        return has_no_address(tensor)


def has_no_address(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no memory of its own: what stands in for `is_transformed`."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return True
    return False


def is_mapped(tensor: torch.Tensor) -> bool:
    """Whether vmap runs over a tensor.

    Uses ``torch._C._functorch.is_batchedtensor``. Nothing stands in: faults planted for vmap need it, no
    verdict does.
    """
    return bool(torch._C._functorch.is_batchedtensor(tensor))


def all_slices(tensor: torch.Tensor) -> torch.Tensor:
    """All slices of a tensor that vmap runs over: what a batching rule gets to see.

    Uses ``torch._C._functorch.get_unwrapped``. Nothing stands in, as for `is_mapped`.
    """
    return torch._C._functorch.get_unwrapped(tensor)


# --- the compiler -------------------------------------------------------------------------------------------


def load_compiler() -> None:
    """Load what torch.compile loads when it is first called.

    Uses ``torch._dynamo``. Without it: each process loads it when it needs it.
    """
    with suppress(ImportError):
        importlib.import_module("torch._dynamo")


def _limit(names: tuple[str, ...]) -> str | None:
    return next((name for name in names if hasattr(torch._dynamo.config, name)), None)


def variants_limit() -> int:
    """How many variants of a function dynamo compiles before it goes on in eager mode.

    Uses ``torch._dynamo.config``. Without the setting: 0, no limit that is known.
    """
    name = _limit(LIMIT_NAMES)
    return int(getattr(torch._dynamo.config, name)) if name else 0


@contextmanager
def variants_up_to(limit: int) -> Iterator[None]:
    """Let dynamo compile ``limit`` variants of a function, and of all copies of it.

    Uses ``torch._dynamo.config.patch``. Without the settings: the release's own limit holds; a call beyond it
    is answered by no graph, which the subject ``torch.compile`` reports as an error.
    """
    named: dict[str, Any] = {
        name: limit for names in (LIMIT_NAMES, LIMITS_OF_ALL_NAMES) if (name := _limit(names))
    }
    with ExitStack() as stack:
        if named:
            stack.enter_context(torch._dynamo.config.patch(**named))
        yield


def backend(name: str) -> Callable[..., Callable[..., Any]]:
    """A backend of torch.compile: what makes a function of a graph and its example inputs.

    Uses ``torch._dynamo.lookup_backend``. Nothing stands in: torch.compile takes backends by name, but who
    counts the graphs that run has to call one. Without it the subject ``torch.compile`` raises, and no call
    passes unseen.
    """
    return torch._dynamo.lookup_backend(name)


def untraceable() -> type[Exception]:
    """What dynamo raises for what it cannot trace, where graph breaks are errors.

    Uses ``torch._dynamo.exc.Unsupported``. Without it: RuntimeError, which it is a kind of.
    """
    return getattr(getattr(torch._dynamo, "exc", None), "Unsupported", RuntimeError)


def code_of(function: Callable[..., Any], *arguments: Any, **options: Any) -> list[str]:
    """The source that inductor writes for one call of a compiled function; what its caches hold is not used.

    Uses ``torch._inductor.utils.run_and_get_code``, and ``config.patch`` of ``torch._inductor`` and
    ``torch._functorch``. Nothing stands in: one test of the suite's own needs it.
    """
    from torch._inductor.utils import run_and_get_code  # a second of imports

    with (
        torch._inductor.config.patch(fx_graph_cache=False),
        torch._functorch.config.patch(enable_autograd_cache=False),
    ):
        _, written = run_and_get_code(function, *arguments, **options)
    return list(written)


# --- PyTorch's own tests ------------------------------------------------------------------------------------


def operators_tested() -> list[Any]:
    """PyTorch's records of its operators (OpInfo), which draw sample inputs for its tests; needs expecttest.

    Uses ``torch.testing._internal``. Without it: none, and whoever asks says that nothing was run.
    """
    try:
        from torch.testing._internal.common_methods_invocations import op_db  # takes seconds
    except ImportError:
        return []
    return list(op_db)


def set_cudnn_benchmark(value: bool) -> None:
    """Set ``torch.backends.cudnn.benchmark``, which PyTorch's own test code freezes where it is loaded.

    Uses ``torch._C._set_cudnn_benchmark``. Without it: the attribute, frozen or not.
    """
    setter = getattr(torch._C, "_set_cudnn_benchmark", None)
    if setter is None:
        torch.backends.cudnn.benchmark = value
    else:
        setter(value)
