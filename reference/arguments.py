"""What the operators accept: every refusal in one place, with the exception type that PyTorch raises.

A message names the argument, the value that was given and what is allowed.
"""

from __future__ import annotations

import operator
from math import inf, prod
from typing import Any

from torch_loss_parity.reference.namespaces import array_namespace, is_array

REDUCTIONS = ("none", "mean", "sum")
_NOT_REAL = ("bool", "integral", "complex floating")


def namespace(**arrays: Any) -> Any:
    """The array-API namespace that the arrays share; arguments that are None are left out.

    Raises
    ------
    TypeError
        If an argument is not an array, or the arrays belong to different libraries.
    """
    given = {name: array for name, array in arrays.items() if array is not None}
    for name, array in given.items():
        if not is_array(array):
            raise TypeError(
                f"{name} must be an array (NumPy, torch or any array-API library), not {type(array).__name__}"
            )
    try:
        return array_namespace(*given.values())
    except TypeError as error:
        kinds = ", ".join(
            f"{name} is {type(array).__module__}.{type(array).__name__}" for name, array in given.items()
        )
        raise TypeError(f"the arguments must be arrays of one library, but {kinds}") from error


def check_real(xp: Any, name: str, array: Any) -> None:
    """Raise NotImplementedError unless ``array`` is real-valued."""
    if xp.isdtype(array.dtype, _NOT_REAL):
        raise NotImplementedError(f"{name} has dtype {array.dtype}; it must be real floating point")


def check_reduction(reduction: str) -> None:
    """Raise ValueError unless ``reduction`` is one of 'none', 'mean' and 'sum'."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; it must be 'none', 'mean' or 'sum'")


def check_label_smoothing(label_smoothing: float) -> None:
    """Raise RuntimeError unless ``0 <= label_smoothing <= 1``, and TypeError if it is no real number."""
    try:
        inside = 0.0 <= label_smoothing <= 1.0
    except TypeError as error:
        raise TypeError(
            f"label_smoothing is {label_smoothing!r}; it must be a number between 0 and 1"
        ) from error
    if not inside:
        raise RuntimeError(f"label_smoothing is {label_smoothing!r}; it must be between 0 and 1")


def check_z_loss(z_loss: float) -> None:
    """Raise RuntimeError unless ``z_loss`` is finite and not negative, and TypeError if it is no number."""
    try:
        inside = 0.0 <= z_loss < inf
    except TypeError as error:
        raise TypeError(f"z_loss is {z_loss!r}; it must be a number, 0 or more") from error
    if not inside:
        raise RuntimeError(f"z_loss is {z_loss!r}; it must be 0 or more, and finite")


def check_softcap(softcap: float | None) -> None:
    """Raise RuntimeError unless ``softcap`` is None, or finite and above 0; TypeError if it is no number."""
    try:
        inside = softcap is None or 0.0 < softcap < inf
    except TypeError as error:
        raise TypeError(f"softcap is {softcap!r}; it must be a number above 0, or None") from error
    if not inside:
        raise RuntimeError(f"softcap is {softcap!r}; it must be above 0, and finite")


def check_ignore_index(ignore_index: int) -> None:
    """Raise TypeError unless ``ignore_index`` is an integer, and ValueError unless 64 bits hold it."""
    if isinstance(ignore_index, bool) or not hasattr(ignore_index, "__index__"):
        raise TypeError(f"ignore_index is {ignore_index!r}; it must be an integer")
    if not -(2**63) <= operator.index(ignore_index) < 2**63:
        raise ValueError(f"ignore_index is {ignore_index}; 64 bits must hold it")


def normalized_dim(dim: Any, ndim: int) -> int:
    """``dim`` counted from the front; a 0-d array counts as one dimension.

    Raises
    ------
    TypeError
        If ``dim`` is not an integer.
    IndexError
        If ``dim`` is out of range.
    """
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"dim is {dim!r}; it must be an integer")
    dim = operator.index(dim)
    dims = max(ndim, 1)
    if not -dims <= dim < dims:
        raise IndexError(
            f"dim is {dim}; it must be between {-dims} and {dims - 1} for an input of {ndim} dimensions"
        )
    return dim % dims


def normalized_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """One dimension or several, counted from the front, in ascending order.

    Raises
    ------
    TypeError
        If ``dim`` holds anything but integers.
    IndexError
        If a dimension is out of range.
    RuntimeError
        If there is none, or one is named twice.
    """
    given = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    dims = sorted(normalized_dim(each, ndim) for each in given)
    if not dims:
        raise RuntimeError("dim is (); it must name at least one dimension")
    if len(set(dims)) < len(dims):
        raise RuntimeError(f"dim is {dim!r}; it must name each dimension once")
    return tuple(dims)


def class_dim(input: Any, refusal: type[Exception] = ValueError) -> int:
    """The dimension that holds the classes: the only one of (C), the second of (N, C, d1, ..., dk).

    Raises
    ------
    ValueError, or what ``refusal`` says
        If ``input`` has no dimension.
    """
    if input.ndim == 0:
        raise refusal("input has shape (); it must be (C), (N, C) or (N, C, d1, ..., dk)")
    return 0 if input.ndim == 1 else 1


def check_class_weight(xp: Any, weight: Any, input: Any, *, same_dtype: bool = True) -> None:
    """Raise RuntimeError unless ``weight`` is None or holds one real number, of input's dtype if asked for,
    for each class.
    """
    if weight is None:
        return
    classes = input.shape[class_dim(input)]
    if tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"weight has shape {tuple(weight.shape)}; it must be ({classes},), one weight for "
            f"each class of input"
        )
    if same_dtype and weight.dtype != input.dtype:
        raise RuntimeError(f"weight has dtype {weight.dtype}; it must have the dtype of input, {input.dtype}")
    if xp.isdtype(weight.dtype, "complex floating"):
        raise RuntimeError(f"weight has dtype {weight.dtype}; it must be real")


def class_indices(xp: Any, input: Any, target: Any, ignore_index: int) -> Any:
    """Class indices for an input of shape (C), (N, C) or (N, C, d1, ..., dk): int64, one for each row.

    Raises
    ------
    ValueError
        If the numbers of rows differ: ``target`` is 1-D but not of size 1, or the batch sizes differ.
    RuntimeError
        If ``target`` is not of an integer dtype, or the other dimensions differ.
    IndexError
        If an index is neither a class nor ``ignore_index``.
    """
    if not xp.isdtype(target.dtype, "integral"):
        raise RuntimeError(f"target has dtype {target.dtype}; class indices must be of an integer dtype")
    dim = class_dim(input)
    shape, given = tuple(input.shape), tuple(target.shape)
    expected = shape[:dim] + shape[dim + 1 :]
    # Torch takes (1,) for the target of a single row.
    if given != expected and not (given == (1,) and expected == ()):
        message = f"target has shape {given}; for an input of shape {shape} it must be {expected}"
        other_rows = given[:1] != expected[:1] if expected else len(given) == 1
        raise ValueError(message) if other_rows else RuntimeError(message)
    # ignore_index may be out of a narrow dtype's range.
    target = xp.astype(xp.reshape(target, expected), xp.int64)
    classes = shape[dim]
    outside = (target != ignore_index) & ((target < 0) | (target >= classes))
    if prod(given) and bool(xp.any(outside)):
        indices = xp.reshape(target, (-1,)), xp.reshape(outside, (-1,))
        first = next(int(value) for value, out in zip(*indices, strict=True) if bool(out))
        raise IndexError(
            f"target holds {first}; it must be between 0 and {classes - 1}, or ignore_index ({ignore_index})"
        )
    return target


def check_same_shape(input: Any, target: Any) -> None:
    """Raise ValueError unless ``target`` has the shape of ``input``."""
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(
            f"target has shape {tuple(target.shape)}; it must have the shape of input, {tuple(input.shape)}"
        )


def check_broadcasts(xp: Any, name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise RuntimeError unless ``array`` is None, or real and broadcasts to ``shape`` without
    enlarging it.
    """
    if array is None:
        return
    if xp.isdtype(array.dtype, "complex floating"):
        raise RuntimeError(f"{name} has dtype {array.dtype}; it must be real")
    given = tuple(array.shape)
    fits = len(given) <= len(shape) and all(
        a in (1, b) for a, b in zip(given[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise RuntimeError(f"{name} has shape {given}; it must broadcast to the shape of input, {shape}")


def check_probabilities(xp: Any, name: str, array: Any) -> None:
    """Raise RuntimeError unless every element lies in [0, 1]; nan does not."""
    inside = (array >= 0) & (array <= 1)
    if not bool(xp.all(inside)):
        elements = xp.reshape(array, (-1,)), xp.reshape(inside, (-1,))
        first = next(value for value, ok in zip(*elements, strict=True) if not bool(ok))
        raise RuntimeError(f"{name} holds {float(first)!r}; every element must be between 0 and 1")
