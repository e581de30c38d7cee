"""The verification of loss functions against their definitions, with derived bounds.

What is public is here; everything else may change from one version to the next.

`verify`
    Judges one function: values and gradients, over the whole of its operator's domain.
`assert_close_to_truth`
    In a test of your own: a result, and gradients, are as close to the truth as rounding allows.
`compare`
    Two results of one call, and the truth: who is nearer to it?
`reference`
    The definitions and their derivatives, on NumPy arrays and torch tensors.
`Verified`, `VerificationError`, `Compared`
    What `verify` and `compare` return and raise.

From a shell: ``torch-loss-parity --help``. With pytest: ``pytest --pyargs torch_loss_parity --subject NAME``
judges an implementation of any of the operators, and the fixture ``parity_verify`` is `verify`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_loss_parity import reference
    from torch_loss_parity.api import VerificationError, Verified, verify
    from torch_loss_parity.judging.assertion import assert_close_to_truth
    from torch_loss_parity.judging.two_results import Compared, compare

    __version__: str

__all__ = [
    "Compared",
    "VerificationError",
    "Verified",
    "__version__",
    "assert_close_to_truth",
    "compare",
    "reference",
    "verify",
]

# Where each is, loaded when it is asked for: what a process is started with must be set before torch is.
_PLACES = {
    "Compared": "torch_loss_parity.judging.two_results",
    "VerificationError": "torch_loss_parity.api",
    "Verified": "torch_loss_parity.api",
    "assert_close_to_truth": "torch_loss_parity.judging.assertion",
    "compare": "torch_loss_parity.judging.two_results",
    "verify": "torch_loss_parity.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("torch-loss-parity")
    if name == "reference":
        return import_module("torch_loss_parity.reference")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
