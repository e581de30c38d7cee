"""The files of the ledger, one for each operator of a subject: read and checked, shared texts filled in.

What the head of a file says of operators, subjects, torch, link and devices holds of its entries that do not
say it themselves. The reason of an entry is the texts of reasons.toml that it names, then its own. In prose a
line break counts as a space.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch_loss_parity.ledger import schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
SUBJECTS = ("torch", "reference", "torch_compile", "torch_chunked")
KINDS = ("divergence", "shortfall")
SCHEMA = FOLDER / "schema.json"
SCHEMA_OF_REASONS = FOLDER / "reasons.schema.json"
SHARED = ("operators", "subjects", "torch", "link", "devices")  # what the head of a file says for its entries
PROSE = ("reason", "measured", "what")


@dataclass(frozen=True)
class Written:
    """An entry as its file has it, and what the file says for all of its entries filled in."""

    kind: str
    place: str
    fields: Mapping[str, Any]


@cache
def written(folder: Path = FOLDER) -> tuple[Written, ...]:
    """Every entry of a ledger, in the order in which they are tried: by subject, operator, and as they stand.

    Raises
    ------
    ValueError
        If a file is no TOML, is named for no operator, breaks the schema, names a reason that there is not,
        or two entries share an id. It says the file, the entry, the key, and what is allowed.
    """
    reasons = _reasons(folder)
    entries = tuple(entry for path in paths(folder) for entry in _entries(path, folder, reasons))
    places: dict[str, list[str]] = {}
    for entry in entries:
        places.setdefault(entry.fields["id"], []).append(entry.place)
    if twice := [" and ".join(where) for where in places.values() if len(where) > 1]:
        raise ValueError(f"ledger ids used twice: {'; '.join(twice)}")
    return entries


def paths(folder: Path = FOLDER) -> list[Path]:
    """The files of entries, in the order of `written`."""
    operators: list[str] = schema.read(SCHEMA)["$defs"]["operator"]["enum"]
    files = list(folder.glob("*/*.toml"))
    for path in files:
        if path.parent.name not in SUBJECTS:
            raise ValueError(f"{_name(path, folder)} is in no folder of a subject: {', '.join(SUBJECTS)}")
        if path.stem not in operators:
            raise ValueError(f"{_name(path, folder)} is named for no operator: {', '.join(operators)}")
    return sorted(files, key=lambda p: (SUBJECTS.index(p.parent.name), operators.index(p.stem)))


def _entries(path: Path, folder: Path, reasons: Mapping[str, str]) -> Iterator[Written]:
    data, file = _read(path, folder, SCHEMA), _name(path, folder)
    if data["operators"] != [path.stem]:
        raise ValueError(f"{file}: operators is {data['operators']} at its head; allowed is [{path.stem!r}]")
    head = {key: data[key] for key in SHARED if key in data}
    for kind in KINDS:
        for entry in data.get(kind, ()):
            place = f"{file}: {entry['id']}"
            fields = {**head, **entry}
            if path.stem not in fields["operators"]:
                raise ValueError(
                    f"{place}: operators is {fields['operators']}; allowed are lists with {path.stem}, "
                    f"for which the file is named"
                )
            fields |= _reason(fields.pop("reasons", ()), entry, place, reasons)
            fields |= {key: _joined(fields[key]) for key in PROSE if key in fields}
            yield Written(kind, place, fields)


def _reason(
    ids: tuple[str, ...] | list[str], entry: Mapping[str, Any], place: str, reasons: Mapping[str, str]
) -> dict[str, str]:
    """The reason of an entry; empty where it has none."""
    if unknown := [each for each in ids if each not in reasons]:
        raise ValueError(f"{place}: reasons has {unknown[0]!r}; reasons.toml has {', '.join(reasons)}")
    texts = [*(reasons[each] for each in ids), *([entry["reason"]] if "reason" in entry else [])]
    return {"reason": " ".join(texts)} if texts else {}


def _reasons(folder: Path) -> Mapping[str, str]:
    data = _read(folder / "reasons.toml", folder, SCHEMA_OF_REASONS)
    return {id: _joined(text) for id, text in data["reasons"].items()}


def _read(path: Path, folder: Path, schema_file: Path) -> dict[str, Any]:
    """A file that is held against its schema."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{_name(path, folder)} is no TOML in UTF-8: {error}") from error
    root = schema.read(schema_file)
    problems = [f"{_where(place, data)}: {text}" for place, text in schema.problems(data, root, root)]
    if problems:
        raise ValueError("\n".join(f"{_name(path, folder)}: {each}" for each in problems))
    return data


def _where(place: schema.Place, data: Mapping[str, Any]) -> str:
    """A place within a file: the entry by its id, then the key."""
    names: list[str] = []
    rest = place
    if len(place) > 1 and place[0] in KINDS:
        entry = data[str(place[0])][place[1]]
        names.append(str(entry.get("id", f"{place[0]} {place[1]} without id")))
        rest = place[2:]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest).removeprefix(".")
    return ": ".join([*names, key] if key else names or ["its head"])


def _name(path: Path, folder: Path) -> str:
    return f"{folder.name}/{path.relative_to(folder).as_posix()}"


def _joined(text: str) -> str:
    return " ".join(text.split())
