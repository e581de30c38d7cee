"""Check of data against a JSON schema, by the few words of it that the schemas of the ledger use.

The ledger is read in every run, and what is wrong with it should be said there in few words. jsonschema is
installed for development only; a test holds what it says of the files against what is said here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

Place = tuple[str | int, ...]
"""Where something stands: ("divergence", 3, "quantities", 0)."""

WORDS = frozenset(
    {"$schema", "$defs", "$ref", "title", "description", "type", "enum", "pattern", "anyOf"}
    | {"properties", "required", "additionalProperties", "items", "minItems"}
)
"""The words of JSON schema that are understood here."""

_TYPES: Mapping[str, tuple[type, ...]] = {  # exactly: True is no number
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


@cache
def read(path: Path) -> Mapping[str, Any]:
    """A schema from its file."""
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def problems(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: Place = ()
) -> Iterator[tuple[Place, str]]:
    """What is wrong with a value, and where: what it is, and what is allowed.

    Parameters
    ----------
    schema, root : mapping
        The schema of the value, and the one in which its ``$ref`` are looked up.
    place : tuple
        Where the value stands.
    """
    if reference := schema.get("$ref"):
        schema = root["$defs"][reference.removeprefix("#/$defs/")]
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        yield place, f"is {value!r}{_meant(value, allowed)}; allowed are {_listed(allowed)}"
    if not _fits(value, schema):
        yield place, f"is {value!r}; allowed is {_described(schema)}"
    elif isinstance(value, list) and (items := schema.get("items")):
        if len(value) < schema.get("minItems", 0):
            yield place, f"is empty; allowed is at least one of: {_described(items, root)}"
        for index, item in enumerate(value):
            yield from problems(item, items, root, (*place, index))
    elif isinstance(value, dict):
        yield from _problems_of_keys(value, schema, root, place)


def _problems_of_keys(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: Place
) -> Iterator[tuple[Place, str]]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key in schema.get("required", ()):
        if key not in value:
            yield place, f"lacks {key}: {_described(known.get(key, {}), root)}"
    choices = [each["required"] for each in schema.get("anyOf", ())]
    if choices and not any(value.keys() >= set(keys) for keys in choices):
        yield place, f"lacks {' or '.join(' and '.join(keys) for keys in choices)}"
    for key, item in value.items():
        if key in known:
            yield from problems(item, known[key], root, (*place, key))
        elif isinstance(others, dict):
            yield from problems(item, others, root, (*place, key))
        elif others is False:
            yield (*place, key), f"is no key{_meant(key, list(known))}; allowed are {_listed(known)}"


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value has the type and, if it is a text, the pattern that a schema asks for."""
    names = schema.get("type")
    if names is not None:
        names = (names,) if isinstance(names, str) else names
        if not any(type(value) in _TYPES[name] for name in names):
            return False
    pattern = schema.get("pattern")
    return pattern is None or not isinstance(value, str) or re.search(pattern, value) is not None


def _described(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> str:
    """What a schema allows, in words."""
    if root is not None and (reference := schema.get("$ref")):
        schema = root["$defs"][reference.removeprefix("#/$defs/")]
    if "description" in schema:
        return schema["description"]
    if root is not None and "items" in schema:
        return f"a list of: {_described(schema['items'], root)}"
    names = schema.get("type", "anything")
    return f"a value of type {names if isinstance(names, str) else ' or '.join(names)}"


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)


def _meant(given: Any, allowed: list[Any]) -> str:
    close = get_close_matches(str(given), [str(each) for each in allowed], 1)
    return f" (did you mean {close[0]}?)" if close else ""
