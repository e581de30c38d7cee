"""Works inside what a subject promises: what it declines is replaced by what it has, or named.

All paths compute the same: what replaces an option replaces it for all of them, and the name of the work says
so. A variant that lies outside is timed as it is, without the subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch_loss_parity.benchmarks.workload import WORKS, Work
from torch_loss_parity.operators import DTYPES
from torch_loss_parity.operators.promised import is_among
from torch_loss_parity.reference.arithmetic.formats import promoted
from torch_loss_parity.subjects.promise import EVERYTHING, IGNORED, Promise

NDIM = 2  # of what is timed: rows and classes


def works_inside(promise: Promise) -> dict[str, Work]:
    """What is timed, by the names of `WORKS`."""
    return {name: inside(work, promise) for name, work in WORKS.items()}


def inside(work: Work, promise: Promise) -> Work:
    """A work inside a promise; as it is, and why it lies outside, where nothing can take its place."""
    limits = promise.limits(work.operator)
    if limits.ndim and NDIM not in limits.ndim:
        return replace(work, outside=f"an input of {NDIM} dimensions")
    replaced: dict[str, Any] = {}
    for name, promised in limits.options.items():
        value = work.every_option.get(name)
        if name != IGNORED and not is_among(value, promised):
            replaced[name] = limits.allowed(name, work.record.options.get(name, ()))[0]
    own = work.record.workload
    kept = [name for name in replaced if name in work.options and work.options != getattr(own, "options", {})]
    if kept:
        said = ", ".join(f"{name}={work.options[name]}" for name in kept)
        return replace(work, outside=said)
    if not replaced:
        return work
    said = ", ".join(f"{name}={value}" for name, value in replaced.items())
    return replace(work, name=f"{work.name}, {said}", options={**work.options, **replaced})


def dtypes_inside(promise: Promise) -> tuple[str, ...]:
    """Those in which a subject promises a result of the same dtype, as all paths return it."""
    narrowest = promise.result_dtype
    return tuple(
        dtype
        for dtype in DTYPES
        if dtype in promise.dtypes and (not narrowest or promoted(dtype, narrowest) == dtype)
    )


def sentences(works: Mapping[str, Work], promise: Promise) -> tuple[str, ...]:
    """What a promise changes, in a line each; nothing where it changes nothing."""
    if promise == EVERYTHING:
        return ()
    instead = [work.name for name, work in works.items() if work.name != name]
    return tuple(f"as --subject promises: {name}" for name in instead)
