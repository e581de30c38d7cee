"""audit.json: written, so that two of the same audit are the same bytes; read, so that what is wrong with a
file is said in one line.

`record` is the schema. ``schema.json`` beside this file says the same to those who read audits with other
tools; it is written by ``python -m torch_loss_parity.audit schema``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from torch_loss_parity.audit.record import EDGES, SCHEMA, VERSION, Audit, Figure

SHOWN = 60  # characters of a value that is wrong
AGAIN = "run the audit again: pytest parity_tests --audit DIR"
SCHEMA_FILE = Path(__file__).with_name("schema.json")


class AuditFileError(Exception):
    """A file that cannot be used as an audit, or that an audit cannot be written to: which, why, and what
    would do.
    """


def save(audit: Audit, path: str | Path) -> None:
    """Write ``audit`` to ``path``, whole or not at all.

    Figures and axes are sorted by what they measure and mappings by name, numbers are written in the fewest
    digits that give them back, and a list of numbers takes one line: a difference between two files is a
    difference between two audits.

    Raises
    ------
    AuditFileError
        If two figures measure the same, so that neither could be compared, or if the file cannot be written.
    """
    path = Path(path)
    _check(audit, path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(dumps(audit), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AuditFileError(
            f"{path}: cannot be written: {error.strerror}; name a file in a directory that is there"
        ) from error


def dumps(audit: Audit) -> str:
    """The text of audit.json."""
    return _formatted(json.loads(canonical(audit).model_dump_json())) + "\n"


def canonical(audit: Audit) -> Audit:
    """The same audit in the one order in which audits are written."""
    return audit.model_copy(
        update={
            "figures": tuple(sorted(audit.figures, key=lambda figure: figure.key)),
            "axes": tuple(sorted(audit.axes, key=lambda axis: axis.model_dump_json())),
            "divergences": tuple(sorted(audit.divergences, key=lambda divergence: divergence.id)),
            "missing": tuple(sorted(audit.missing, key=lambda missing: (missing.what, missing.why))),
        }
    )


def _formatted(value: Any, indent: str = "") -> str:
    """JSON, sorted and indented, but for lists of plain values, which take one line: 78 bins are read
    together or not at all.
    """
    inner = indent + " "
    if isinstance(value, dict) and value:
        items = (f"{inner}{json.dumps(name)}: {_formatted(value[name], inner)}" for name in sorted(value))
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[\n" + ",\n".join(inner + _formatted(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value)


# --- reading ------------------------------------------------------------------------------------------------


def load(path: str | Path) -> Audit:
    """Read an audit.

    Raises
    ------
    AuditFileError
        If there is no such file, or it is a directory, cut short, no JSON, no audit, an audit of another
        version, or one with a field that is wrong; the message is one line.
    """
    path = Path(path)
    content = _parsed(_read(path), path)
    if not isinstance(content, dict) or content.get("format") != SCHEMA:
        given = (
            (f'its "format" is {_short(content.get("format"))}')
            if isinstance(content, dict)
            else f"it holds {_short(content)}"
        )
        raise AuditFileError(f'{path}: is JSON, but no audit: {given}, and that of an audit is "{SCHEMA}"')
    if content.get("version") != VERSION:
        raise AuditFileError(
            f"{path}: is an audit of version {_short(content.get('version'))}; this one reads version "
            f"{VERSION}: read it with the "
            f"torch-loss-parity that wrote it, or {AGAIN}"
        )
    try:
        audit = Audit.model_validate(content)
    except ValidationError as error:
        raise AuditFileError(f"{path}: {_wrong_field(error)}; {AGAIN}") from error
    _check(audit, path)
    return audit


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AuditFileError(
            f"{path}: there is no such file; pytest parity_tests --audit DIR writes DIR/audit.json"
        ) from error
    except IsADirectoryError as error:
        inside = path / "audit.json"
        raise AuditFileError(
            f"{path}: is a directory; name {'the file in it' if inside.exists() else 'a file'}, as {inside}"
        ) from error
    except UnicodeDecodeError as error:
        raise AuditFileError(
            f"{path}: is no text (byte {error.start} is not UTF-8); an audit is a JSON file"
        ) from error
    except OSError as error:
        raise AuditFileError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(text: str, path: Path) -> Any:
    def not_a_number(literal: str) -> NoReturn:
        raise AuditFileError(
            f'{path}: {literal} is no number of JSON; an audit writes "{literal}", in quotes'
        )

    if not text.strip():
        raise AuditFileError(f"{path}: is empty; {AGAIN}")
    try:
        return json.loads(text, parse_constant=not_a_number)
    except json.JSONDecodeError as error:
        text = text.strip()
        ends_early = error.pos >= len(text) or (
            text.startswith("{") and not text.endswith("}") and error.msg != "Extra data"
        )
        if ends_early:
            raise AuditFileError(
                f"{path}: is cut short, in line {error.lineno}: copy it again, or {AGAIN}"
            ) from error
        raise AuditFileError(
            f"{path}: is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise AuditFileError(f"{path}: is no audit: it is nested too deeply") from error


def _wrong_field(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    given = "" if first["type"] == "missing" else f", and is {_short(first['input'])}"
    also = f" (and {len(others)} more)" if others else ""
    return f"{where or 'the whole'} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}{given}{also}"


def _check(audit: Audit, path: Path) -> None:
    """What the types cannot say."""
    counted = Counter(figure.key for figure in audit.figures)
    if repeated := [key for key, count in counted.items() if count > 1]:
        raise AuditFileError(
            f"{path}: two figures measure the same, {repeated[0]!r}; each may be measured once"
        )
    for figure in audit.figures:
        for name in ("subject", "torch"):
            _check_bins(figure, name, path)


def _check_bins(figure: Figure, name: str, path: Path) -> None:
    measures = getattr(figure, name)
    if measures is not None and len(measures.bins) != len(EDGES) + 1:
        raise AuditFileError(
            f"{path}: {figure.key!r} has {len(measures.bins)} bins of {name}; version {VERSION} has "
            f"{len(EDGES) + 1}, see Note [Bins]"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


# --- the schema, for others ---------------------------------------------------------------------------------


class _Schema(GenerateJsonSchema):
    """Says that infinities are strings: JSON has no numbers for them."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        words = ["Infinity"] if schema.get("ge") is not None else ["Infinity", "-Infinity", "NaN"]
        return {"anyOf": [super().float_schema(schema), {"enum": words}]}


def schema() -> str:
    """The JSON Schema of audit.json, as text."""
    model = Audit.model_json_schema(schema_generator=_Schema, mode="serialization")
    return json.dumps({"$schema": _Schema.schema_dialect} | model, indent=1, sort_keys=True) + "\n"
