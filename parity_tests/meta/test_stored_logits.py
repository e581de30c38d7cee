"""A loss of float32 from logits that half precision has stored, as fused kernels of half precision return it,
is right; logits that are stored in fewer bits than their input has are not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.meta.claims_run import run_claims

KERNEL = """
import torch
import torch.nn.functional as F
PROMISES = {"target": "indices", "label_smoothing": 0.0, "weight": None, "result_dtype": "float32"}
def linear_cross_entropy(
    input, linear_weight, target, *, linear_bias=None, ignore_index=None, reduction="mean"
):
    if linear_weight.ndim != 2:
        raise NotImplementedError("a layer with positions")
    logits = STORED
    if input.ndim > 2:
        logits = logits.movedim(-1, 1)
    index = -100 if ignore_index is None else ignore_index
    return F.cross_entropy(logits.float(), target, ignore_index=index, reduction=reduction)
"""
STORED = "F.linear(input, linear_weight, linear_bias)"


@pytest.mark.parametrize(
    ("stored", "dtype", "word"),
    [(STORED, "float16", "pass"), (f"{STORED}.bfloat16()", "float16", "FAIL"), (STORED, "bfloat16", "pass")],
    ids=["as the input", "in bfloat16", "as an input of bfloat16"],
)
def test_a_loss_of_float32_from_stored_logits(stored: str, dtype: str, word: str, tmp_path: Path) -> None:
    kernel, outcome = tmp_path / "kernel.py", tmp_path / "outcome.json"
    kernel.write_text(KERNEL.replace("STORED", stored))
    options = [f"--subject={kernel}", f"--dtype={dtype}", f"--outcome={outcome}"]
    printed = run_claims(*options, claims=("test_forward.py", "test_gradients.py")).printed
    assert outcome.exists(), printed
    numbers: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))["verdict"]["parts"]["numbers"]
    assert (numbers["word"], numbers["cases"] > 20) == (word, True), printed
