"""The vector code of the CPU that an audit compares: what torch chose, and what it can be told to keep to."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from torch_loss_parity.processes import machine

CAPABILITY = "ATEN_CPU_CAPABILITY"
# Of each kind of processor, as torch names them. Those of x86 hold what is before them; the others are
# vectors of one length each, after what every processor has.
X86, ARM = ("default", "avx2", "avx512"), ("default", "sve128", "sve256")
CAPABILITIES = {"x86_64": X86, "amd64": X86, "aarch64": ARM}


def capabilities(kind: str = platform.machine()) -> tuple[str, tuple[str, ...], Mapping[str, str]]:
    """The capability in force, the others that torch can be told to keep to, and why not the rest.

    Parameters
    ----------
    kind : str
        The kind of processor.
    """
    in_force = machine.capability()
    name = in_force.lower()
    names = CAPABILITIES.get(kind.lower(), (name,))
    if name not in names:
        return in_force, (), dict.fromkeys(names, f"torch works with {in_force} on this processor")
    known = f"this processor has {in_force}{' at most' if names is X86 else ''}"
    if CAPABILITY in os.environ:
        known = f"{CAPABILITY} is set to {os.environ[CAPABILITY]}"
    below = names[: names.index(name)]
    others = below if names is X86 else below[:1]
    rest = (each for each in names if each not in (name, *others))
    return name, others, dict.fromkeys(rest, f"{known}, as far as torch can use it")
