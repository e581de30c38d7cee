"""Which tests are collected, for which operators and dtypes, and in which order."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from torch_loss_parity.judging import tally
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.plugin.keys import OPERATOR
from torch_loss_parity.plugin.observing import is_unseen
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import AUDIT, BENCHMARKS, BENCHMARKS_META, META, REFERENCE
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import SETTINGS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``operator`` and ``dtype`` to the tests that ask for them and do not say themselves
    what they are.
    """
    own = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    requested = set(metafunc.fixturenames) - own
    if "operator" in requested:
        names = metafunc.config.stash[SETTINGS].operators or tuple(OPERATORS)
        metafunc.parametrize("operator", [OPERATORS[name] for name in names], ids=names)
    if "dtype" in requested:
        metafunc.parametrize("dtype", metafunc.config.stash[SETTINGS].dtypes)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What has no tests is not loaded. The suite's tests of itself are not, at quick effort, unless they are
    asked for by name: that effort is about the subject. They need a checkout; so without one they never are,
    and the examples of the reference and the benchmarks, which the package then holds, if they are asked for.
    """
    if (
        collection_path.suffix == ".py"
        and not collection_path.name.startswith("test_")
        and REFERENCE not in collection_path.parents  # it has examples in docstrings
    ):
        return True
    own = suite.is_own(config)
    if collection_path in (META, BENCHMARKS_META):
        if own:
            return True
        settings = config.stash[SETTINGS]
        if settings.effort_name != "quick" and settings.subject.is_shipped:
            return None
    elif not (own and collection_path in (REFERENCE, BENCHMARKS)):
        return None
    given = suite.places(config)
    return None if any(collection_path in (place, *place.parents) for place in given) else True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take the tests and the libraries, a million objects, out of what the garbage collector goes through
    again and again.
    """
    gc.freeze()
    gc.enable()


def _names(argnames: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in argnames.split(",")] if isinstance(argnames, str) else list(argnames)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is telling and cheap comes first; in workers what takes long, so that none waits for another's at
    the end. Other operators than those asked for are left out, and tests of the suite that take long, unless
    they are wanted: both are counted as deselected."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        long = item.get_closest_marker("whole_runs") is not None
        kind = tally.claim_of(item.nodeid)
        worker = hasattr(config, "workerinput")
        return worker and not long, KINDS.index(kind) if kind in KINDS else len(KINDS)

    items.sort(key=place)
    for item in items:
        item.user_properties.append((OPERATOR, operator_of(item)))
    if chosen := config.stash[SETTINGS].operators:
        others = {
            item for item in items if META not in item.path.parents and _is_about(item) not in ("", *chosen)
        }
        config.hook.pytest_deselected(items=[item for item in items if item in others])
        items[:] = [item for item in items if item not in others]
    settings = config.stash[SETTINGS]
    _leave_out(config, items, lambda item: _is_of(item, settings.subject))
    if not (config.option.whole_runs or config.option.keyword or config.option.markexpr):
        _leave_out(config, items, lambda item: item.get_closest_marker("whole_runs") is not None)


def _is_of(item: pytest.Item, subject: Subject) -> bool:
    """Whether a test is nothing for a subject: of a kind of claim that it does not promise, or that is not
    observed; or of none, where the subject is somebody's own, as those tests are about torch, its tutorials
    and the suite."""
    kind = tally.claim_of(item.nodeid)
    if {META, BENCHMARKS, AUDIT} & {*item.path.parents}:
        return False
    if is_unseen(kind, subject):
        return True
    if kind in KINDS:
        return kind not in subject.promise.claims_of(operator_of(item))
    return not subject.is_shipped


def _is_about(item: pytest.Item) -> str:
    """The operator whose numbers a test is about: that of the smallest input, of a test of an entry."""
    entry = getattr(getattr(item, "callspec", None), "params", {}).get("entry")
    return entry.operators[0] if isinstance(entry, Divergence) else operator_of(item)


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], chosen: Callable[[pytest.Item], bool]
) -> None:
    """Deselect some of the tests; if there are no others, they were asked for by name, and run."""
    left = [item for item in items if chosen(item)]
    if left and len(left) < len(items):
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not chosen(item)]


def operator_of(item: pytest.Item) -> str:
    """The operator that a test is about, and "" for one that is about none or all."""
    operator = getattr(getattr(item, "callspec", None), "params", {}).get("operator")
    return operator.name if isinstance(operator, Operator) else ""
