"""Profiles of the arithmetic: what a device or a compiler offers in place of what is demanded of everybody.

A profile is a named set of changes of `Arithmetic`, for each format that is computed in, with its source. It
says what an implementation may do, not what it does: one that stays within less passes all the same.

Note [Half an ulp more]
    The CUDA guide counts ulps from the correctly rounded result, `Arithmetic` from the true value: that is
    half an ulp more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch_loss_parity.reference.arithmetic.formats import TF32, Arithmetic

Changes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Profile:
    """What the arithmetic of a device or of a compiler may do.

    Attributes
    ----------
    name : str
    allows : str
        What it allows, in words.
    source : str
        Where that is written.
    changes : mapping of str to mapping
        For the name of a format that is computed in, the fields of `Arithmetic` that are otherwise. Half
        precision is computed in float32.
    remark : str
        What whoever chooses it should know.
    file : str
        The path that it was read from; none of those that are known by name.
    """

    name: str
    allows: str
    source: str
    changes: Changes = field(default_factory=dict, hash=False)
    remark: str = ""
    file: str = ""

    @property
    def choice(self) -> str:
        """How it is asked for: by name, or by the path of its file."""
        return self.file or self.name

    def applied_to(self, arithmetic: Arithmetic) -> Arithmetic:
        """``arithmetic`` with what this profile says of the format that it computes in."""
        changes = self.changes.get(arithmetic.compute.name)
        return replace(arithmetic, **changes) if changes else arithmetic


_GUIDE = 'CUDA C++ Programming Guide, "Mathematical Functions"'
# See Note [Half an ulp more].
_CUDA_FLOAT32 = {"exp_ulps": 2.5, "log_ulps": 1.5, "log1p_ulps": 1.5}
_CUDA_FLOAT64 = {"exp_ulps": 1.5, "log_ulps": 1.5, "log1p_ulps": 1.5}
_FAST_FLOAT32 = {
    "exp_ulps": 2.5,
    "exp_ulps_per_unit": 1.173,
    "log_ulps": 3.5,
    "log_error_near_one": 2.0**-21.41,
    "log1p_ulps": 1.5,
    "division_ulps": 2.5,
    "flushes_inputs": True,
}
_FAST = (
    "in float32 exp within 2 + floor(1.173 |x|) ulps, log within 2^-21.41 from 1/2 to 2 and 3 ulps "
    "elsewhere, quotients within 2 ulps, subnormal inputs and results as zero; log1p, and float64, as cuda"
)
# Older editions of the guide say 1.16 |x|.

DEFAULT = Profile(
    "default",
    "exp and log within 3 ulps, log1p within 2, tanh within 5, quotients rounded correctly, subnormal "
    "results as zero",
    'OpenCL C specification, "Relative Error as ULPs", full profile',
)
PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        DEFAULT,
        Profile(
            "cuda",
            "exp within 2 ulps, log and log1p within 1 of the rounded result; in float64 all within 1",
            f"{_GUIDE}, Standard Functions: tables of the maximum ulp error, single and double precision",
            {"float32": _CUDA_FLOAT32, "float64": _CUDA_FLOAT64},
        ),
        Profile(
            "cuda-fast",
            _FAST,
            f"{_GUIDE}, Intrinsic Functions: __expf, __logf, __fdividef; -use_fast_math implies -ftz=true",
            {"float32": _FAST_FLOAT32, "float64": _CUDA_FLOAT64},
        ),
        Profile(
            "triton",
            _FAST,
            "Triton's ElementwiseOpToLLVM.cpp for NVIDIA: exp is ex2.approx of x log2(e), as __expf, and a "
            f'quotient is div.full, within 2 ulps by the PTX ISA, "div"; {_GUIDE}, Intrinsic Functions',
            {"float32": _FAST_FLOAT32, "float64": _CUDA_FLOAT64},
        ),
        Profile(
            "flush-to-zero",
            "as default, and subnormal inputs as zero too",
            'Intel 64 and IA-32 Architectures Software Developer\'s Manual, "Flush-To-Zero" and '
            '"Denormals-Are-Zeros"; torch.set_flush_denormal',
            {"float32": {"flushes_inputs": True}, "float64": {"flushes_inputs": True}},
        ),
        Profile(
            "tf32",
            "as default; factors of a matrix product rounded to 11 bits",
            'PyTorch, "CUDA semantics", TensorFloat-32 (TF32) on Ampere (and later) devices',
            {"float32": {"factors": TF32}},
            remark="tf32 concerns matrix products alone: every operator but "
            "linear_cross_entropy is judged as under default",
        ),
    )
}
