"""Two audits compared: each change is seen and put in its place, and a gate trips on what it names and on
nothing else.

A comparison that let a figure vanish, an infinity pass or a wrong expression gate nothing would be worth less
than none: each of these is planted here.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.audit.__main__ import main
from torch_loss_parity.audit.compare import FIELDS, GateError, compare, gate, parse_gate, table
from torch_loss_parity.audit.files import save
from torch_loss_parity.audit.record import Audit, Figure
from torch_loss_parity.judging.wrapping import COLUMNS
from torch_loss_parity.meta import invented_audit

AUDIT = invented_audit.audit(sizes=((64, 1000),), values=("normal",))
KEYS = [figure.key for figure in AUDIT.figures]
FIRST = AUDIT.figures[0]


def with_figures(*figures: Figure) -> Audit:
    return AUDIT.model_copy(update={"figures": figures})


def measuring(figure: Figure = FIRST, **numbers: Any) -> Figure:
    return figure.model_copy(update={"subject": figure.subject.model_copy(update=numbers)})


def pair(old: dict[str, Any], new: dict[str, Any]) -> Any:
    """The comparison of one figure with other numbers."""
    return compare(with_figures(measuring(**old)), with_figures(measuring(**new)))


# --- what changed -------------------------------------------------------------------------------------------


def test_an_audit_is_equal_to_itself_whatever_the_order() -> None:
    comparison = compare(AUDIT, with_figures(*reversed(AUDIT.figures)))
    assert len(comparison.equal) == len(AUDIT.figures)
    assert not any(
        (comparison.worse, comparison.better, comparison.otherwise, comparison.gone, comparison.added)
    )
    assert comparison.sentence == f"Of {len(KEYS)} figures, {len(KEYS)} are unchanged."


def test_every_kind_of_change_is_counted_once_and_what_got_worse_comes_first() -> None:
    a, b, c, d, e, f = AUDIT.figures[:6]
    old = with_figures(measuring(a, max_ulp=1.0), measuring(b, max_ulp=1.0), measuring(c, max_ulp=0.0), d, e)
    new = with_figures(
        measuring(a, max_ulp=0.5),
        measuring(b, max_ulp=3.0),
        measuring(c, max_ulp=0.25),
        measuring(d, standing="fail", max_ulp=d.subject.max_ulp / 2),
        f,
    )
    comparison = compare(old, new)
    assert [change.key for change in comparison.changes] == [d.key, c.key, b.key, a.key]
    assert [change.ratio() for change in comparison.changes] == [0.5, 1024.0, 3.0, 0.5]
    assert [change.key for change in comparison.worse] == [d.key, c.key, b.key]
    assert [change.key for change in comparison.better] == [a.key]
    assert ([figure.key for figure in comparison.gone], [figure.key for figure in comparison.added]) == (
        [e.key],
        [f.key],
    )
    assert comparison.sentence == "Of 6 figures, 3 got worse, 1 got better, 1 are gone, 1 are new."


@pytest.mark.parametrize(
    ("old", "new", "ratio"),
    [
        (0.0, 0.0, 1.0),
        (0.0, 0.5, 2048.0),
        (1e-320, 1e-5, 1.0),
        (2.0, 3.0, 1.5),
        (math.inf, math.inf, 1.0),
        (1.0, math.inf, math.inf),
        (math.inf, 1.0, 0.0),
    ],
)
def test_ratios_with_zeros_and_infinities(old: float, new: float, ratio: float) -> None:
    (change,) = pair({"max_ulp": old}, {"max_ulp": new}).changes
    assert change.ratio() == ratio
    assert (change.is_worse, change.is_better) == (ratio > 1, ratio < 1)


def test_a_bias_is_compared_by_its_size_and_nan_is_the_worst() -> None:
    (change,) = pair({"mean_signed_ulp": -0.25}, {"mean_signed_ulp": 0.125}).changes
    assert change.ratio("mean_signed_ulp") == 0.5
    (change,) = pair({"mean_signed_ulp": -0.25}, {"mean_signed_ulp": math.nan}).changes
    assert change.ratio("mean_signed_ulp") == math.inf


def test_identical_inputs_and_outputs_are_told_from_others() -> None:
    other = FIRST.model_copy(update={"inputs": "other"})
    (change,) = compare(with_figures(FIRST), with_figures(other)).changes
    assert (change.same_inputs, change.same_outputs, change.is_equal) == (False, True, False)
    (change,) = pair({}, {"outputs": "other"}).changes
    assert (change.same_inputs, change.same_outputs, change.is_worse, change.is_better) == (
        True,
        False,
        False,
        False,
    )
    assert "1 changed otherwise" in pair({}, {"outputs": "other"}).sentence


def test_what_was_asked_for_and_the_environment_are_compared() -> None:
    new = AUDIT.model_copy(
        update={
            "settings": AUDIT.settings.model_copy(update={"device": "cuda", "dtypes": ("float16",)}),
            "environment": {name: value for name, value in AUDIT.environment.items() if name != "capability"}
            | {"gpu": "H100"},
        }
    )
    settings = {setting.name: (setting.old, setting.new) for setting in compare(AUDIT, new).settings}
    dtypes = ("float16, bfloat16, float32, float64", "float16")
    assert settings == {
        "device": ("cpu", "cuda"),
        "dtypes": dtypes,
        "capability": ("AVX512", ""),
        "gpu": ("", "H100"),
    }


# --- the gate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "old", "new", "trips"),
    [
        ("max_ulp:10%", 1.0, 1.1, False),
        ("max_ulp:10%", 1.0, 1.11, True),
        ("max_ulp:10%", 1.0, 0.5, False),
        ("max_ulp:10%", 0.0, 1e-6, False),
        ("max_ulp:10%", 0.0, 0.001, True),
        ("max_ulp:10%", 5e-324, 1e-300, False),
        ("max_relative:10%", 0.0, 1e-15, True),
        ("max_relative:10%", 1e-100, 1e-50, False),
        ("max_ulp:10%", 0.0, 0.0, False),
        ("max_ulp:0.5", 1.0, 1.5, False),
        ("max_ulp:0.5", 1.0, 1.51, True),
        ("max_ulp:0.5", 0.0, 0.5, False),
        ("max_ulp:0", 1.0, 1.0, False),
        ("max_ulp:0", 1.0, 1.0000001, True),
        ("max_ulp:1e9", 1.0, math.inf, True),
        ("max_ulp:1e9%", 1.0, math.inf, True),
        ("max_ulp:10%", math.inf, math.inf, False),
        ("max_ulp:0.5", math.inf, 1.0, False),
        ("mean_signed_ulp:0.1", -0.1, 0.15, False),
        ("mean_signed_ulp:0.1", 0.1, -0.25, True),
        ("mean_signed_ulp:5", 0.1, math.nan, True),
    ],
)
def test_a_gate_trips_beyond_what_it_allows(expression: str, old: float, new: float, trips: bool) -> None:
    field = expression.partition(":")[0]
    assert bool(gate(pair({field: old}, {field: new}), expression)) == trips


@pytest.mark.parametrize("field", FIELDS)
def test_a_gate_on_a_field_sees_that_field_and_no_other(field: str) -> None:
    now = abs(getattr(FIRST.subject, field))
    grown = pair({}, {field: 2 * now + 1})
    for other in FIELDS:
        assert bool(gate(grown, f"{other}:10%")) == (other == field)
    assert gate(grown, f"{field}:10%") == [
        f"{field}:10%: {FIRST.key}: {field} grew from {now:.4g} to {2 * now + 1:.4g}"
    ]


def test_differing_trips_on_any_bit_and_where_bits_cannot_be_compared() -> None:
    assert gate(pair({}, {}), "differing") == []
    assert gate(pair({}, {"outputs": "other"}), "differing") == [
        f"differing: {FIRST.key}: bits of the result changed"
    ]
    other = compare(with_figures(FIRST), with_figures(FIRST.model_copy(update={"inputs": "other"})))
    assert gate(other, "differing") == [
        f"differing: {FIRST.key}: the inputs are not the same, so that bits cannot be compared"
    ]


def test_a_figure_that_vanished_trips_and_one_that_is_new_does_not() -> None:
    two = with_figures(*AUDIT.figures[:2])
    assert gate(compare(two, with_figures(FIRST)), "max_ulp:10%") == [
        f"max_ulp:10%: {AUDIT.figures[1].key}: is not in the new audit"
    ]
    assert gate(compare(with_figures(FIRST), two), "max_ulp:10%,differing") == []
    narrower = AUDIT.model_copy(
        update={"figures": (FIRST,), "settings": AUDIT.settings.model_copy(update={"effort": "quick"})}
    )
    assert gate(compare(two, narrower), "differing")[0].endswith(
        "is not in the new audit (the two were asked for other effort)"
    )


def test_a_gate_with_nothing_to_compare_trips() -> None:
    assert gate(compare(with_figures(), with_figures()), "max_ulp:10%") == [
        "max_ulp:10%: there is no figure to compare"
    ]
    assert gate(compare(with_figures(), with_figures(FIRST)), "max_ulp:10%") == [
        "max_ulp:10%: there is no figure to compare"
    ]


def test_several_gates_trip_one_by_one() -> None:
    grown = pair({"max_ulp": 1.0, "fraction": 0.5}, {"max_ulp": 2.0, "fraction": 0.75, "outputs": "other"})
    assert [line.partition(":")[0] for line in gate(grown, " max_ulp:10%, differing ,fraction:.1")] == [
        "max_ulp",
        "differing",
        "fraction",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "",
            "max_ulp",
            "max_ulp:",
            "max_ulp:-1",
            "max_ulp:10%%",
            "max_upl:10%",
            "mean:5%",
            "max_ulp:ten",
            "max_ulp:10% fraction:1",
        ),
        *("differing:1", "max_ulp:10%,", "max_ulp:nan", "max_ulp:inf", "max_ulp:1e999", "max_ulp=10%"),
    ],
)
def test_a_wrong_expression_shows_what_is_allowed(wrong: str) -> None:
    with pytest.raises(GateError) as raised:
        parse_gate(wrong)
    assert all(f"{word}" in str(raised.value) for word in (*FIELDS, "FIELD:10%", "FIELD:0.5", "differing"))
    assert str(raised.value).startswith(f"{wrong!r}: ")


# --- in the terminal ----------------------------------------------------------------------------------------


def test_the_table_shows_what_changed_and_counts_what_it_does_not_show() -> None:
    finite = with_figures(*(figure for figure in AUDIT.figures if math.isfinite(figure.subject.max_ulp)))
    new = with_figures(
        *(
            measuring(figure, max_ulp=2 * figure.subject.max_ulp + 1, outputs="other")
            for figure in finite.figures[1:]
        )
    )
    lines = table(compare(finite, new), shown=3)
    number = len(finite.figures)
    assert lines[0] == f"Of {number} figures, {number - 1} got worse, 1 are gone."
    assert lines[-1] == f"only in the old: {KEYS[0]}"
    assert lines[-2] == f"... and {number - 4} more"
    numbers = [line for line in lines[-8:-2] if line.endswith("differ")]
    assert [" same " in line for line in numbers] == [True] * 3
    ratios = [float(line.split()[2]) for line in numbers]
    assert ratios == sorted(ratios, reverse=True)
    assert max(map(len, lines)) <= COLUMNS


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str, Audit], str]:
    def save_as(name: str, audit: Audit) -> str:
        save(audit, tmp_path / name)
        return str(tmp_path / name)

    return save_as


def test_the_command_compares_two_files_and_its_status_is_that_of_the_gate(
    saved: Callable[[str, Audit], str], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = saved("old.json", with_figures(FIRST)), saved("new.json", with_figures(measuring(max_ulp=9.0)))
    assert main(["compare", old, old, "--fail", "max_ulp:0", "--fail", "differing"]) == 0
    assert "1 are unchanged" in capsys.readouterr().out
    assert main(["compare", old, new]) == 0
    assert main(["compare", old, new, "--fail", "differing", "--fail", "max_ulp:10%"]) == 1
    assert f"FAIL max_ulp:10%: {FIRST.key}: max_ulp grew from" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "{old}", "none.json"], "error: none.json: there is no such file"),
        (
            ["compare", "{old}", "{old}", "--fail", "max:1"],
            "error: 'max:1': 'max' is no field: a gate is FIELD:10%",
        ),
        (["page", "none.json"], "error: none.json: there is no such file"),
    ],
)
def test_what_is_wrong_with_a_file_or_an_option_is_a_line_and_a_status_of_2(
    arguments: list[str], message: str, saved: Callable[[str, Audit], str], capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved("old.json", with_figures(FIRST))
    assert main([argument.format(old=old) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith(message)


def test_without_its_libraries_the_command_names_the_extra() -> None:
    code = (
        "import runpy, sys; sys.modules['pydantic'] = None; runpy.run_module('torch_loss_parity.audit', "
        "run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (
        2,
        "error: audits need pydantic; install the extra: pip install -e '.[report]'\n",
    )


@pytest.mark.parametrize("arguments", [[], ["compare"], ["compare", "a", "b", "--shown", "-1"], ["print"]])
def test_a_wrong_call_is_a_status_of_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: python -m torch_loss_parity.audit" in capsys.readouterr().err
