"""The verification of loss functions against their definitions, with derived bounds.

`verify` judges one function from Python; ``pytest parity_tests --subject NAME`` judges an implementation of
any of the operators.
"""

from typing import Any

__all__ = ["VerificationError", "Verified", "verify"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # loaded when asked for: what a process is started with must be set before torch is
        from torch_loss_parity import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
