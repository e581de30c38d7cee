"""What a subject says it does not offer, as opposed to what it gets wrong."""

from __future__ import annotations

# Of a loss of a layer: its steps were written for one dtype, and autocast makes some of another.
TWO_DTYPES = "under autocast its steps have two dtypes"
# How torch puts what the author of a function did not write, or ruled out, by what it is that is missing.
LIMITS = {
    "autocast": (TWO_DTYPES,),
    "double_backward": (
        "marked with @once_differentiable",
        "does not currently support double backward",
        # torch.compile: a backward pass may overwrite what it was given, and retains no graph.
        "was compiled with non-empty donated buffers",
    ),
    "forward_mode": (
        "You must implement the jvp function for custom autograd.Function",
        "does not support it because it has not been implemented yet",
    ),
    "transforms": (
        "In order to use an autograd.Function with functorch transforms",
        "but it does not have vmap support",
        # A transform's tensor, handed to another library.
        "Cannot access data pointer of Tensor that doesn't have storage",
        "Can't call numpy() on Tensor that requires grad",
        "(compiled_fn) function from eager mode is not supported",  # torch.compile, under torch.func
        # ... attempting to use a Tensor in some data-dependent control flow, or calling .item()
        "vmap: It looks like you're",
        # ... operators that can support dynamic shape: indexing with a mask
        "vmap: We do not support batching operators",
    ),
}
# Of a gradient that is differentiated once more: it came from elsewhere. Of a result, this would be a
# gradient that is missing.
NO_SECOND_DERIVATIVE = "does not require grad and does not have a grad_fn"


class NotOffered(NotImplementedError):
    """The subject raised `NotImplementedError`: it does not offer what it was asked for."""


UNSEEN = "not observed: "


class NotObserved(NotOffered):
    """A file of observations stands for the subject, and does not hold the call."""

    def __init__(self, why: str) -> None:
        super().__init__(UNSEEN + why)


OUTSIDE = "outside the promise: "


class OutsideThePromise(NotOffered):
    """The call lies outside what the subject promises; it was not made."""

    def __init__(self, which: str) -> None:
        super().__init__(OUTSIDE + which)


def is_declined(error: BaseException) -> bool:
    """Whether an exception says that something is not offered."""
    return isinstance(error, NotImplementedError) or bool(missing_in(str(error)))


def missing_in(reason: str) -> str:
    """Which of `LIMITS` a reason speaks of; empty where it is none of them."""
    return next((name for name, said in LIMITS.items() if any(each in reason for each in said)), "")


def reason_of(error: BaseException) -> str:
    """Why something is not offered, in one line."""
    message = str(error).strip()
    return message.splitlines()[0] if message else f"it raises {type(error).__name__}"
