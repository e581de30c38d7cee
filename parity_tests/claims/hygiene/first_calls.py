"""Checks that a first call leaves nothing behind that a later call fails on: what a kernel makes once and
keeps, a table of its classes or a program for its shape, has been made in inference mode, where it is a
tensor that autograd cannot save, or in another dtype.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from torch_loss_parity.claims.hygiene import scripts
from torch_loss_parity.claims.hygiene.conduct import Probe, offered
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings

UNSEEN = (3, 1951)  # classes: a number of them that no other case has
OTHERS = {"float16": 1949, "bfloat16": 1931, "float32": 1933, "float64": 1913}  # of each dtype another one
MODE = "after a first call of its shape in inference mode"


def a_first_call_may_be_in_inference_mode(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """The call that follows is right, and has its gradients."""
    probe = _probe(operator, dtype, UNSEEN, settings, tally)
    with torch.inference_mode():
        probe.start(())
    probe.agrees(probe.results_within(nullcontext(), MODE, SHOWN), MODE, exactly=False, happens=SHOWN)


def a_first_call_may_be_in_another_dtype(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """The call that follows is not that of a program which was made for the dtype of the first one; nor is
    the first one's.
    """
    other = next((each for each in settings.subject.promise.dtypes if each != dtype), None)
    if other is None:
        pytest.skip(f"no other dtype than {dtype} is promised")
    probe = _probe(operator, dtype, (3, OTHERS[dtype]), settings, tally)
    first = Probe(replace(probe.case, dtype=other), settings, Tally("", ""))
    what, others = f"after a first call of its shape in {other}", {"other": first}
    first.run()
    for quantity, result in probe.results_within(nullcontext(), what, scripts.RUN_OTHER).items():
        probe.judge(quantity, result, what, scripts.RUN_OTHER, others)


def _probe(operator: Operator, dtype: str, shape: tuple[int, ...], settings: Settings, tally: Tally) -> Probe:
    options = offered(operator, {"reduction": "sum", "dim": -1, "label_smoothing": 0.1})
    return Probe(
        operator.case(dtype, shape, next(iter(operator.values)), options, settings.seed), settings, tally
    )


SHOWN = (
    "with torch.inference_mode():",
    "    call({name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in mine.items()})",
)
