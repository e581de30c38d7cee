"""The file of what a run found, which ``pytest --report`` writes: its schema, and its text.

Note [No number that is none]
    JSON has neither infinity nor nan: where a number is none, its name stands, "infinity" or "nan", which
    Python's ``float`` reads. ``outcome.schema.json`` says where that may be.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

SCHEMA = 2
PATH = Path(__file__).with_name("outcome.schema.json")


def text_of(outcome: Any) -> str:
    """The text of the file."""
    return json.dumps(written(outcome), indent=1, allow_nan=False) + "\n"


def written(value: Any) -> Any:
    """A value, with names in place of what is no number, see Note [No number that is none]."""
    if isinstance(value, dict):
        return {name: written(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [written(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    return value
