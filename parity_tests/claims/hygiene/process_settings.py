"""Checks that results do not depend on how the process is set: what a call makes for itself has the dtype of
its arguments and not the default one, and another algorithm is as right.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.hygiene.conduct import Probe, name_of, offered, probes
from torch_loss_parity.claims.hygiene.process_state import FLAGS
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings

MANY_ROWS = (263, 35)  # more than bfloat16 counts, and no multiple of a power of two, or of the threads


@dataclass(frozen=True)
class Setting:
    """What a process is set to.

    Attributes
    ----------
    flag : str
        One of `process_state.FLAGS`.
    value : Any
        Other than the usual.
    line : str
        The same in a script.
    """

    flag: str
    value: Any
    line: str


def _default_dtype(name: str) -> Setting:
    return Setting("the default dtype", getattr(torch, name), f"torch.set_default_dtype(torch.{name})")


DEFAULT_DTYPES: Mapping[str, Setting] = {
    "where the default dtype is float64": _default_dtype("float64"),
    "where the default dtype is bfloat16": _default_dtype("bfloat16"),
}
IN_THREADS: Mapping[str, Setting] = {
    "in three threads": Setting("the number of threads", 3, "torch.set_num_threads(3)")
}
SETTINGS: Mapping[str, Setting] = {
    **DEFAULT_DTYPES,
    "where algorithms are to be deterministic": Setting(
        "deterministic algorithms", 1, "torch.set_deterministic_debug_mode('warn')"
    ),
    **IN_THREADS,
    "where anomalies are detected": Setting(
        "anomaly detection", True, "torch.autograd.set_detect_anomaly(True)"
    ),
}


@contextmanager
def _set(setting: Setting) -> Iterator[None]:
    """The process is set so; afterwards, as it was. A warning about that is none of the subject's."""
    flag = FLAGS[setting.flag]
    before = flag.get()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flag.set(setting.value)
        try:
            yield
        finally:
            flag.set(before)


def results_are_right_however_the_process_is_set(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Results and gradients, and their dtypes; of many rows under other default dtypes, in which they may be
    counted, and from standard effort on in several threads, among which they may be dealt out.
    """
    if settings.subject.compiles:
        pytest.skip("a subject that compiles does so anew under each setting of the process")
    values = next(iter(operator.values))
    # torch keeps the threads that it starts for many rows, and a process that has some cannot be forked.
    of_many = DEFAULT_DTYPES if settings.effort_name == "quick" else {**DEFAULT_DTYPES, **IN_THREADS}
    many = [
        Probe(operator.case(dtype, MANY_ROWS, values, options, settings.seed), settings, tally)
        for options in (offered(operator, {"reduction": reduction}) for reduction in ("mean", "none"))
    ]
    for probe, every in (
        *((probe, SETTINGS) for probe in probes(operator, dtype, settings, tally)[:1]),
        *((probe, of_many) for probe in many),
    ):
        dtypes = {name: result.dtype for name, result in probe.first.items()}
        for what, setting in every.items():
            _holds(probe, what, setting, dtypes, tally)


def _holds(
    probe: Probe, what: str, setting: Setting, dtypes: Mapping[str, torch.dtype], tally: Tally
) -> None:
    """A call under one setting has the dtypes that it has otherwise, and the results."""
    results = probe.results_within(_set(setting), what, (setting.line,))
    for name, result in results.items():
        same = result.dtype == dtypes[name]
        tally.count(same)
        assert same, (
            f"{probe.case}: {what}, {name_of(name)} has dtype {result.dtype} and not {dtypes[name]}\n"
            f"{probe.script(scripts.again((setting.line,)))}"
        )
    probe.agrees(results, what, exactly=False, happens=(setting.line,))


NOT_FINITE: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nan": lambda upstream: torch.full_like(upstream, torch.nan),
    "inf": lambda upstream: torch.full_like(upstream, torch.inf),
}


def an_upstream_gradient_that_is_not_finite_shows(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Whoever scales a loss finds out by a gradient of nan or infinity that the scale is too large."""
    settings.subject.promise.must_have_gradients(operator.name)
    for probe in probes(operator, dtype, settings, tally)[:1]:
        for value, replaced in NOT_FINITE.items():
            run = probe.start()
            run.grad_output = replaced(run.grad_output)
            for name, gradient in probe.finish(run).gradients.items():
                hidden = bool(probe.first[name].any()) and bool(gradient.isfinite().all())
                tally.count(not hidden)
                assert not hidden, (
                    f"{probe.case}: of an upstream gradient of {value}, {name_of(name)} is finite\n"
                    f"{probe.script(_script(value))}"
                )


def _script(value: str) -> tuple[str, ...]:
    return (f"print(run(mine, torch.full_like(grad_output, float({value!r})))[2][1:])",)
