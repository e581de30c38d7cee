"""What a pass is worth, in one table of the front page: wrong kernels that are caught, right ones that are
accepted, beside what people use today.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch_loss_parity.campaign.campaign_runs import Judged
from torch_loss_parity.campaign.right_runs import RightRun
from torch_loss_parity.campaign.scores import scores
from torch_loss_parity.reports.readme import markdown_table

# In half precision they reject right kernels too, as torch is further off than they allow.
OF_PRACTICE = "not asked"


def section(faults: Mapping[str, Judged], right: Mapping[str, RightRun]) -> str:
    """The table as Markdown."""
    number, *caught = scores(list(faults.values()))
    accepted = sum(not run.rejected for run in right.values())
    return markdown_table(
        [
            "",
            "this suite",
            "`torch.testing.assert_close` on PyTorch's own samples (OpInfo)",
            "`gradcheck` on the same",
        ],
        [
            [f"{number} planted faults, caught", *map(str, caught)],
            [f"{len(right)} right kernels, accepted", str(accepted), OF_PRACTICE, OF_PRACTICE],
        ],
    )
