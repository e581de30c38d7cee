"""What a subject answered, as data: it returned, raised, or did not come back."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from torch_loss_parity.processes.watchdog import Ended, NotReturned
from torch_loss_parity.subjects.declined import NotObserved, NotOffered, OutsideThePromise
from torch_loss_parity.subjects.observing.encoding import Keep, Load, decoded, encoded
from torch_loss_parity.subjects.run_subject import WrongResult

Answer = Mapping[str, Any]
RETURNED, RAISED, ENDED, NOT_RETURNED, NOT_RUN = "returned", "raised", "ended", "not returned", "not run"
OWN = {each.__name__: each for each in (WrongResult, NotOffered, OutsideThePromise)}
NO_MEMORY = "OutOfMemoryError"  # of torch; it says nothing of what a subject returns


def of_value(value: Any, keep: Keep) -> Answer:
    return {"outcome": RETURNED, "value": encoded(value, keep)}


def of_exception(error: BaseException) -> Answer:
    """The types that an exception is of, its words, and those of its cause."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if NO_MEMORY in kinds:
        return of_nothing("the device had no memory for it")
    raised: dict[str, Any] = {"outcome": RAISED, "types": kinds, "text": str(error)}
    if error.__cause__ is not None:
        raised["cause"] = of_exception(error.__cause__)
    return raised


def of_nothing(why: str) -> Answer:
    """Of what was not run."""
    return {"outcome": NOT_RUN, "text": why}


def of_loss(how: str) -> Answer:
    """Of a process that did not come back; ``how`` completes "it ..."."""
    return {"outcome": ENDED if how.startswith("ended") else NOT_RETURNED, "text": how}


def _none_is_kept(digest: str) -> Any:
    raise KeyError(digest)


def given_again(answer: Answer, load: Load = _none_is_kept) -> Any:
    """What was returned.

    Raises
    ------
    Exception
        What was raised.
    NotReturned, Ended
        If it did not come back.
    NotObserved
        If it was not run.
    """
    outcome = answer["outcome"]
    if outcome == RETURNED:
        return decoded(answer["value"], load)
    if outcome == RAISED:
        cause = answer.get("cause")
        raise exception(answer) from (exception(cause) if cause and "types" in cause else None)
    if outcome == NOT_RETURNED:
        error = NotReturned()
        error.args = (f"it {answer['text']}",)  # within the limit there, not here
        raise error
    if outcome == ENDED:
        raise Ended(f"it {answer['text']}")
    raise NotObserved(answer["text"])


def exception(raised: Answer) -> Exception:
    """An exception of the same name, words, and nearest type that is built in or of this package."""
    known: dict[str, Any] = {**vars(builtins), **OWN}
    base = next(known[kind] for kind in raised["types"] if kind in known)
    base = base if issubclass(base, Exception) else RuntimeError
    text = raised["text"]
    own = {"__init__": lambda self: None, "__str__": lambda self: text, "__module__": base.__module__}
    error: Exception = type(raised["types"][0], (base,), own)()
    return error
