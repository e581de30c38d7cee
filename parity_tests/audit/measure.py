"""Everything that a sandbox may be asked for, loaded before the time of its first call counts.

Every function here but `loaded` returns a `Part` as JSON, or what `results` says, whatever the subject does,
unless it takes the process with it.
"""

from torch_loss_parity.audit.measure_axes import axes, compiled, results
from torch_loss_parity.audit.measure_cases import draw, search
from torch_loss_parity.audit.measure_sweeps import exhaust, summed, swept
from torch_loss_parity.audit.part import loaded

__all__ = ["axes", "compiled", "draw", "exhaust", "loaded", "results", "search", "summed", "swept"]
