"""What the tests of the suite itself share."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from torch_loss_parity.meta import without_posix
from torch_loss_parity.plugin.expectations import OFF, VARIABLE

Environment = Mapping[str, str]
os.environ.setdefault(
    VARIABLE, OFF
)  # of runs that tests start: what they find is evaluated by what is tested


@pytest.fixture(scope="module", params=["here", "without POSIX"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What a process is started with: on this system, and on one that has no fork, no SIGALRM and so on."""
    if request.param == "here":
        return dict(os.environ)
    return without_posix.environment(tmp_path_factory.mktemp("site"))
