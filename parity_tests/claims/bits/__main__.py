"""What leaves the bits of results as they are: prints it, or records it."""

import sys


def main() -> int:
    """``torch-loss-parity bits``; the exit status."""
    from torch_loss_parity.command.base import run
    from torch_loss_parity.command.bits import bits

    return run(bits, None, name="torch-loss-parity bits")


if __name__ == "__main__":
    sys.exit(main())
