"""Draws of Hypothesis that follow from the seed alone.

Since release 6.131 Hypothesis also draws constants that stand in the source of whichever local modules are
imported by then. With those, the cases of a seed change with an edit of the source, with the tests that ran
before in the process, and from a checkout to a wheel.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

NAME = "torch_loss_parity"

try:
    from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
except ImportError:  # an older release
    OF_THE_SEED_ALONE = settings()
else:

    class WithoutConstants(HypothesisProvider):
        """Hypothesis' own random numbers, never a constant of the source."""

        def _maybe_draw_constant(self, *_: Any, **__: Any) -> None:
            return None

    AVAILABLE_PROVIDERS[NAME] = f"{__name__}.{WithoutConstants.__name__}"
    OF_THE_SEED_ALONE = settings(backend=NAME)
