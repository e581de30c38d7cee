"""Observe a subject: run what a plan asks of it, and write down what comes back.

Needs torch and NumPy. The subject runs in a process of its own, and this one never uses a device: whatever
becomes of the subject, the file holds what it did before.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.processes.sandbox import Lost, Sandbox
from torch_loss_parity.processes.strikes import STRIKES
from torch_loss_parity.subjects import SubjectError
from torch_loss_parity.subjects.observing import child
from torch_loss_parity.subjects.observing.answer import RAISED, Answer, of_loss
from torch_loss_parity.subjects.observing.container import Writer
from torch_loss_parity.subjects.observing.planning import AUDIT, BENCHMARK, FOR, Plan
from torch_loss_parity.subjects.observing.recorded import FORMAT

TOLD_EVERY = 10.0  # seconds
BROKEN = "CUDA error"  # in the words of an exception after which a process has no use of its device


class CannotObserve(ValueError):
    """The call of `observe` cannot be met; the message says why."""


class _Terminated(BaseException):
    """The process was asked to end."""


def observe(
    plan: Path,
    output: Path,
    *,
    subject: str = "torch",
    device: str = "cpu",
    dtypes: Sequence[str] = (),
    operators: Sequence[str] = (),
    promise: str | None = None,
    budget: float | None = None,
    time_limit: float = 60.0,
) -> Mapping[str, Any]:
    """Run what ``plan`` asks on a subject, and write ``output``; how it ended.

    Parameters
    ----------
    dtypes, operators : sequence of str
        Those of the plan unless some are named.
    promise : str, optional
        What the subject promises beside what its module says.
    budget : float, optional
        Seconds after which nothing more is run.
    time_limit : float
        Seconds after which a call is taken not to return.

    Raises
    ------
    CannotObserve
        If there is no such dtype, operator or device, or the plan has nothing of them.
    DamagedFile
        If the plan cannot be read.
    SubjectError
        If there is no such subject, or it cannot be loaded.
    """
    start = time.monotonic()
    for option, names, known in (("--dtype", dtypes, DTYPES), ("--operator", operators, OPERATORS)):
        if wrong := [name for name in names if name not in known]:
            raise CannotObserve(f"{option} is {wrong[0]!r}; choose from {', '.join(known)}")
    planned = Plan(plan)
    records = [
        each
        for each in planned.records
        if not (dtypes and each.get("dtype", dtypes[0]) not in dtypes)
        and not (operators and each.get("operator", operators[0]) not in operators)
    ]
    if not records:
        raise CannotObserve(f"{plan} asks nothing of {', '.join([*operators, *dtypes])}")
    sandbox = Sandbox((f"{child.__name__}:begin", (subject, device, promise)), time_limit)
    try:
        described = sandbox.call(f"{child.__name__}:describe")
    except Lost as error:
        raise SubjectError(f"{subject!r} cannot be loaded: it {error}") from error
    if problem := described.get("problem"):
        sandbox.close()
        raise (CannotObserve if problem.startswith("--device") else SubjectError)(problem)
    for command, name in (AUDIT, "facts"), (BENCHMARK, "machine_info"):
        if planned.header.get(FOR) == command:
            described["environment"][name] = sandbox.call(f"{child.__name__}:{name}")
    records = [each for each in records if each.get("operator", "") in ("", *described["operators"])]
    header = {
        "format": FORMAT,
        "package": _package(),
        "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        "subject": subject,
        "device": device,
        "plan": planned.header,
        "dtypes": [name for name in planned.header["dtypes"] if not dtypes or name in dtypes],
        "asked_operators": list(operators) or planned.header["asked_operators"],
        "requests": len(records),
        "time_limit": time_limit,
        **described,
    }
    writer = Writer(output, header)
    run = _Run(sandbox, planned, writer, start, budget)
    try:
        with _terminated():
            end = run.through(records)
    except (KeyboardInterrupt, _Terminated):
        end = run.end("it was asked to end")
    finally:
        sandbox.close()
    writer.close(end)
    return end


class _Run:
    """The records of a plan, one after the other.

    As where a subject is judged in one process, a test ends with the first call that does not return, and an
    operator is given up after a few such tests.
    """

    def __init__(
        self, sandbox: Sandbox, plan: Plan, writer: Writer, start: float, budget: float | None
    ) -> None:
        self.sandbox, self.plan, self.writer, self.start, self.budget = sandbox, plan, writer, start, budget
        self.observed, self._told = 0, start
        self.strikes: dict[str, list[str]] = {}  # by operator: the tests

    def through(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        for record in records:
            if self.budget is not None and time.monotonic() - self.start > self.budget:
                return self.end(f"its budget of {self.budget:g} s ran out")
            operator = record.get("operator", "")
            struck = self.strikes.get(operator, [])
            if len(struck) >= STRIKES or record.get("test") in struck:
                continue
            before = time.monotonic()
            answer = self._answer(record, operator)
            about = {name: record[name] for name in record if name not in ("request", "test")}
            self.writer.add({**about, **answer, "seconds": round(time.monotonic() - before, 6)})
            self.observed += 1
            self._tell(len(records))
        if self.strikes:
            names = ", ".join(self.strikes)
            return self.end(
                f"a call of {names} did not return or ended the process; some were not made after it"
            )
        return self.end("done")

    def end(self, why: str) -> Mapping[str, Any]:
        return {"why": why, "observed": self.observed, "seconds": round(time.monotonic() - self.start, 3)}

    def _answer(self, record: Mapping[str, Any], operator: str) -> Answer:
        try:
            answer, arrays = self.sandbox.call(f"{child.__name__}:answer", self.plan.request(record))
        except Lost as error:
            self.strikes.setdefault(operator, []).append(record.get("test", ""))
            self.writer.flush()
            return of_loss(str(error))
        for array in arrays.values():
            self.writer.keep(array)
        if answer["outcome"] == RAISED and BROKEN in answer["text"]:
            self.sandbox.close()
        written: Answer = answer
        return written

    def _tell(self, number: int) -> None:
        now = time.monotonic()
        if now - self._told > TOLD_EVERY:
            self._told = now
            print(f"{self.observed} of {number} calls, {now - self.start:.0f} s", file=sys.stderr, flush=True)


def _package() -> str:
    try:
        return version("torch-loss-parity")
    except PackageNotFoundError:  # a folder that was copied
        return "not installed"


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM within ends what is run, and not the process: the file is to be whole."""

    def end(number: int, frame: Any) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # others are told of no signal
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
