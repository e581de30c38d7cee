"""The command ``torch-loss-parity``, as ``python -m torch_loss_parity``."""

import sys
from importlib.util import find_spec


def _main() -> int:
    """The exit status; ``observe`` needs torch and NumPy alone."""
    if sys.argv[1:2] == ["observe"] and find_spec("click") is None:
        from torch_loss_parity.command.observing import main as observe

        return observe(sys.argv[2:])
    from torch_loss_parity.command.main import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
