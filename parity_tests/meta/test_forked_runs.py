"""Runs that share what does not depend on the subject find what runs of their own find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.expectation.expectation import (
    FORWARD,
    enclosed,
    expected,
    upstream_gradient,
)
from torch_loss_parity.expectation.fingerprint import digest
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import direction_of
from torch_loss_parity.meta import children, ending, without_posix
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic.rounding import Rounded

Environment = Mapping[str, str]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept() -> Iterator[None]:
    expectation_cache.keep()
    yield
    expectation_cache.forget()


def printed(module: str, directory: Path, environment: Environment, *arguments: str) -> Any:
    """What a module prints last, in a process of its own with a single thread; JSON."""
    command = [sys.executable, "-m", module, str(directory), *arguments]
    variables = {**environment, "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.whole_runs
def test_runs_that_share_find_what_runs_of_their_own_find(tmp_path: Path) -> None:
    """Here, and where there is no fork: what runs of their own find there is in `test_without_posix`."""
    folders = {name: tmp_path / name for name in ("here", "there", "site")}
    for folder in folders.values():
        folder.mkdir()
    found = printed(children.__name__, folders["here"], os.environ, "by_themselves", "sharing")
    elsewhere = without_posix.environment(folders["site"])
    there = printed(children.__name__, folders["there"], elsewhere, "sharing")
    own = found["by_themselves"]
    assert [run["exitcode"] for run in own.values()] == [1, 1, 0]
    for name, run in own.items():
        for shared in (found["sharing"][name], there["sharing"][name]):
            for key in ("exitcode", "failed", "counts"):
                assert shared[key] == run[key]
            # Tests that do not call the subject are left out.
            assert set(shared["passed"]) <= set(run["passed"])
            assert (shared["first_failure"] is None) == (run["first_failure"] is None)


@pytest.mark.whole_runs
def test_a_process_that_dies_or_hangs_frees_its_slot(tmp_path: Path, environment: Environment) -> None:
    assert printed(ending.__name__, tmp_path, environment) == {"dies": -6, "hangs": -9, "ends": 0}


def parts(bound: Rounded) -> list[Any]:
    shared = [part for coefficients in bound.error.shared.values() for part in coefficients]
    return [bound.value, bound.error.relative, bound.error.absolute, *shared]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=list(OPERATORS))
def test_what_is_cached_is_what_would_be_evaluated(operator: Operator, kept: None) -> None:
    for case in list(grid(operator, "float16", EFFORTS["quick"], 0))[:6]:
        call = operator.call(case)
        grad_output = upstream_gradient(call, case)
        direction, jvp = direction_of(call, case, "input"), str(Quantity("input"))
        for quantities, *at in (
            ((FORWARD,), None),
            (call.differentiable, grad_output),
            ((jvp,), grad_output, direction),
        ):
            kept_bounds = [expected(call, quantities, *at) for _ in range(2)]
            expectation_cache.forget()
            evaluated = expected(operator.call(case), quantities, *at)
            expectation_cache.keep()
            for bounds in kept_bounds:
                assert bounds.keys() == evaluated.keys()
                for name, bound in bounds.items():
                    assert bound.arithmetic == evaluated[name].arithmetic
                    for part, again in zip(parts(bound), parts(evaluated[name]), strict=True):
                        np.testing.assert_array_equal(part, again, strict=True)


def test_whatever_a_bound_depends_on_makes_another_one(kept: None) -> None:
    operator = OPERATORS["cross_entropy"]
    call = operator.call(operator.case("float32", (3, 4), "normal", {"weight": "positive"}, 0))
    upstream = np.asarray(1.0)
    changed = [
        call,
        replace(call, arguments=dict(call.arguments) | {"input": call.arguments["input"] + 1}),
        replace(call, arguments=dict(call.arguments) | {"target": 3 - call.arguments["target"]}),
        replace(call, arguments=dict(call.arguments) | {"weight": None}),
        replace(call, arguments=dict(call.arguments) | {"reduction": "sum"}),
        replace(call, arguments=dict(call.arguments) | {"label_smoothing": 0.5}),
        replace(call, dtype="float16"),
        replace(call, output_dtype="float64"),
        replace(call, dtypes={"weight": "float64"}),
    ]
    keys = [digest(each) for each in changed]
    requests: list[tuple[Any, ...]] = [
        (FORWARD,),
        ("input", upstream),
        ("input", upstream + 1),
        ("input", upstream, {}),
    ]
    keys += [digest((call, *more)) for more in requests]
    keys += [
        digest((call, ("jvp along input",), upstream, upstream)),
        digest((call, ("jvp along input",), upstream, upstream + 1)),
        digest((call, ("gradient of input along input",), upstream, upstream)),
    ]
    with_options = [
        partial(operator.backward, **options) for options in ({}, {"reduction": "sum"}, {"reduction": "none"})
    ]
    keys += [digest(function) for function in (expected, enclosed, operator.backward, *with_options)]
    assert len(set(keys)) == len(keys)
    assert (
        digest(operator.call(operator.case("float32", (3, 4), "normal", {"weight": "positive"}, 0)))
        == keys[0]
    )


def test_what_has_no_fingerprint_is_refused() -> None:
    for value in (lambda: None, object(), {1, 2}):
        with pytest.raises(TypeError, match="has no fingerprint"):
            digest((1.0, [value]))
