"""A fingerprint of everything that an evaluation depends on: arrays byte by byte, numbers and texts with
their types, functions by their names, and what is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from types import FunctionType
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.profiles import Profile
from torch_loss_parity.reference.ways import Way

Feed = Callable[[Callable[[bytes], None], Any], None]


def digest(value: Any, state: bytes = b"") -> bytes:
    """A fingerprint of 32 bytes, of a value and of what is the same for all of a run.

    Raises
    ------
    TypeError
        If it contains something whose fingerprint would not say all about it.
    """
    parts: list[bytes] = []
    _feed(parts.append, value)
    return blake2b(b"".join(parts), digest_size=32, key=state).digest()


def _feed(add: Callable[[bytes], None], value: Any) -> None:
    feed = _BY_TYPE.get(type(value))
    if feed is None:
        feed = _BY_TYPE[type(value)] = _of_type(value)
    feed(add, value)


def _of_type(value: Any) -> Feed:
    """How values of a type are told apart."""
    if isinstance(value, np.generic):
        return _array
    if isinstance(value, str | int | float):
        return _text
    if isinstance(value, tuple | list):
        return _sequence
    if isinstance(value, Mapping):
        return _mapping
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in fields(value) if field.init)
        return partial(_fields, f"{type(value).__qualname__} {len(names)} ".encode(), names)
    if callable(value):
        return _function
    return _nothing


def _nothing(add: Callable[[bytes], None], value: Any) -> None:
    raise TypeError(
        f"{value!r} has no fingerprint: arrays, numbers, texts, functions with a name, and "
        f"what is made of them do"
    )


def _none(add: Callable[[bytes], None], value: Any) -> None:
    add(b"None ")


def _array(add: Callable[[bytes], None], value: Any) -> None:
    if value.dtype.hasobject:
        _nothing(add, value)
    add(f"array {value.dtype.str} {value.shape} ".encode())
    add(value.tobytes())


def _text(add: Callable[[bytes], None], value: Any) -> None:
    add(_written(value))


def _name(add: Callable[[bytes], None], value: str) -> None:
    add(_written_once(value))


def _written(value: Any) -> bytes:
    text = repr(value)
    return f"{type(value).__name__} {len(text)} {text} ".encode()


_written_once = lru_cache(2**12)(_written)  # of texts, of which there are few; 0.0 and -0.0 are equal


def _sequence(add: Callable[[bytes], None], value: Any) -> None:
    add(f"{type(value).__name__} {len(value)} ".encode())
    for item in value:
        _feed(add, item)


def _mapping(add: Callable[[bytes], None], value: Any) -> None:
    add(f"{type(value).__name__} {len(value)} ".encode())
    for name, item in value.items():
        _feed(add, name)
        _feed(add, item)


def _fields(head: bytes, names: tuple[str, ...], add: Callable[[bytes], None], value: Any) -> None:
    add(head)
    for name in names:
        _feed(add, getattr(value, name))


def _function(add: Callable[[bytes], None], value: Any) -> None:
    if "<" in value.__qualname__:
        _nothing(add, value)
    _text(add, value.__module__)
    _text(add, value.__qualname__)


def _partial(add: Callable[[bytes], None], value: Any) -> None:
    add(b"partial ")
    for part in (value.func, value.args, value.keywords):
        _feed(add, part)


# What there are few of, met again and again, and that never change: their parts, held so that an id stays
# theirs.
_MET: dict[int, tuple[Any, bytes]] = {}


def _met_again(feed: Feed, add: Callable[[bytes], None], value: Any) -> None:
    met = _MET.get(id(value))
    if met is None:
        parts: list[bytes] = []
        feed(parts.append, value)
        met = _MET[id(value)] = value, b"".join(parts)
    add(met[1])


_BY_TYPE: dict[type, Feed] = {type(None): _none, str: _name, np.ndarray: _array, partial: _partial}
for _type in (Profile, Way):
    _names = tuple(field.name for field in fields(_type) if field.init)
    _head = f"{_type.__qualname__} {len(_names)} ".encode()
    _BY_TYPE[_type] = partial(_met_again, partial(_fields, _head, _names))
_BY_TYPE[FunctionType] = partial(_met_again, _function)
