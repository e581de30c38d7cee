"""What is expected of a case and kept on disk: the same to the last bit, found by all that it depends on, and
nobody is judged otherwise for it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity import verify
from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims import sample_inputs
from torch_loss_parity.claims.identities import compositions, identities, judgement
from torch_loss_parity.expectation import expectation, expectation_cache
from torch_loss_parity.expectation.encoding import decode, encode
from torch_loss_parity.expectation.expectation import FORWARD, certified, expected, upstream_gradient
from torch_loss_parity.expectation.fingerprint import digest
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import direction_of
from torch_loss_parity.meta.imports import files, imports, top
from torch_loss_parity.operators import OPERATORS, Operator, sampling
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.plugin import expectations as plugin
from torch_loss_parity.processes import disk_cache
from torch_loss_parity.processes.disk_cache import DiskCache
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, PROFILES
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import SETTINGS

Anew = Callable[[], DiskCache]


@pytest.fixture
def anew(tmp_path: Path) -> Iterator[Anew]:
    """Writes what is kept, and opens it again as the next run does."""
    open_now: list[DiskCache] = []

    def opened() -> DiskCache:
        for cache in open_now:
            cache.close()
        open_now[:] = [DiskCache(tmp_path / "kept", expectation_cache.state())]
        disk_cache.use(open_now[0])
        return open_now[0]

    yield opened
    disk_cache.use(None)
    for cache in open_now:
        cache.close()


def bits(value: Any) -> Any:
    """All that there is to a value, to be compared."""
    if isinstance(value, Rounded):
        error = value.error
        shared = [(unknown.axis, bits(r), bits(a)) for unknown, (r, a) in error.shared.items()]
        return value.arithmetic, bits(value.value), bits(error.relative), bits(error.absolute), shared
    if isinstance(value, DoubleDouble):
        return bits(value.high), bits(value.low)
    if isinstance(value, tuple | list):
        return type(value), [bits(each) for each in value]
    array = np.asarray(value)
    return type(value), array.dtype, array.shape, array.tobytes()


def depends_on(bounds: dict[str, Rounded]) -> list[list[int]]:
    """The unknowns of each quantity, numbered: quantities of one evaluation may depend on the same."""
    numbers: dict[Any, int] = {}
    return [[numbers.setdefault(k, len(numbers)) for k in bound.error.shared] for bound in bounds.values()]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=list(OPERATORS))
def test_what_is_found_is_what_was_evaluated(
    operator: Operator, anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    for dtype in ("bfloat16", "float64"):
        for case in list(grid(operator, dtype, EFFORTS["quick"], 0))[:4]:
            call = operator.call(case)
            upstream, along = upstream_gradient(call, case), direction_of(call, case, "input")
            asked += [(call, (FORWARD,)), (call, call.differentiable, upstream)]
            asked += [(call, (str(Quantity("input")), str(Quantity("input", "input"))), upstream, along)]
    without = [bits(list(expected(replace(call), *at).values())) for call, *at in asked]
    cache = anew()
    evaluated = [expected(replace(call), *at) for call, *at in asked]
    first = [bits(list(bounds.values())) for bounds in evaluated]
    unknowns = [depends_on(bounds) for bounds in evaluated]
    assert cache.found == 0
    cache = anew()
    monkeypatch.setattr(expectation, "_bounds", None)  # is not called
    again = [expected(replace(call), *at) for call, *at in asked]
    assert (cache.found, cache.missed) == (len(asked), 0)
    assert without == first == [bits(list(each.values())) for each in again]
    assert unknowns == [depends_on(bounds) for bounds in again]


def test_a_truth_is_found_for_the_same_bound_alone(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = OPERATORS["cross_entropy"]
    for dtype in ("float32", "float64"):
        call = operator.call(operator.case(dtype, (3, 4), "normal", {"reduction": "none"}, 0))
        upstream = np.ones(3)
        bound = expected(call, ("input",), upstream)["input"]
        other = replace(bound.error, absolute=bound.error.absolute + 1)
        anew()
        first = certified(call, "input", upstream, bound)
        with monkeypatch.context() as context:
            cache = anew()
            context.setattr(expectation, "certify", None)  # is not called
            assert bits(certified(call, "input", upstream, bound)) == bits(first)
            assert (cache.found, cache.missed) == (1, 0)
        certified(call, "input", upstream, Rounded(bound.value, bound.arithmetic, other))
        certified(call, "input", 2 * upstream, bound)
        assert (cache.found, cache.missed) == (1, 2)


def test_arrays_come_back_as_they_were() -> None:
    rng = np.random.default_rng(0)
    ones = np.ones((20, 30))
    values = [
        *(0.0, -0.0, float("nan"), float("-inf"), 3, True, None, "text", (1, (2.5, np.ones(2)))),
        *(
            np.float64("nan"),
            np.float64(1),
            np.asarray(2.0),
            np.zeros((0, 3)),
            np.arange(3),
            np.array([True]),
        ),
        *(ones, ones * np.arange(30), (ones.T * np.arange(20)).T, np.where(ones > 0, -0.0, ones)),
        *(rng.normal(size=(9, 8, 7)).transpose(2, 0, 1), rng.normal(size=(4, 8, 5))[:, ::2]),
        np.concatenate([ones[:1], -ones[:1] * 0, ones[:1] * 0] * 9),
        *(np.broadcast_to(rng.normal(size=(1, 30)), (20, 30)), DoubleDouble(ones, ones * 1e-20)),
        *(DoubleDouble(np.asarray(1.0)), np.full((9, 9), np.nan), np.float32(ones)),
    ]
    written = encode(values)
    assert bits(decode(written)) == bits(values)
    assert len(encode([ones])) < 100, "what is the same everywhere is written once"
    for strange in ({1}, np.array(["text"]), np.float32(1.0), object()):
        with pytest.raises(TypeError, match="not written down"):
            encode([strange])


def test_whatever_an_evaluation_depends_on_makes_another_key(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = OPERATORS["cross_entropy"]
    call = operator.call(operator.case("float32", (3, 4), "normal", {"weight": "positive"}, 0))
    way = next(way for way in each(operator.ways) if way.gives == "result")

    def asked_again(changed: Call = call, **options: Any) -> int:
        cache = anew()
        expected(changed, (FORWARD,), **options)
        return cache.found

    assert [asked_again() for _ in range(2)] == [0, 1]
    changes: dict[str, Any] = {
        "input": call.arguments["input"] + 1,
        "target": 3 - call.arguments["target"],
        "weight": None,
        "reduction": "sum",
        "label_smoothing": 0.5,
    }
    for name, value in changes.items():
        assert not asked_again(replace(call, arguments=dict(call.arguments) | {name: value})), name
    assert not asked_again(replace(call, output_dtype="float64"))
    assert not asked_again(profile=PROFILES["cuda-fast"])
    assert not asked_again(profile=replace(DEFAULT, changes={"float32": {"exp_ulps": 4.0}}))
    assert not asked_again(changes={"total": "storage"})
    assert not asked_again(function=way.function)
    assert asked_again(function=way.function)
    sources = list(expectation_cache.sources())
    for changed in ([], sources[1:], [*sources[:-1], Path(__file__)]):  # another version
        expectation_cache.state.cache_clear()
        monkeypatch.setattr(expectation_cache, "sources", lambda changed=changed: changed)
        assert not asked_again()
    monkeypatch.undo()
    expectation_cache.state.cache_clear()
    assert asked_again()


def test_what_is_no_part_of_this_package_is_not_kept(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = OPERATORS["softmax"]
    call = operator.call(operator.case("float32", (2, 3), "normal", {}, 0))

    def mine(**arguments: Any) -> Any:
        return operator.forward(**arguments)

    def kept(**options: Any) -> bool:
        for _ in range(2):
            cache = anew()
            expected(call, (FORWARD,), **options)
        return bool(cache.found)

    assert not kept(function=mine)
    assert not kept(function=partial(mine))
    monkeypatch.setitem(OPERATORS, "softmax", replace(operator, forward=mine))
    assert not kept()


def test_what_evaluates_is_part_of_the_key() -> None:
    """All that the expectations import, but for what has no part in a number."""
    inert = ("processes", "ledger", "subjects", "tensors", "faults")
    every = [each for each in imports() if each.imported and top(each.imported) not in inert]
    reached = {module.__name__.partition(".")[2] for module in (expectation, compositions)}
    while more := {each.imported for each in every if each.importer in reached} - reached:
        reached |= more
    assert len(reached) > 50
    paths, sources = files(), set(expectation_cache.sources())
    assert not [name for name in reached if paths[name] not in sources]


def test_the_covering_of_options_is_the_same_from_disk(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    def covered() -> list[list[tuple[str, Any]]]:
        axes = {name: list(values) for name, values in OPERATORS["nll_loss"].options.items()}
        rows = sampling.covering(OPERATORS["nll_loss"], axes, 2)
        return [list(row.items()) for row in rows]

    without = covered()
    anew()
    first = covered()
    cache = anew()
    monkeypatch.setattr(sampling, "make", None)
    assert without == first == covered()
    assert (cache.found, cache.missed) == (1, 0)


def test_samples_are_the_same_calls_from_disk() -> None:
    drawn = [
        operator.call(case)
        for operator in OPERATORS.values()
        for case in list(grid(operator, "float32", EFFORTS["quick"], 0))[:8]
    ]
    drawn = [call for call in drawn if not call.dtypes]
    again = sample_inputs._of_values(decode(encode(sample_inputs._as_values(drawn))))
    assert [digest(call) for call in again] == [digest(call) for call in drawn]


def test_an_identity_finds_both_of_its_sides(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject("mine", SimpleNamespace(log_softmax=torch.log_softmax), "")

    def found() -> list[Any]:
        return [
            (each.finding.quantity, each.finding.verdict, each.finding.strict)
            for identity in identities()
            if identity.speaks_of(OPERATORS["log_softmax"])
            for variant in list(identity.variants("log_softmax", "float32", "quick", 0))[:1]
            for each in judgement.verify_identity(identity, "log_softmax", "float32", variant, subject, "cpu")
        ]

    without = found()
    anew()
    first = found()
    cache = anew()
    assert repr(without) == repr(first) == repr(found())
    assert cache.found


def wrong(input: torch.Tensor, dim: Any, keepdim: bool = False) -> torch.Tensor:
    return torch.logsumexp(input, dim, keepdim) + 1e-4


def test_nobody_is_judged_otherwise(anew: Anew) -> None:
    def verdict(function: Callable[..., Any]) -> tuple[bool, str, list[str]]:
        claims = ("forward", "gradients", "semantics")
        verified = verify(function, "logsumexp", dtypes=["float32"], claims=claims, raise_exception=False)
        return bool(verified), str(verified), verified.failures

    for function, passes in ((torch.logsumexp, True), (wrong, False)):
        disk_cache.use(None)
        without = verdict(function)
        anew()
        first = verdict(function)
        cache = anew()
        assert without == first == verdict(function)
        assert without[0] == passes
        assert cache.found > 10 * cache.missed


@pytest.mark.whole_runs
def test_a_run_says_how_much_it_has_found(tmp_path: Path, anew: Anew) -> None:
    cache = anew()
    verify(torch.nn.functional.softmax, "softmax", dtypes=["float32"], claims=["forward"])
    disk_cache.use(None)
    cache.close()
    subject = tmp_path / "mine.py"
    subject.write_text("from torch.nn.functional import softmax\n")
    command = [sys.executable, "-m", "torch_loss_parity", "verify", str(subject), "--effort=quick"]
    command += ["--operator=softmax", "--dtype=float32", f"--expectations={cache.folder}"]
    command += ["--", "-k", "test_forward"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"expected values are kept in {cache.folder}" in run.stdout.replace("\n        ", " ")
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("expected values: "))
    found, every = int(line.split()[2]), int(line.split()[4])
    assert 0.9 * every < found <= every


def test_an_option_that_names_no_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(option: str | None) -> str:
        config: Any = SimpleNamespace(getoption={"expectations": option}.get)
        with pytest.raises(pytest.UsageError) as caught:
            plugin.pytest_configure(config)
        return str(caught.value)

    (tmp_path / "file").write_text("")
    for given in ("", str(tmp_path / "file")):
        monkeypatch.setenv(plugin.VARIABLE, given)
        wrong = f"is {given!r}; it must be a folder, or off"
        assert (refused(given), refused(None)) == (f"--expectations {wrong}", f"{plugin.VARIABLE} {wrong}")


def test_a_subject_of_this_package_keeps_nothing_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def header(option: str | None, subject: str) -> list[str]:
        config: Any = SimpleNamespace(getoption={"expectations": option}.get, stash=pytest.Stash())
        config.stash[SETTINGS] = SimpleNamespace(subject=Subject(subject, None, ""))
        plugin.pytest_configure(config)
        said = plugin.pytest_report_header(config)
        plugin.pytest_unconfigure(config)
        return said

    monkeypatch.setenv(plugin.VARIABLE, "off")
    assert not header(None, "mine.py")
    assert str(tmp_path) in header(str(tmp_path), "fault:zeros")[0]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "home"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.delenv(plugin.VARIABLE)
    assert not header(None, "torch")
    assert not header(None, "fault:zeros")
    assert str(tmp_path / "home") in header(None, "mine.py")[0]
