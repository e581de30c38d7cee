"""The cache of expected results: what is expected of a call does not depend on what is under test, so that
evaluated once it serves every subject.

Nothing is kept unless `keep` is called, as `torch_loss_parity.campaign.forked_runs` does in a process that
many others are forked from, or a cache on disk is in use, as in a run of a subject of one's own. A result is
found by everything that goes into it, byte by byte: the arguments of the call, their dtypes, the quantities,
the upstream gradient, the direction, the profile, the changes of the arithmetic and the formula. So whoever
finds one finds what would have been evaluated.

Note [Kept on disk]
    On disk, the key is also made of `state`: the source of all that evaluates, the libraries, and the vector
    instructions that NumPy has. What is evaluated by anything else, an operator or a way from elsewhere, is
    not kept there.

Note [A subject that looks it up]
    A subject can read the cache on disk, and compute the key of the case that it is asked about: as it can
    import this package, and evaluate the definition itself, which gives it the same numbers. Who wants a
    subject that never shares a process, or a disk, with what is expected of it observes it elsewhere, see
    `torch_loss_parity.subjects.observing`. But what a subject writes to a disk is still there in the next
    run: a verdict that others are to rely on is reached with ``--expectations off``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial, wraps
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.encoding import decode, encode
from torch_loss_parity.expectation.fingerprint import digest
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import disk_cache
from torch_loss_parity.processes.folders import PACKAGE, REFERENCE, ROOT
from torch_loss_parity.processes.machine import installed
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.ways import Way

Bounds = dict[str, Rounded]
Anything = TypeVar("Anything")
_kept: dict[bytes, Any] | None = None

# What evaluates, and from what: in the reference and in these folders and files of the package.
EVALUATES = (
    "cases",
    "claims/identities",
    "claims/sample_inputs.py",
    "expectation",
    "judging/explanations.py",
    "operators",
)
_OURS = tuple(f"{ROOT}.{part}." for part in ("reference", "expectation", "claims.identities"))


def keep() -> None:
    """From now on, keep what is evaluated in this process, and in those that are forked from it."""
    global _kept
    _kept = {} if _kept is None else _kept


def forget() -> None:
    """Evaluate everything anew from now on."""
    global _kept
    _kept = None


def cached(evaluate: Callable[..., Bounds]) -> Callable[..., Bounds]:
    """A function of a call, quantities, numbers and arrays, whose bounds are kept while `keep` is in force,
    or on disk.
    """

    @wraps(evaluate)
    def look_up(call: Call, *arguments: Any, **options: Any) -> Bounds:
        if _kept is None:
            if disk_cache.current() is None:
                return evaluate(call, *arguments, **options)
            operator = OPERATORS[call.operator]
            formulas = operator.forward, operator.backward, options.get("function")
            key = evaluate, formulas[:2], call, arguments, options
            return on_disk(
                key, formulas, partial(evaluate, call, *arguments, **options), _as_values, _as_bounds
            )
        key_digest = digest((evaluate, call, arguments, options))
        if key_digest not in _kept:
            _kept[key_digest] = _copy(evaluate(call, *arguments, **options))
        return _copy(_kept[key_digest])

    return look_up


def once(
    key: Any,
    evaluate: Callable[[], Anything],
    formulas: Iterable[Any] = (),
    as_values: Callable[[Anything], Sequence[Any]] | None = None,
    from_values: Callable[[Sequence[Any]], Anything] | None = None,
) -> Anything:
    """What ``evaluate`` returns, called once for each ``key`` while `keep` is in force; the key must say all
    that it depends on.

    Parameters
    ----------
    formulas : iterable
        The functions that ``evaluate`` evaluates.
    as_values, from_values : callable, optional
        What it returns as `encode` takes it, and back: without these it is not kept on disk.
    """
    if _kept is None:
        if disk_cache.current() is None or as_values is None or from_values is None:
            return evaluate()
        return on_disk(key, formulas, evaluate, as_values, from_values)
    key_digest = digest(key)
    if key_digest not in _kept:
        _kept[key_digest] = evaluate()
    return _kept[key_digest]


def _copy(bounds: Bounds) -> Bounds:
    """The same numbers, without the intermediate results that they were evaluated from."""
    return {name: Rounded(bound.value, bound.arithmetic, bound.error) for name, bound in bounds.items()}


def _as_values(bounds: Bounds) -> list[Any]:
    return [*bounds, *bounds.values()]


def _as_bounds(values: Sequence[Any]) -> Bounds:
    half = len(values) // 2
    return dict(zip(values[:half], values[half:], strict=True))


def on_disk(
    key: Any,
    formulas: Iterable[Any],
    evaluate: Callable[[], Anything],
    as_values: Callable[[Anything], Sequence[Any]],
    from_values: Callable[[Sequence[Any]], Anything],
) -> Anything:
    """What ``evaluate`` returns, from the cache on disk if it is there; see Note [Kept on disk]."""
    there = disk_cache.current()
    if there is None or not there.is_open or not all(map(_is_ours, formulas)):
        return evaluate()
    try:
        key_digest = digest(key, there.state)
    except TypeError:  # a function without a name
        return evaluate()
    entry = there.get(key_digest)
    if entry is not None:
        return from_values(decode(entry))
    result = evaluate()
    with suppress(TypeError):  # what cannot be written down is not kept
        there.put(key_digest, encode(as_values(result)))
    return result


def _is_ours(formula: Any) -> bool:
    """Whether what a formula evaluates is part of this package, and so of `state`."""
    if isinstance(formula, partial):
        inside = [each for each in (*formula.args, *formula.keywords.values()) if callable(each)]
        ways = [each.function for each in formula.args if isinstance(each, Way)]
        return all(map(_is_ours, [formula.func, *inside, *ways]))
    return formula is None or formula.__module__.startswith(_OURS)


@cache
def state() -> bytes:
    """A hash of all but the inputs that an evaluation depends on, see Note [Kept on disk], and that the
    covering of options does.
    """
    hasher = blake2b(digest_size=32)
    simd = np.show_config(mode="dicts")
    facts = (
        np.__version__,
        installed("python-flint"),
        installed("covertable"),
        platform.machine(),
        platform.libc_ver(),
        simd.get("SIMD Extensions") if isinstance(simd, dict) else None,
    )
    hasher.update(repr(facts).encode())
    for path in sources():
        text = path.read_bytes()
        hasher.update(f"{path.parent.name}/{path.name} {len(text)} ".encode() + text)
    return hasher.digest()


def sources() -> Iterator[Path]:
    """The files that say how everything is evaluated."""
    for place in (REFERENCE, *(PACKAGE / each for each in EVALUATES)):
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]
