"""The subject, in the process that it runs in: see `torch_loss_parity.subjects.observing.run`."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import machine, watchdog
from torch_loss_parity.processes.machine_facts import facts_of
from torch_loss_parity.subjects import FAULT, RIGHT, Subject, SubjectError, load
from torch_loss_parity.subjects.observing.answer import Answer, of_exception, of_nothing, of_value
from torch_loss_parity.subjects.observing.encoding import digest_of
from torch_loss_parity.subjects.observing.source import Request
from torch_loss_parity.subjects.written_promise import PromiseError

OF_DEFINITIONS = ("reference", FAULT, RIGHT)  # subjects that evaluate some


class Started:
    """What this process was started with."""

    subject, device = "torch", "cpu"
    promise: str | None = None


def begin(subject: str, device: str, promise: str | None) -> None:
    """The first that the process does; loading the subject comes later, as it may raise."""
    Started.subject, Started.device, Started.promise = subject, device, promise
    torch.set_num_threads(1)  # as in a run of the suite


@cache
def loaded() -> Subject:
    return load(Started.subject, tuple(OPERATORS), None, Started.promise)


def describe() -> dict[str, Any]:
    """What a file says of the subject and of where it runs; why it cannot be observed, as ``problem``."""
    from torch_loss_parity.ledger.environment import of_this_process

    if Started.subject.startswith(OF_DEFINITIONS) and find_spec("array_api_compat") is None:
        return {"problem": f"{Started.subject!r} evaluates definitions, which needs array-api-compat here"}
    try:
        subject = loaded()
    except (SubjectError, PromiseError) as error:
        return {"problem": str(error)}
    try:
        torch.zeros(1, device=Started.device).cpu()
        environment = asdict(of_this_process(Started.device))
    except (RuntimeError, AssertionError) as error:
        said = str(error).strip().splitlines()[0]
        return {"problem": f"--device is {Started.device!r}, which cannot be used here: {said}"}
    own = getattr(subject.namespace, "PROFILE", None)
    return {
        "operators": [name for name in OPERATORS if subject.offers(name)],
        "imports": subject.imports,
        "promise": asdict(subject.promise),
        "profile": own if own is None or isinstance(own, str) else repr(own),
        "environment": {
            **environment,
            "torch_version": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "system": machine.system(),
            "told": f"{environment['machine']} {environment['capability']}, torch {torch.__version__}",
        },
    }


def facts() -> dict[str, str]:
    """What numbers are measured with, as an audit's file has it."""
    return facts_of(Started.device)


def machine_info() -> dict[str, Any]:
    """What times depend on, as the benchmarks write it down."""
    from torch_loss_parity.benchmarks import allocator
    from torch_loss_parity.benchmarks.machine_info import machine_here

    return machine_here(torch.get_num_threads(), allocator.keep_memory(), Started.device)


def answer(request: Request) -> tuple[Answer, dict[str, np.ndarray]]:
    """What the subject makes of a request, and the arrays in it by their digests."""
    if Started.device.startswith("cuda") and request.given.get("ends_cuda"):
        return of_nothing("on a GPU it would end the process's use of the device"), {}
    arrays: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray) -> str:
        digest = digest_of(array)
        arrays[digest] = array
        return digest

    try:
        with watchdog.running():
            value = request.run(loaded(), Started.device)
    except Exception as error:
        if Started.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return of_exception(error), {}
    return of_value(value, keep), arrays
