"""The compilers of torch.compile that functions are run under, and what is said where there is none."""

from __future__ import annotations

INDUCTOR, DECOMPOSED = "inductor", "aot_eager_decomp_partition"
BACKENDS = (DECOMPOSED, INDUCTOR)
UNDER_COMPILE = "under torch.compile"
UNCOMPILABLE = (
    "InvalidCxxCompiler",
    "TritonMissing",
    "Cannot find a working triton",
    "No working C++ compiler",
)


class NoCompiler(Exception):
    """There is nothing on this machine that inductor could compile with; the message says what it misses."""


def compiled_by(backend: str) -> str:
    """The name of the mode in which a backend of torch.compile compiles the calls."""
    return f"{UNDER_COMPILE} with {backend}"
