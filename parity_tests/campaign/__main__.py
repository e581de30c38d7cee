"""Judges the planted faults and the right kernels."""

import sys

from torch_loss_parity.campaign.campaign import main

if __name__ == "__main__":
    sys.exit(main())
