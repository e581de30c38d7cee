"""How many faults are caught: by this suite, and by what people use today."""

from __future__ import annotations

from collections.abc import Sequence

from torch_loss_parity.campaign.campaign_runs import Judged

PRACTICE = ("assert_close", "gradcheck")


def caught(judged: Judged) -> bool:
    return judged.exitcode == 1 and bool(judged.claims)


def scores(judged: Sequence[Judged], judges: Sequence[str] = ("this suite", *PRACTICE)) -> list[int]:
    """How many there are, and how many each judge caught."""
    by = {
        "this suite": caught,
        "assert_close": lambda j: bool(j.assert_close),
        "gradcheck": lambda j: bool(j.gradcheck),
    }
    return [len(judged), *(sum(map(by[judge], judged)) for judge in judges)]
