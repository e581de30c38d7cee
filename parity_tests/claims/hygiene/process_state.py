"""Checks of the state of the process: a call leaves random numbers, default dtype, threads, modes and flags
as they were.

A flag has two values: a call that sets it is seen under the other one. Where a setting has more values, or
changes what is computed, it is looked at as it is.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from torch_loss_parity.claims.hygiene.conduct import Probe, offered, probes
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors import torch_private

# More rows, and more columns, than most kernels treat as few: torch shares 2**15 elements among threads.
LARGE = ((11003, 3), (4, 8209))
LONGEST = 120  # characters of a message that show a setting


@dataclass(frozen=True)
class Flag:
    """A setting of the process that a check sets to each of two values.

    Attributes
    ----------
    get, set : callable
    values : tuple
        What it is set to: what it usually is, and another.
    """

    get: Callable[[], Any]
    set: Callable[[Any], object]
    values: tuple[Any, Any]


def _flushes_subnormals() -> bool:
    """Whether subnormal numbers are taken for zeros: torch sets it and does not say."""
    return not bool((torch.tensor([2.0**-140]) * torch.tensor([2.0])).item())


def _autocasts() -> tuple[bool, ...]:
    return tuple(torch.is_autocast_enabled(device) for device in _AUTOCAST)


def _set_autocast(value: tuple[bool, ...]) -> None:
    for device, enabled in zip(_AUTOCAST, value, strict=True):
        torch.set_autocast_enabled(device, enabled)


def _set_collector(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()


def _numpy_numbers() -> tuple[Any, ...]:
    """The state of NumPy's global generator, in numbers that can be compared."""
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return (name, np.asarray(key).tobytes(), *rest)


THREADS = "the number of threads"
_AUTOCAST = ("cpu", "cuda")
FLAGS: Mapping[str, Flag] = {
    "the default dtype": Flag(
        torch.get_default_dtype, torch.set_default_dtype, (torch.float32, torch.float64)
    ),
    THREADS: Flag(torch.get_num_threads, torch.set_num_threads, (1, 2)),
    # 1 warns. torch.use_deterministic_algorithms, which sets the same, imports torch's compiler for seconds.
    "deterministic algorithms": Flag(
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, (0, 1)
    ),
    "anomaly detection": Flag(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, (False, True)),
    "flushing of subnormal numbers": Flag(_flushes_subnormals, torch.set_flush_denormal, (False, True)),
    "the precision of float32 matrix products": Flag(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, ("highest", "high")
    ),
    "the collector of garbage": Flag(gc.isenabled, _set_collector, (True, False)),
    "the benchmarks of cuDNN": Flag(
        lambda: torch.backends.cudnn.benchmark,
        torch_private.set_cudnn_benchmark,
        (False, True),
    ),
    # Under autocast some of the functions are refused.
    "autocast": Flag(_autocasts, _set_autocast, ((False, False), (False, False))),
}
AS_IT_IS: Mapping[str, Callable[[], Any]] = {
    "grad mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "the default device": lambda: str(torch.get_default_device()),
    "the random numbers of torch": lambda: torch.get_rng_state().numpy().tobytes(),
    "the random numbers of the GPU": lambda: (
        torch.cuda.get_rng_state().numpy().tobytes() if torch.cuda.is_available() else b""
    ),
    "the random numbers of NumPy": _numpy_numbers,
    "the random numbers of Python": random.getstate,
    "NumPy's handling of errors": np.geterr,
    "the environment": lambda: dict(os.environ),
    "filters of warnings": lambda: list(warnings.filters),
    "the limit of recursion": sys.getrecursionlimit,
}


def state() -> dict[str, Any]:
    """What a call leaves as it is."""
    flags = {name: flag.get() for name, flag in FLAGS.items()}
    return flags | {name: get() for name, get in AS_IT_IS.items()}


@contextmanager
def flags_set(number: int, but: Collection[str] = ()) -> Iterator[None]:
    """Every flag ``but`` some has one of its two values; afterwards, what it had."""
    with ExitStack() as stack:
        for flag in (flag for name, flag in FLAGS.items() if name not in but):
            stack.callback(flag.set, flag.get())
            flag.set(flag.values[number])
        yield


@contextmanager
def _other_random_numbers() -> Iterator[None]:
    """Generators are somewhere else than an earlier call may have left them; afterwards, where they were."""
    generators = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    torch.rand(1)
    np.random.rand()  # noqa: NPY002
    random.random()
    try:
        yield
    finally:
        torch.set_rng_state(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002
        random.setstate(generators[2])


def the_process_is_left_as_it_was(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """After a call and after its backward pass, with gradients enabled and without. What a first call
    changes, as it loads a library or compiles, is not looked at; nor are flags set for a subject that
    compiles anew under others.
    """
    small = probes(operator, dtype, settings, tally)[:1]
    for probe in (*small, *large(operator, dtype, settings, tally)):
        # torch keeps the threads that it starts for a large call: a process that has some cannot be forked.
        but = () if probe in small else (THREADS,)
        assert probe.first
        for number in (0, 1):
            for enabled in (True, False):
                with ExitStack() as stack:
                    stack.enter_context(warnings.catch_warnings())
                    warnings.simplefilter("ignore")
                    if not settings.subject.compiles:
                        stack.enter_context(flags_set(number, but))
                    stack.enter_context(torch.set_grad_enabled(enabled))
                    changed = _changed_by(probe, backward=enabled)
                tally.count(not changed)
                assert not changed, (
                    f"{probe.case}: a call changes the state of the process: {'; '.join(changed)}\n"
                    f"{probe.script(STATE)}"
                )


def large(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> Iterator[Probe]:
    """Many rows and long ones: in their calls a kernel may choose another path, seed a generator or ask for
    threads.
    """
    values = next(iter(operator.values))
    for shape in LARGE:
        options = offered(operator, {"reduction": "mean", "dim": -1})
        yield Probe(operator.case(dtype, shape, values, options, settings.seed), settings, tally)


def _changed_by(probe: Probe, *, backward: bool) -> list[str]:
    """What of the state is another one after a run; what the run returns, or raises, is for other claims."""
    with _other_random_numbers():
        before = state()
        with suppress(Exception):
            run = probe.start()
            if backward:
                probe.finish(run)
        after = state()
    return [f"{name} {_shown(before[name], after[name])}" for name in before if before[name] != after[name]]


def _shown(before: Any, after: Any) -> str:
    said = f"was {before}, is {after}"
    return said if len(said) <= LONGEST else "is another one"


# --- the same in a script -----------------------------------------------------------------------------------

STATE = (
    "import gc, os, random, warnings",
    "import numpy",
    "",
    "def state():",
    "    return {'default dtype': torch.get_default_dtype(), 'threads': torch.get_num_threads(),",
    "            'grad mode': torch.is_grad_enabled(), 'anomaly': torch.is_anomaly_enabled(),",
    "            'deterministic': torch.are_deterministic_algorithms_enabled(),",
    "            'matrix products': torch.get_float32_matmul_precision(),",
    "            'flushes': not (torch.tensor([2.0**-140]) * torch.tensor([2.0])).item(),",
    "            'cuDNN': torch.backends.cudnn.benchmark, 'environment': dict(os.environ),",
    "            'autocast': [torch.is_autocast_enabled(d) for d in ('cpu', 'cuda')],",
    "            'random numbers': (torch.get_rng_state().tolist(), random.getstate(),",
    "                               str(numpy.random.get_state())),",
    "            'warnings': list(warnings.filters), 'NumPy': numpy.geterr(), 'gc': gc.isenabled()}",
    "",
    "run(mine, grad_output)",
    "for dtype in (torch.float32, torch.float64):",
    "    torch.set_default_dtype(dtype)",
    "    for flag in (False, True):",
    "        torch.use_deterministic_algorithms(flag, warn_only=True)",
    "        torch.set_flush_denormal(flag)",
    "        torch.set_num_threads(1 + flag)",
    "        (gc.disable if flag else gc.enable)()",
    "        before = state()",
    "        run(mine, grad_output)",
    "        for name, value in state().items():",
    "            if value != before[name]:",
    "                print(name, 'HAS CHANGED', f'{value}'[:80])",
)
