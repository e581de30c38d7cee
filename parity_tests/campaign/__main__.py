"""Judges the planted faults and the right kernels."""

import sys


def main() -> int:
    """``torch-loss-parity campaign``; the exit status."""
    from torch_loss_parity.command.base import run
    from torch_loss_parity.command.campaign import campaign

    return run(campaign, None, name="torch-loss-parity campaign")


if __name__ == "__main__":
    sys.exit(main())
