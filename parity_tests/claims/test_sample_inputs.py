"""PyTorch's own sample inputs for these operators, forward and gradients, agree with the reference within the
derived bound.

They are what PyTorch's test suite runs, against no reference. Loading them needs expecttest (development
extra) and takes seconds: one test does.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torch_loss_parity.claims.sample_inputs import calls, judge_sample
from torch_loss_parity.judging import tally
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import Settings


def test_sample_inputs_agree(settings: Settings, request: pytest.FixtureRequest) -> None:
    """Every sample in every dtype, or in one of them where dtypes share the cases of an operator; counted by
    operator and dtype like any other claim.
    """
    if settings.effort_name == "quick":
        pytest.skip(
            "quick effort leaves out PyTorch's sample inputs: loading them takes longer than all the rest"
        )
    pytest.importorskip("expecttest", reason="PyTorch's sample inputs need expecttest (extra: dev)")
    failures, asked = [], settings.operators or tuple(OPERATORS)
    for dtype in settings.dtypes:
        drawn = calls(dtype, settings.seed)
        if not drawn:
            pytest.skip(f"torch {torch.__version__} does not have its sample inputs where they were")
        counts = {name: tally.Tally(name, dtype, "sample inputs") for name in asked}
        for number, call in enumerate(drawn):
            operator = call.operator
            if operator not in asked:
                continue
            dealt_out = OPERATORS[operator].family.dealt_out and settings.effort.family_shared
            turn = (number + settings.seed) % (2 * len(settings.dtypes))  # all of them in two seeds
            if dealt_out and turn != settings.dtypes.index(dtype):
                continue
            if not settings.subject.offers(operator):
                counts[operator].decline(f"{settings.subject.name} has no {operator}")
                continue
            try:
                rng = np.random.default_rng([settings.seed, number])
                for finding in judge_sample(call, settings, rng, certify=not dealt_out):
                    counts[operator].add(finding)
                    if not finding.verdict.passes:
                        failures.append(explain(finding, settings.subject, settings.device))
            except NotOffered as error:
                counts[operator].decline(str(error))
        for name, count in counts.items():  # of a release of torch that lacks one, there are no samples
            if not settings.subject.offers(name) and not count.declined:
                count.decline(f"{settings.subject.name} has no {name}")
        assert all(count.cases or count.declined for count in counts.values()), "an operator has no samples"
        request.node.user_properties += [(tally.PROPERTY, count.as_property()) for count in counts.values()]
    assert not failures, f"{len(failures)} samples fail; the first:\n\n{failures[0]}"
