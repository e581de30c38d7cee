"""The command ``torch-loss-parity``, as ``python -m torch_loss_parity``."""

import sys

from torch_loss_parity.command.main import main

if __name__ == "__main__":
    sys.exit(main())
