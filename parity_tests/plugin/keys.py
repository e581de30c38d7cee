"""Where pytest's configuration and its reports keep what a run knows."""

from __future__ import annotations

import pytest

from torch_loss_parity.processes.watchdog import Watch

WATCH = pytest.StashKey[Watch]()
OPERATOR = "parity-operator"  # in the properties of a report: the operator that the test is about, or ""
