"""Runs of releases as the tests of them have it: invented, and asked for by the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_loss_parity.versions.record import OUTCOME

OPERATORS = ["softmax", "log_softmax", "nll_loss", "cross_entropy"]
OPERATORS += ["binary_cross_entropy", "binary_cross_entropy_with_logits", "logsumexp", "linear_cross_entropy"]


CANCELS, STORES, EPSILON = "bce-with-logits-cancels", "half-softmax-stores", "float16-bce-epsilon-is-zero"
DTYPES = ["float16", "bfloat16", "float32", "float64"]


WRONG = "forward, softmax float32: AssertionError: the result is wrong"


def failure(test: str, message: str = "AssertionError: the result is wrong") -> dict[str, str]:
    nodeid = f"parity_tests/claims/test_forward.py::{test}"
    return {"test": nodeid, "claim": "forward", "operator": "softmax", "dtype": "float32", "message": message}


def news(id: str) -> dict[str, Any]:
    return {"kind": "refusals", "id": id, "place": "float32", "text": f"{id}: TypeError now", "known": False}


def run_of(
    version: str,
    diverging: Mapping[str, int] | None = None,
    failures: tuple[dict[str, str], ...] = (),
    told: tuple[dict[str, Any], ...] = (),
    worst: float = 0.9,
    **others: Any,
) -> dict[str, Any]:
    """What ``pytest --outcome`` writes."""
    environment = {"torch": version, "python": "3.12.1", "hypothesis": "6.170.15"}
    results = {
        "vendor": "AuthenticAMD",
        "machine": "x86_64",
        "capability": "AVX2",
        "functions": "MKL 5b2bc9",
    }
    environment |= results
    options = {"subject": "torch", "device": "cpu", "effort": "quick", "seed": 0}
    known = diverging or {CANCELS: 5}
    return {
        "schema": OUTCOME,
        "date": "2026-11-27",
        "environment": environment | {"results": {"torch": version, "device": "cpu", **results}} | others,
        "options": options | {"dtypes": DTYPES, "operators": OPERATORS},
        "exitstatus": int(bool(failures)),
        "counts": {name: {dtype: {"forward": 100, "bits": -1} for dtype in DTYPES} for name in OPERATORS},
        "worst": {"softmax float32": {"forward": worst, "gradient": None}},
        "diverging": {id: {"cases": n, "claims": {"forward": n}} for id, n in known.items()},
        "failures": list(failures),
        "news": list(told),
    }


def quick(*arguments: str) -> list[str]:
    return ["--effort", "quick", *arguments]
