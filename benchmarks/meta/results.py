"""Results for the tests of what is made of them."""

from __future__ import annotations

from benchmarks.result import Result
from benchmarks.work import TRAINING


def result(
    path: str,
    work: str = "softmax",
    shape: str = "2048x1024",
    *,
    seconds: float = 0.01,
    speed: float = 1.0,
    floor: float = 2.0,
    ulps: float = 1.0,
) -> Result:
    """A result in which only what is named matters."""
    return Result(
        work=work,
        mode=TRAINING,
        shape=shape,
        dtype="float32",
        path=path,
        device="cpu",
        threads=1,
        cache="warm",
        median=seconds,
        spread=0.1,
        rounds=7,
        calls=1,
        floor=seconds / floor,
        times_floor=floor,
        at_floor=False,
        times_exponentials=None,
        bytes=1000,
        bandwidth=1.0,
        copy_bandwidth=1.0,
        speed=speed,
        first_call=0.0,
        page_faults=0.0,
        peak=None,
        peak_over_input=None,
        no_peak="",
        ulps=ulps,
        fraction=0.5,
    )
