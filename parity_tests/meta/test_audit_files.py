"""audit.json: what is written comes back, the same audit is the same bytes, and what is wrong with a file is
said in one line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.audit import files
from torch_loss_parity.audit.files import AuditFileError, load, save
from torch_loss_parity.audit.record import SCHEMA, Audit
from torch_loss_parity.meta import invented_audit

AUDIT = invented_audit.audit("mine.kernels", sizes=((64, 1000),), values=("normal", "wide"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(AUDIT, tmp_path / "audit.json")
    return tmp_path / "audit.json"


def error_of(path: Path) -> str:
    with pytest.raises(AuditFileError) as raised:
        load(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# --- what is written ----------------------------------------------------------------------------------------


def test_an_audit_comes_back_as_it_was_infinities_too(path: Path) -> None:
    assert any(math.isinf(figure.subject.max_ulp) for figure in AUDIT.figures)
    assert load(path) == files.canonical(AUDIT)


def test_the_order_in_which_figures_were_measured_is_not_in_the_file(path: Path) -> None:
    turned = AUDIT.model_copy(
        update={
            name: tuple(reversed(getattr(AUDIT, name)))
            for name in ("figures", "axes", "divergences", "missing")
        }
        | {"environment": dict(reversed(AUDIT.environment.items()))}
    )
    save(turned, path.with_name("turned.json"))
    assert path.with_name("turned.json").read_bytes() == path.read_bytes()


def test_one_figure_that_changes_changes_two_lines(path: Path) -> None:
    first = AUDIT.figures[0]
    other = first.model_copy(
        update={"subject": first.subject.model_copy(update={"max_ulp": 0.1 + 0.2, "bins": (1,) * 78})}
    )
    save(AUDIT.model_copy(update={"figures": (other, *AUDIT.figures[1:])}), path.with_name("other.json"))
    before, after = (set(file.read_text().splitlines()) for file in (path, path.with_name("other.json")))
    changed = [line.strip() for line in after - before]
    assert len(changed) == 2
    assert '"max_ulp": 0.30000000000000004,' in changed


def test_nothing_is_left_beside_the_file_and_a_failure_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(AuditFileError, match="cannot be written: No space left on device"):
        save(AUDIT.model_copy(update={"command": "another"}), path)
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == ["audit.json"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        AuditFileError,
        match=r"nowhere/audit\.json: cannot be written: No such file or "
        r"directory",
    ):
        save(AUDIT, tmp_path / "nowhere" / "audit.json")


def test_figures_that_measure_the_same_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(
        AuditFileError,
        match="two figures measure the same, 'softmax float16 forward random 64x1000 normal dim=-1'",
    ):
        save(
            AUDIT.model_copy(update={"figures": (*AUDIT.figures, AUDIT.figures[0])}), tmp_path / "audit.json"
        )
    assert not list(tmp_path.iterdir())


# --- what is read -------------------------------------------------------------------------------------------


def test_what_is_not_there_and_what_is_a_directory(tmp_path: Path, path: Path) -> None:
    assert error_of(tmp_path / "none.json").startswith(
        "there is no such file; pytest parity_tests --audit DIR writes DIR/audit.json"
    )
    assert error_of(tmp_path) == f"is a directory; name the file in it, as {path}"


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.77, 0.999])
def test_a_file_cut_short_anywhere_says_so(path: Path, part: float) -> None:
    content = path.read_text()
    path.write_text(content[: int(part * len(content))])
    assert ("is empty" if part == 0 else "is cut short, in line ") in error_of(path)
    assert "run the audit again" in error_of(path)


def test_every_cut_in_a_line_is_a_cut(path: Path) -> None:
    text = json.dumps({"format": SCHEMA, "list": [1.5e-7, "two", None, True, {"a": "\\u1234"}]})
    for length in range(1, len(text)):
        path.write_text(text[:length])
        assert "is cut short" in error_of(path), text[:length]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("subject: torch\n", "is no JSON: Expecting value in line 1, column 1"),
        ('{"a": 1,}', "is no JSON"),
        ('{"a": 1} and more', "is no JSON: Extra data in line 1, column 10"),
        ('{"a": NaN}', 'NaN is no number of JSON; an audit writes "NaN", in quotes'),
        (
            "[1, 2]",
            'is JSON, but no audit: it holds [1, 2], and that of an audit is "torch-loss-parity audit"',
        ),
        ('{"machine_info": {}}', 'is JSON, but no audit: its "format" is null'),
        ('{"format": "torch-loss-parity audit"}', "is an audit of version null; this one reads version 2"),
        ("[" * 100000, "is no audit: it is nested too deeply"),
    ],
)
def test_what_is_no_audit_says_what_it_is(path: Path, content: str, message: str) -> None:
    path.write_text(content)
    assert error_of(path).startswith(message)


def test_what_is_no_text_says_so(path: Path) -> None:
    path.write_bytes(b"\x80PNG\xff")
    assert error_of(path) == "is no text (byte 0 is not UTF-8); an audit is a JSON file"


def test_another_version_names_both_and_what_to_do(path: Path) -> None:
    changed(path, lambda content: content.update(version=1, added="field"))
    assert error_of(path) == (
        "is an audit of version 1; this one reads version 2: read it with the torch-loss-parity that wrote "
        "it, or "
        "run the audit again: pytest parity_tests --audit DIR"
    )


def changed(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["figures"][3]["subject"].update(max_ulp=-1.0),
            "figures[3].subject.max_ulp is wrong: input should be greater than",
        ),
        (
            lambda c: c["figures"][3]["subject"].update(max_ulp="NaN"),
            "figures[3].subject.max_ulp is wrong: input should be greater than",
        ),
        (
            lambda c: c["figures"][0].update(how="guessed"),
            "figures[0].how is wrong: input should be 'exhaustive', 'random' or 'searched'",
        ),
        (lambda c: c["figures"][0].pop("worst"), "figures[0].worst is wrong: field required;"),
        (
            lambda c: c["settings"].update(speed=3),
            "settings.speed is wrong: extra inputs are not permitted, and is 3;",
        ),
        (
            lambda c: c["figures"][0].update(rows="x" * 1000),
            "figures[0].rows is wrong: input should be a valid integer",
        ),
        (
            lambda c: c.update(figures={}, axes=1),
            "figures is wrong: input should be a valid tuple, and is {} (and 1 more)",
        ),
        (
            lambda c: c["figures"].append(c["figures"][0]),
            "two figures measure the same, 'binary_cross_entropy bfloat16 forward",
        ),
        (
            lambda c: c["figures"][0]["subject"]["bins"].pop(),
            "'binary_cross_entropy bfloat16 forward exhaustive 65536 every bfloat16",
        ),
        (
            lambda c: c["figures"][0]["torch"].update(bins=[]),
            "'binary_cross_entropy bfloat16 forward exhaustive 65536 every bfloat16",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_is_allowed(
    path: Path, change: Callable[[Any], object], message: str
) -> None:
    changed(path, change)
    assert error_of(path).startswith(message)
    assert len(error_of(path)) < 320


# --- the schema ---------------------------------------------------------------------------------------------


def test_the_schema_that_is_kept_is_the_schema_of_the_types() -> None:
    assert files.SCHEMA_FILE.read_text() == files.schema(), (
        f"python -m torch_loss_parity.audit schema > {files.SCHEMA_FILE.name}"
    )


def test_what_is_written_is_what_the_schema_says_and_what_is_wrong_is_not(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked by jsonschema (extra: dev)")
    validator = jsonschema.Draft202012Validator(json.loads(files.schema()))
    content = json.loads(path.read_text())
    validator.validate(content)
    content["figures"][0]["subject"]["max_ulp"] = "large"
    with pytest.raises(
        jsonschema.ValidationError, match="'large' is not valid under any of the given schemas"
    ):
        validator.validate(content)


def test_an_audit_of_nothing_is_an_audit(tmp_path: Path) -> None:
    nothing = Audit(settings=AUDIT.settings, environment={}, command="", figures=())
    save(nothing, tmp_path / "audit.json")
    assert load(tmp_path / "audit.json") == nothing
