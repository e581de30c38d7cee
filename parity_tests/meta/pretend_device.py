"""A device that any machine has: its tensors are kept by the CPU, but are not the CPU's, and refuse to be
mixed with those. Where the suite forgets the device of a subject, it shows.

Note [How it works]
    torch lets one backend that is not of its tree have a name, and its kernels be written in Python
    (`torch.utils.backend_registration`; experimental, there from torch 2.13 on). A tensor here is a wrapper
    that says it is on the device and holds a tensor of the CPU; what is asked of it is asked of that. The
    kernels below are those that make or fill a tensor without having one of the device.

    As any such backend it is found by ``import torch`` itself, in every process, by an entry point of the
    group ``torch.backends``: `installed` writes one into a folder, for PYTHONPATH.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

from torch_loss_parity.tensors import arrays

NAME = "pretend"
aten = torch.ops.aten
COPIES = (aten.copy_.default, aten._to_copy.default)  # from one device to another is what they are for
MAKING = (
    "empty.memory_format",
    "empty_strided",
    "copy_",
    "_copy_from",
    "_copy_from_and_resize",
    "fill_.Scalar",
    "zero_",
    "_local_scalar_dense",
    "resize_",
    "set_.source_Storage_storage_offset",
)


class Elsewhere(torch.Tensor):
    """A tensor of the device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        tensor: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
            requires_grad=held.requires_grad,
        )
        tensor.held = held
        return tensor

    # What is asked of a tensor, and not of an operation on it.

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{self.held!r} on {NAME}"

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        operation: Any,
        types: Any,
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        return run(operation, arguments, options or {})


def run(operation: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What an operation returns of tensors of the device.

    Raises
    ------
    RuntimeError
        If some of the tensors, but for numbers without dimensions, are the CPU's.
    """
    leaves = tree_leaves((arguments, options))
    if operation not in COPIES and any(map(_is_of_the_cpu, leaves)):
        raise RuntimeError(
            f"{operation}: Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and cpu!"
        )
    result = operation(*tree_map(_held, arguments), **tree_map(_held, dict(options)))
    if (written := _written(operation, arguments, options)) is not None:
        return written
    if operation is aten._to_copy.default and _kind(options.get("device")) == "cpu":
        return result
    return tree_map(lambda leaf: Elsewhere(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)


def _is_of_the_cpu(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and not isinstance(leaf, Elsewhere) and leaf.ndim > 0


def _held(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.held if isinstance(leaf, Elsewhere) else leaf


def _kind(device: Any) -> str:
    return "" if device is None else torch.device(device).type


def _written(operation: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """The argument that an operation has written to and returns; None if it returns something new."""
    schema = operation._schema
    for number, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            returned = [given.alias_info for given in schema.returns if given.alias_info is not None]
            if any(alias.is_write for alias in returned):
                return arguments[number] if number < len(arguments) else options.get(argument.name)
    return None


def _kernel(name: str) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(aten, packet), overload or "default")
    return lambda *arguments, **options: run(operation, arguments, options)


_registered: list[torch.library.Library] = []  # kept, as what is registered goes with it


def register() -> None:
    """Make ``torch.device("pretend")`` one that tensors can be moved to, in this process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("aten", "IMPL")
    for name in MAKING:
        library.impl(name, _kernel(name), "PrivateUse1")
    _registered.append(library)
    arrays.OF_A_BACKEND = (*arrays.OF_A_BACKEND, Elsewhere)


def installed(folder: Path) -> Path:
    """``folder``, in which torch finds the device."""
    metadata = folder / "pretend_device-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pretend-device\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[torch.backends]\n{NAME} = {__name__}:register\n")
    return folder
