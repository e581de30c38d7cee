"""That a verdict is the suite's own: what judges is what it was before the subject was loaded, and a test is
skipped, or the run ended, by nobody else.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from torch_loss_parity.processes import replaced
from torch_loss_parity.processes.folders import AUDIT, BENCHMARKS_META, META
from torch_loss_parity.processes.origin import OTHER_OUTCOMES, is_of_the_suite
from torch_loss_parity.subjects import COMPLETE
from torch_loss_parity.subjects.settings import SETTINGS


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around what else there is
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test fails where its subject has replaced what judges it, or ends it otherwise than by a result."""
    # PyTorch itself replaces nothing to pass, and thousands of looks take a twentieth of its run.
    is_pytorch = pyfuncitem.config.stash[SETTINGS].subject.name in COMPLETE
    if is_pytorch or pyfuncitem.path.parent in (META, BENCHMARKS_META, AUDIT):
        return (yield)
    said = ""
    try:
        with replaced.looked_at():
            return (yield)
    except replaced.Replaced as error:
        said = str(error)
    except OTHER_OUTCOMES as error:
        if is_of_the_suite(error, pyfuncitem.path):
            raise
        said = f"the subject raises {type(error).__name__}: {error}"
    pytest.fail(said, pytrace=False)
    raise AssertionError(said)  # where that has been replaced
