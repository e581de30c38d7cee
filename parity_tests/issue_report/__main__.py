"""Prints the report of a known divergence."""

import sys

from torch_loss_parity.issue_report.issue_report import main

if __name__ == "__main__":
    sys.exit(main())
