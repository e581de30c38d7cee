"""Cases follow from the seed alone, and every pair of options is met.

A failure is worth little if another run draws other cases, and an option that is only met at its default is
not tested.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.draws import OF_THE_SEED_ALONE
from torch_loss_parity.operators.sampling import (
    EFFORTS,
    fits,
    for_each_random_case,
    grid,
    random_cases,
    sizes,
)


def drawn(name: str, dtype: str, base_seed: int) -> list[Case]:
    cases: list[Case] = []
    strategy = random_cases(OPERATORS[name], dtype, 40)
    for_each_random_case(
        strategy, cases.append, examples=10, base_seed=base_seed, name=f"forward {name} {dtype}"
    )
    return cases


def test_the_same_seed_gives_the_same_cases_in_any_order_and_another_seed_gives_others() -> None:
    keys = [("softmax", "float32"), ("cross_entropy", "float64"), ("softmax", "float16")]
    first = {key: drawn(*key, 0) for key in keys}
    # As a worker of pytest-xdist that runs some of them.
    assert {key: drawn(*key, 0) for key in reversed(keys)} == first
    for key in keys:
        assert drawn(*key, 1) != first[key]
        operator = OPERATORS[key[0]]
        for make in (grid, sizes):
            assert list(make(operator, key[1], EFFORTS["quick"], 5)) == list(
                make(operator, key[1], EFFORTS["quick"], 5)
            )
            assert list(make(operator, key[1], EFFORTS["quick"], 5)) != list(
                make(operator, key[1], EFFORTS["quick"], 6)
            )


def test_cases_do_not_depend_on_the_source_that_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis draws constants of local modules; a planted one has a thousand of them."""
    providers = pytest.importorskip("hypothesis.internal.conjecture.providers")
    if not hasattr(providers, "_get_local_constants"):
        pytest.skip("this release of Hypothesis draws no constants of local modules")

    def seeds(chosen: settings) -> list[int]:
        drawn: list[int] = []

        @seed(0)
        @settings(chosen, max_examples=100, database=None, phases=(Phase.generate,))
        @given(st.integers(0, 2**32 - 1))
        def draw(number: int) -> None:
            drawn.append(number)

        draw()
        return drawn

    def with_constants(numbers: range, chosen: settings) -> list[int]:
        constants = providers.Constants(integers=set(numbers), floats=set(), strings=set(), bytes=set())
        monkeypatch.setattr(providers, "_get_local_constants", lambda: constants)
        providers.CONSTANTS_CACHE.cache.clear()
        return seeds(chosen)

    ordinary, planted = range(10**9, 10**9 + 1000), range(2 * 10**9, 2 * 10**9 + 1000)
    assert with_constants(ordinary, OF_THE_SEED_ALONE) == with_constants(planted, OF_THE_SEED_ALONE)
    assert with_constants(ordinary, settings()) != with_constants(planted, settings())  # so it is needed
    providers.CONSTANTS_CACHE.cache.clear()


@pytest.mark.parametrize("effort", ["quick", "standard"])
@pytest.mark.parametrize("name", OPERATORS)
def test_every_pair_of_options_that_makes_sense_is_met_beyond_quick_effort_with_shapes_and_values_too(
    name: str, effort: str
) -> None:
    operator = OPERATORS[name]
    axes: dict[str, Any] = dict(operator.options)
    if effort != "quick":
        axes |= {"shape": operator.shapes, "values": tuple(operator.values)}
    cases = [
        dict(case.options) | {"shape": case.shape, "values": case.values}
        for case in grid(operator, "float32", EFFORTS[effort], 0)
    ]
    wanted = 0
    for a, b in combinations(axes, 2):
        met = {(case[a], case[b]) for case in cases}
        for pair in product(axes[a], axes[b]):
            if fits(operator, dict(zip((a, b), pair, strict=True))):
                assert pair in met, f"{a}={pair[0]} with {b}={pair[1]}"
                wanted += 1
    assert wanted >= len(cases)
