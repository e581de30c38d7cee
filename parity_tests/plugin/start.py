"""What comes before anything else is loaded: the garbage collector and the environment.

Imported first, and for its effects, by `torch_loss_parity.plugin.interface`.
"""

from __future__ import annotations

# isort: off
import gc

gc.disable()  # until the tests are collected: what is made until then stays
# isort: on

import os

from torch_loss_parity.processes.child_environment import ENVIRONMENT, of_simulated_cpu

# Before torch is loaded; for workers too.
os.environ.update({**ENVIRONMENT, **of_simulated_cpu(os.environ), **os.environ})
