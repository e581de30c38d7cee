"""Products in any association: what each loses on the way is within the bound, and nothing is charged where
no product of some of the factors leaves the normal range.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from torch_loss_parity.reference.arithmetic import rounding_functions as xp
from torch_loss_parity.reference.arithmetic.formats import FLOAT32, Arithmetic
from torch_loss_parity.reference.arithmetic.rounding import Rounded

FLUSHING = Arithmetic.for_dtype("float32")
GRADUAL = Arithmetic.for_dtype("float32", flushes_subnormals=False)
SIZE = 2000


def factors(seed: int, exponents: tuple[float, float]) -> list[np.ndarray]:
    """Three arrays of float32 whose exponents are even over a range, of either sign."""
    rng = np.random.default_rng(seed)
    low, high = exponents
    sizes = np.exp2(rng.uniform(low, high, (3, SIZE)))
    return [FLOAT32.round(row) for row in rng.choice([-1.0, 1.0], (3, SIZE)) * sizes]


def flushed(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)


def associations(arrays: list[np.ndarray], flush: bool) -> list[np.ndarray]:
    """(a b) c of float32 in every order."""
    results = []
    for first, second, third in permutations(np.asarray(array, np.float32) for array in arrays):
        with np.errstate(all="ignore"):
            product = first * second
            result = (flushed(product) if flush else product) * third
        results.append((flushed(result) if flush else result).astype(np.float64))
    return results


def product_of(arrays: list[np.ndarray], arithmetic: Arithmetic, *, remembers: bool = True) -> Rounded:
    """a b c with its bound, of an array that remembers that a b is a product or does not."""
    a, b, c = (Rounded(array, arithmetic) for array in arrays)
    product = a * b
    return (product if remembers else product.as_product(None)) * c


@pytest.mark.parametrize("arithmetic", [FLUSHING, GRADUAL], ids=["flushing", "gradual"])
@pytest.mark.parametrize("exponents", [(-75.0, 20.0), (-120.0, 60.0), (-60.0, 126.0), (-126.0, 126.0)])
def test_every_association_is_within_the_bound_and_was_not_before(
    arithmetic: Arithmetic, exponents: tuple[float, float]
) -> None:
    arrays = factors(1, exponents)
    value, allowed = np.prod(arrays, axis=0), product_of(arrays, arithmetic).total_error()
    before = product_of(arrays, arithmetic, remembers=False).total_error()
    broken = 0
    for result in associations(arrays, arithmetic.flushes_subnormals):
        with np.errstate(invalid="ignore"):
            error = np.abs(result - value)
        assert np.all((error <= allowed) | np.isinf(allowed))
        broken += np.sum(~(error <= before) & np.isfinite(before))
    assert broken > 0
    assert np.all(allowed >= before)


@pytest.mark.parametrize("arithmetic", [FLUSHING, GRADUAL, Arithmetic.for_dtype("float64")])
def test_nothing_is_charged_where_no_product_leaves_the_normal_range(arithmetic: Arithmetic) -> None:
    arrays = factors(2, (-40.0, 40.0))
    arrays[0][:100] = 0.0  # exactly 0 in every association
    known = product_of(arrays, arithmetic)
    before = product_of(arrays, arithmetic, remembers=False)
    assert np.array_equal(known.total_error(), before.total_error())


def test_what_overflows_in_one_association_is_undecided_and_what_has_one_association_is_not() -> None:
    large, small = (Rounded(np.asarray([number]), FLUSHING) for number in (1e30, 1e-30))
    assert np.isinf((large * small * large).total_error()).all()
    assert np.isinf((small / (Rounded(np.asarray([1e-30]), FLUSHING)) * large * large).total_error()).all()
    assert np.isfinite((large * small).total_error()).all()
    of_rows = [Rounded(np.asarray([[number] * 2]), FLUSHING) for number in (1e30, 1e-30)]
    row = xp.sum(of_rows[0] * of_rows[1], axis=1, keepdims=True)  # no product
    assert np.isfinite((of_rows[0] * row).total_error()).all()


def moved(x: Rounded) -> Any:
    return xp.reshape(xp.expand_dims(-x, axis=0), (-1,))


def test_a_product_is_one_wherever_it_is_moved_and_what_is_chosen_of_two_is() -> None:
    a, b, c = (Rounded(np.full(4, number), FLUSHING) for number in (1e-30, 1e-30, 1e30))
    plain = (a * b * c).total_error()
    assert np.array_equal((moved(a * b) * c).total_error(), plain)
    where = Rounded(np.asarray([True, True, False, False]), FLUSHING)
    some = (xp.where(where, c * c, b) * (a * a)).total_error()
    assert np.isinf(some[:2]).all()  # c c a a: 1e60 on the way
    assert np.isfinite(some[2:]).all()
