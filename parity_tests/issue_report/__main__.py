"""Prints the report of a known divergence."""

import sys


def main(arguments: list[str] | None = None) -> int:
    """``torch-loss-parity upstream``; the exit status."""
    from torch_loss_parity.command.base import run
    from torch_loss_parity.command.upstream import upstream

    return run(upstream, arguments, name="torch-loss-parity upstream")


if __name__ == "__main__":
    sys.exit(main())
