"""Results and runs for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch_loss_parity.benchmarks.matrix import EFFORTS
from torch_loss_parity.benchmarks.paths import Path
from torch_loss_parity.benchmarks.result import Result
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.benchmarks.workload import TRAINING
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import load


def result(
    path: str,
    work: str = "softmax",
    shape: str = "2048x1024",
    *,
    seconds: float = 0.01,
    speed: float = 1.0,
    apart: float = 0.01,
    floor: float = 2.0,
    cold: float | None = None,
    ulps: float = 1.0,
) -> Result:
    """A result in which only what is named matters; the intervals are as wide as ``apart`` on either side."""
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
        moved="copied",
        times_floor=floor,
        times_floor_low=floor / (1 + apart),
        times_floor_high=floor * (1 + apart),
        times_floor_cold=cold,
        times_exponentials=None,
        bytes=1000,
        bandwidth=1.0,
        speed=speed,
        speed_low=speed / (1 + apart),
        speed_high=speed * (1 + apart),
        first_call=0.0,
        page_faults=0.0,
        peak=None,
        peak_over_input=None,
        no_peak="",
        ulps=ulps,
        fraction=0.5,
    )


def run_of(*paths: Path, results: Sequence[Result] = ()) -> Benchmarks:
    """A run of quick effort that times ``paths``, and has found ``results`` so far."""
    return Benchmarks(
        subject=load("torch", tuple(OPERATORS)),
        paths={path.name: path for path in paths},
        effort=EFFORTS["quick"],
        device="cpu",
        threads=1,
        seed=0,
        cold=False,
        timed=True,
        results=list(results),
    )
