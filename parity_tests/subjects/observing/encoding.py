"""Values as JSON, and the arrays in them by digests of what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble

Keep = Callable[[np.ndarray], str]  # an array, kept under the digest that it returns
Load = Callable[[str], np.ndarray]  # the array of a digest
DIGEST = 16  # bytes
# A call without its facts, which the ledger asks about: what a subject is given does not depend on them.
OF_A_CALL = ("operator", "dtype", "output_dtype", "differentiable", "dtypes", "arguments")


class NoData(TypeError):
    """A value that is no data: it cannot be written down."""


def digest_of(array: np.ndarray) -> str:
    """The digest of an array: of its dtype, its shape and its bits."""
    hashed = hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=DIGEST)
    hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def key_of(value: Any) -> str:
    """The digest of a value with everything in it."""
    text = json.dumps(encoded(value, digest_of), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST).hexdigest()


def encoded(value: Any, keep: Keep) -> Any:
    """A value as JSON has it; what JSON has not is a mapping from its kind.

    Raises
    ------
    NoData
        If it is, or holds, what is no data.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufc":
            raise NoData(f"an array of {value.dtype} cannot be written down")
        return {"array": keep(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, DoubleDouble):
        return {"double_double": [encoded(np.asarray(value.high), keep), encoded(value.low, keep)]}
    if isinstance(value, Call):
        return {"call": [encoded(getattr(value, name), keep) for name in OF_A_CALL]}
    if isinstance(value, tuple):
        return {"tuple": [encoded(each, keep) for each in value]}
    if isinstance(value, list):
        return [encoded(each, keep) for each in value]
    if isinstance(value, Mapping):
        return {"mapping": [[name, encoded(each, keep)] for name, each in value.items()]}
    raise NoData(f"a {type(value).__name__} cannot be written down")


def decoded(data: Any, load: Load) -> Any:
    """The value that `encoded` has written."""
    if isinstance(data, list):
        return [decoded(each, load) for each in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind == "array":
        return load(content)
    if kind == "mapping":
        return {name: decoded(each, load) for name, each in content}
    values = decoded(content, load)
    if kind == "call":
        return Call(**dict(zip(OF_A_CALL, values, strict=True)))
    if kind == "double_double":
        return DoubleDouble(*values)
    return complex(*values) if kind == "complex" else tuple(values)


def narrowest(array: np.ndarray) -> np.ndarray:
    """The array in the narrowest dtype of its kind that holds all of its bits."""
    for dtype in {"f": ("f2", "f4"), "i": ("i1", "i2", "i4")}.get(array.dtype.kind, ()):
        if np.dtype(dtype).itemsize < array.dtype.itemsize:
            with np.errstate(all="ignore"):
                narrow = array.astype(dtype)
            if narrow.astype(array.dtype).tobytes() == array.tobytes():
                return narrow
    return array
