"""Where each case costs a compilation, dtypes take turns at quick effort: a test of an operator runs in one
of them.

Every dtype is met by every operator and by every claim, though not by every test; another one comes first
with the next seed. Smallest inputs of the ledger run in every dtype that they are recorded for. Nothing is
left out at standard effort.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.subjects.settings import SETTINGS, Settings


def dtypes_rotate(settings: Settings) -> bool:
    """Whether dtypes take turns in a run."""
    return settings.subject.compiles and settings.effort_name == "quick" and len(settings.dtypes) > 1


def pytest_report_header(config: pytest.Config) -> list[str]:
    settings = config.stash[SETTINGS]
    return (
        [f"parity: {settings.subject.name} compiles each case: dtypes take turns at quick effort"]
        if dtypes_rotate(settings)
        else []
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what another dtype's turn it is."""
    settings = config.stash[SETTINGS]
    if not dtypes_rotate(settings):
        return
    tests: dict[tuple[object, ...], list[pytest.Item]] = {}
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if {"operator", "dtype"} <= set(params):
            others = tuple(
                sorted(
                    (name, str(value)) for name, value in params.items() if name not in ("operator", "dtype")
                )
            )
            tests.setdefault(
                (item.path, getattr(item, "originalname", ""), params["operator"].name, others), []
            ).append(item)
    left: set[pytest.Item] = set()
    for number, same in enumerate(tests.values()):
        chosen = same[(number + settings.seed) % len(same)]
        left |= {item for item in same if item is not chosen}
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]
