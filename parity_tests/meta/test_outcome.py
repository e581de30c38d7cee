"""What ``pytest --report`` writes keeps to its schema, which JSON can say, and the summary comes from it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.reports import outcome_file, verdict
from torch_loss_parity.versions.record import OUTCOME

KERNEL = """
import torch
PROMISES = {"ndim": (1, 2)}
def softmax(input, dim, dtype=None):
    return torch.nn.functional.softmax(input, dim, dtype=dtype) * (float("nan") if input.dim() == 1 else 1)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The report and the summary of a run that fails."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "kernel.py").write_text(KERNEL)
    files = ("--report", str(folder / "report.json"), "--summary", str(folder / "summary.md"))
    ended = run_claims("--subject", str(folder / "kernel.py"), "--dtype", "float32", *files)
    assert ended.exitcode == pytest.ExitCode.TESTS_FAILED, ended.printed
    return (folder / "report.json").read_text(), (folder / "summary.md").read_text()


def refuse(number: str) -> None:
    raise ValueError(f"JSON has no {number}")


def test_the_report_of_a_run_keeps_to_the_schema(written: tuple[str, str]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked by jsonschema (extra: dev)")
    schema = json.loads(outcome_file.PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    report = json.loads(written[0], parse_constant=refuse)
    assert [error.message for error in validator.iter_errors(report)] == []
    assert report["verdict"]["word"] == "FAIL"
    assert report["verdict"]["parts"]["numbers"]["worst"] == "infinity"
    assert report["worst"]["softmax float32"]["forward"] == "infinity"
    assert not validator.is_valid(report | {"more": 1})
    assert not validator.is_valid(report | {"schema": outcome_file.SCHEMA + 1})


def test_the_summary_comes_from_the_report(written: tuple[str, str]) -> None:
    report, summary = json.loads(written[0]), written[1]
    assert summary == verdict.markdown(report)
    assert re.match(r"## torch-loss-parity: `.*kernel.py` FAILS\n\n\d+ cases, [12] failing tests; ", summary)
    assert "- **numbers**: FAIL, " in summary
    assert "- promised: ndim=1|2" in summary
    assert "nan where a finite number is expected" in summary


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": math.inf}, '{"a":"infinity"}'),
        ([(-math.inf, 1.0)], '[["-infinity",1.0]]'),
        (math.nan, '"nan"'),
        ({"b": [None, 2, True, "c"]}, '{"b":[null,2,true,"c"]}'),
    ],
)
def test_what_is_no_number_stands_as_its_name(value: Any, text: str) -> None:
    assert json.dumps(outcome_file.written(value), separators=(",", ":")) == text
    assert json.loads(outcome_file.text_of(value)) == json.loads(text)


def test_the_version_is_the_one_that_records_read() -> None:
    schema = json.loads(outcome_file.PATH.read_text(encoding="utf-8"))
    assert schema["properties"]["schema"]["const"] == outcome_file.SCHEMA == OUTCOME


def test_lines_of_the_schema_are_short_enough_to_be_read() -> None:
    lines = outcome_file.PATH.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 110] == []
