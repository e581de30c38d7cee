"""The cache of expected results: what is expected of a call does not depend on what is under test, so that
evaluated once it serves every subject.

Nothing is kept unless `keep` is called, as `torch_loss_parity.campaign.forked_runs` does in a process that
many others are forked from. A result is found by everything that goes into it, byte by byte: the arguments of
the call, their dtypes, the quantities, the upstream gradient, the direction, the profile, the changes of
the arithmetic and the formula. So whoever finds one finds what would have been evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np

from torch_loss_parity.reference.arithmetic.rounding import Rounded

Bounds = dict[str, Rounded]
Anything = TypeVar("Anything")
_kept: dict[bytes, Any] | None = None


def keep() -> None:
    """From now on, keep what is evaluated in this process, and in those that are forked from it."""
    global _kept
    _kept = {} if _kept is None else _kept


def forget() -> None:
    """Evaluate everything anew from now on."""
    global _kept
    _kept = None


def cached(evaluate: Callable[..., Bounds]) -> Callable[..., Bounds]:
    """A function of calls, quantities, numbers and arrays, whose bounds are kept while `keep` is in force."""

    @wraps(evaluate)
    def look_up(*arguments: Any, **options: Any) -> Bounds:
        if _kept is None:
            return evaluate(*arguments, **options)
        key = digest((evaluate, arguments, options))
        if key not in _kept:
            _kept[key] = _copy(evaluate(*arguments, **options))
        return _copy(_kept[key])

    return look_up


def once(key: Any, evaluate: Callable[[], Anything]) -> Anything:
    """What ``evaluate`` returns, called once for each ``key`` while `keep` is in force; the key must say all
    that it depends on.
    """
    if _kept is None:
        return evaluate()
    key_digest = digest(key)
    if key_digest not in _kept:
        _kept[key_digest] = evaluate()
    return _kept[key_digest]


def _copy(bounds: Bounds) -> Bounds:
    """The same numbers, without the intermediate results that they were evaluated from."""
    return {name: Rounded(bound.value, bound.arithmetic, bound.error) for name, bound in bounds.items()}


def digest(value: Any) -> bytes:
    """A fingerprint of everything that a value consists of.

    Raises
    ------
    TypeError
        If it contains something whose fingerprint would not say all about it.
    """
    hasher = blake2b(digest_size=32)
    _feed(hasher, value)
    return hasher.digest()


def _feed(hasher: Any, value: Any) -> None:
    if isinstance(value, np.ndarray | np.generic):
        hasher.update(f"array {value.dtype.str} {value.shape} ".encode() + value.tobytes())
    elif value is None or isinstance(value, str | int | float):
        text = repr(value)
        hasher.update(f"{type(value).__name__} {len(text)} {text} ".encode())
    elif isinstance(value, tuple | list | Mapping):
        hasher.update(f"{type(value).__name__} {len(value)} ".encode())
        for item in value.items() if isinstance(value, Mapping) else value:
            _feed(hasher, item)
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(
            hasher,
            (type(value).__qualname__, [getattr(value, field.name) for field in fields(value) if field.init]),
        )
    elif isinstance(value, partial):
        _feed(hasher, ("partial", value.func, value.args, value.keywords))
    elif callable(value) and "<" not in value.__qualname__:
        _feed(hasher, (value.__module__, value.__qualname__))
    else:
        raise TypeError(
            f"{value!r} has no fingerprint: arrays, numbers, texts, functions with a name, and "
            f"what is made of them do"
        )
