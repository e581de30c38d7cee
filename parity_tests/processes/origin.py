"""Who raised an exception: the suite, or what it runs."""

from __future__ import annotations

import traceback
import unittest
from pathlib import Path

import _pytest
import pytest

from torch_loss_parity.processes.folders import META, PACKAGE, REFERENCE

PYTEST = Path(_pytest.__file__).resolve().parent
# What pytest takes for something else than a failure; but for that of a keyboard, which ends a run for good.
OTHER_OUTCOMES = (
    pytest.skip.Exception,
    pytest.xfail.Exception,
    pytest.exit.Exception,
    unittest.SkipTest,
)
SUBJECTS = (PACKAGE / "faults", META)  # what is put under test there comes with the suite


def is_of_the_suite(error: BaseException, test: Path | None = None) -> bool:
    """Whether a skip, or what else pytest takes for another outcome than a failure, is the suite's own: the
    last function that is not pytest's belongs to it, or lies in the file of the ``test``.
    """
    # Resolved, as packages may be there by links.
    files = [Path(frame.filename).resolve() for frame in traceback.extract_tb(error.__traceback__)]
    files = [file for file in files if not file.is_relative_to(PYTEST)]
    if not files:
        return True
    last = files[-1]
    if test is not None and last == test.resolve():
        return True
    own = last.is_relative_to(PACKAGE) or last.is_relative_to(REFERENCE)
    return own and not any(last.is_relative_to(folder) for folder in SUBJECTS)
