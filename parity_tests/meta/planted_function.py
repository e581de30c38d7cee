"""What planted subjects of the identities are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


EPSILON = 2.0**-7
