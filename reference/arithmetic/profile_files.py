"""Profiles by name, or from a small TOML file of one's own:

    source = "Programming manual of the vendor, accuracy of the mathematics library"
    based_on = "cuda"           # what it does not say is as in that profile; default unless given

    [float32]
    exp_ulps = 4
    exp_ulps_per_unit = 0.5
    flushes_inputs = true

What is wrong with a file is said in one line: the field, what it is, and what is allowed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, PROFILES, Profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUFFIX = ".toml"
FORMATS = ("float32", "float64")  # that are computed in
# A profile does not excuse what is wrong: so many ulps of float32 are 0.8 per cent.
MOST_ULPS, MOST_ULPS_PER_UNIT, MOST_ERROR = 2.0**16, 2.0**10, 2.0**-10
NUMBERS: Mapping[str, tuple[float, float]] = {
    "exp_ulps": (0.5, MOST_ULPS),
    "exp_ulps_per_unit": (0.0, MOST_ULPS_PER_UNIT),
    "log_ulps": (0.5, MOST_ULPS),
    "log_error_near_one": (0.0, MOST_ERROR),
    "log1p_ulps": (0.5, MOST_ULPS),
    "tanh_ulps": (0.5, MOST_ULPS),
    "division_ulps": (0.5, MOST_ULPS),
}
FLAGS = ("flushes_subnormals", "flushes_inputs")
TEXTS = ("name", "source", "allows", "based_on")


class ProfileError(ValueError):
    """There is no such profile, or its file is wrong; the message is one line and says what is allowed."""


def profile_of(name: str) -> Profile:
    """The profile of a name, or of the path of a ``.toml`` file.

    Raises
    ------
    ProfileError
        If there is none, or the file is no profile.
    """
    if name in PROFILES:
        return PROFILES[name]
    if not name.endswith(SUFFIX):
        raise ProfileError(f"{name!r}; choose from {', '.join(PROFILES)}, or name a {SUFFIX} file")
    return read_profile(Path(name))


def read_profile(path: Path) -> Profile:
    """A profile from its file.

    Raises
    ------
    ProfileError
        If it cannot be read, is no TOML, or a field is wrong.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{str(path)!r}, which cannot be read ({error.strerror})") from error
    except ValueError as error:  # no TOML, or no text
        raise ProfileError(f"{str(path)!r}, which is no TOML: {error}") from error

    def wrong(field: str, given: Any, allowed: str) -> ProfileError:
        return ProfileError(f"{str(path)!r}, where {field} is {given!r}; allowed is {allowed}")

    for key, value in data.items():
        if key in TEXTS:
            if not isinstance(value, str) or not value.strip():
                raise wrong(key, value, "a text")
        elif key not in FORMATS:
            known = ", ".join((*TEXTS, *FORMATS))
            raise ProfileError(f"{str(path)!r}, where {key} is no field; allowed are {known}")
        elif not isinstance(value, dict):
            raise wrong(key, value, f"a table, [{key}]")
    if "source" not in data:
        raise ProfileError(f"{str(path)!r}, which lacks source: where it is written what it allows")
    name, base = data.get("name", path.stem), data.get("based_on", DEFAULT.name)
    if name in PROFILES:
        raise wrong("name", name, f"any but {', '.join(PROFILES)}, which are others")
    if base not in PROFILES:
        raise wrong("based_on", base, f"one of {', '.join(PROFILES)}")
    for format in FORMATS:
        for field, value in data.get(format, {}).items():
            if (allowed := _allowed(field, value)) is not None:
                raise wrong(f"{format}.{field}", value, allowed)
    changes = {
        format: {**PROFILES[base].changes.get(format, {}), **data.get(format, {})} for format in FORMATS
    }
    allows, remark = data.get("allows") or _in_words(base, data), PROFILES[base].remark
    return Profile(name, allows, data["source"], changes, remark, str(path))


def _allowed(field: str, value: Any) -> str | None:
    """What is allowed of a field of a format; None where the value is."""
    if field in FLAGS:
        return None if isinstance(value, bool) else "true or false"
    if field not in NUMBERS:
        return f"nothing: there is no such field, there are {', '.join((*NUMBERS, *FLAGS))}"
    low, high = NUMBERS[field]
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    return None if fits else f"a number from {low:g} to {high:g}"


def _in_words(base: str, data: Mapping[str, Any]) -> str:
    said = [f"{format} {name} {value}" for format in FORMATS for name, value in data.get(format, {}).items()]
    return ", ".join([f"as {base}", *said])
