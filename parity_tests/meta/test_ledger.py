"""The files of the ledger keep to their schema; what does not is refused with file, entry, key and what is
allowed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.claims.smallest_inputs import skip_unless_in_force
from torch_loss_parity.ledger import files, ledger, schema
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.reference.arithmetic.formats import Arithmetic
from torch_loss_parity.subjects.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATHS = files.paths()
SCHEMA = schema.read(files.SCHEMA)
LONGEST_LINE = 110
FILE = "torch/softmax.toml"
ENTRY = "half-softmax-tail-stores-exponentials"


def loaded(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def validator(path: Path) -> Any:
    """What jsonschema makes of a schema; the test is skipped where it is not installed."""
    jsonschema = pytest.importorskip("jsonschema", reason="the ledger is checked by jsonschema (extra: dev)")
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


# --- the files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_of_entries_keeps_to_the_schema(path: Path) -> None:
    assert [error.message for error in validator(files.SCHEMA).iter_errors(loaded(path))] == []


def test_the_shared_reasons_keep_to_their_schema_and_each_is_named_by_an_entry() -> None:
    reasons = loaded(files.FOLDER / "reasons.toml")
    named = {
        id
        for path in PATHS
        for kind in files.KINDS
        for entry in loaded(path).get(kind, ())
        for id in entry.get("reasons", ())
    }
    assert set(reasons["reasons"]) == named
    assert [error.message for error in validator(files.SCHEMA_OF_REASONS).iter_errors(reasons)] == []


@pytest.mark.parametrize(
    "path",
    [*PATHS, files.FOLDER / "reasons.toml", files.SCHEMA, files.SCHEMA_OF_REASONS],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_lines_are_short_enough_to_be_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_names_the_entries_elsewhere_that_speak_of_its_operator(path: Path) -> None:
    others = [
        entry["id"]
        for other in PATHS
        if other.parent == path.parent and other != path
        for kind in files.KINDS
        for entry in loaded(other).get(kind, ())
        if path.stem in entry.get("operators", ())
    ]
    assert sorted(loaded(path).get("elsewhere", [])) == sorted(others)


def test_every_formula_and_every_way_exists() -> None:
    for entry in ledger.entries():
        assert not entry.formula or callable(ledger.formula(entry.formula)), entry.id
        known = {way.name for name in entry.operators for way in ledger.ways_called(name, entry.ways)}
        assert known == set(entry.ways), entry.id
        for operator, quantity in product(entry.operators, entry.quantities if entry.ways else ()):
            assert callable(entry.function(operator, quantity)), (entry.id, operator, quantity)


# --- the schema ---------------------------------------------------------------------------------------------


def names(definition: str) -> list[str]:
    listed: Mapping[str, Any] = SCHEMA["$defs"][definition]
    return list(listed.get("enum", listed.get("properties", ())))


def test_what_the_schema_allows_is_what_the_suite_knows() -> None:
    order = list(OPERATORS)
    assert all(order.index(one) < order.index(next) for one, next in pairwise(names("operator")))
    assert names("dtype") == list(DTYPES)
    of_calls_and_profiles = {
        *("input", "result"),
        *("exp_ulps_per_unit", "log_error_near_one", "division_ulps", "tanh_ulps", "flushes_inputs"),
    }
    assert set(names("arithmetic")) == {field.name for field in fields(Arithmetic)} - of_calls_and_profiles
    options = {name for operator in OPERATORS.values() for name in operator.options}
    plain = {name for name in names("conditions") if not name.endswith("_dtype")}
    assert plain <= options | {"values", "last_dim"}
    assert {name.removesuffix("_dtype") for name in set(names("conditions")) - plain} <= options | {"target"}
    for definition, kind in (("divergence", ledger.Divergence), ("shortfall", ledger.Shortfall)):
        assert set(names(definition)) == {field.name for field in fields(kind)} | {"reasons"}


def test_the_schemas_use_no_word_that_is_not_understood_here() -> None:
    def words(part: Any) -> set[str]:
        """The words of a schema; names of keys, which stand beside them, are none."""
        if not isinstance(part, dict):
            return set()
        named = ("properties", "$defs")
        inside = [each for name in named for each in part.get(name, {}).values()]
        return set(part).union(*(words(each) for each in (*inside, *part.values())), set()) - {
            name for key in named for name in part.get(key, {})
        }

    assert words(SCHEMA) <= schema.WORDS


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the ledger's data that may be spoilt."""
    for folder in files.SUBJECTS:
        shutil.copytree(files.FOLDER / folder, tmp_path / "ledger" / folder)
    shutil.copy(files.FOLDER / "reasons.toml", tmp_path / "ledger")
    return tmp_path / "ledger"


def spoil(copy: Path, old: str, new: str, name: str = FILE) -> Path:
    path = copy / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


BY_SCHEMA = [
    ('quantities = ["forward"]', 'quantities = ["fwd"]', r"quantities\[0\]: is 'fwd'; allowed is forward, "),
    (
        'dtypes = ["float16", "b',
        'dtypes = ["float61", "b',
        r"dtypes\[0\]: is .*; allowed are float16, ",
    ),
    (
        'dtypes = ["float16", "bfloat16"]',
        "dtypes = []",
        "dtypes: is empty; allowed is at least one of: ",
    ),
    ("measured = ", "mesured = ", r"lacks measured.*\n.*mesured: is no key .did you mean measured\?"),
    (
        "{ last_dim = false }",
        "{ lastdim = false }",
        r"when\.lastdim: is no key .*last_dim.*allowed are ",
    ),
    ("intermediate = ", "intermediat = ", r"arithmetic\.intermediat: is no key .*intermediate"),
    ('intermediate = "storage"', "converts = 1", r"arithmetic\.converts: is 1; allowed is true or false"),
    ("arithmetic = { ", "unless = { ", "lacks arithmetic or ways or formula"),
    ("dim = 0", "dim = true", r"smallest\[0\]\.dim: is True; allowed is a dimension"),
    ('link = "https', 'link = "ttps', "link: is 'ttps.*; allowed is an address, https://"),
]


@pytest.mark.parametrize(("old", "new", "message"), BY_SCHEMA, ids=[row[1] for row in BY_SCHEMA])
def test_what_breaks_the_schema_is_refused_with_its_place_and_by_jsonschema_too(
    copy: Path, old: str, new: str, message: str
) -> None:
    path = spoil(copy, old, new)
    with pytest.raises(ValueError, match=f"^ledger/{FILE}: {ENTRY}: {message}"):
        files.written(copy)
    assert not validator(files.SCHEMA).is_valid(loaded(path))


def test_a_head_that_breaks_the_schema_is_refused(copy: Path) -> None:
    spoil(copy, 'torch = ">=2.4"', 'torch = "2.4"')
    with pytest.raises(ValueError, match=f"^ledger/{FILE}: torch: is '2.4'; allowed is versions of torch"):
        files.written(copy)


REFUSED = [
    ('id = "', "id = ", FILE, f"^ledger/{FILE} is no TOML in UTF-8: .*line "),
    ('operators = ["softmax"]', 'operators = ["nll_loss"]', FILE, r"its head; allowed is \['softmax'\]$"),
    (
        "quantities",
        'operators = ["nll_loss"]\nquantities',
        FILE,
        f"{ENTRY}: operators is .*allowed are lists with ",
    ),
    (
        "quantities",
        'reasons = ["none"]\nquantities',
        FILE,
        f"{ENTRY}: reasons has 'none'; reasons.toml has ",
    ),
    (
        ENTRY,
        "half-log-softmax-stores-normaliser",
        FILE,
        f"used twice: ledger/{FILE}: .* and ledger/torch/",
    ),
    ('"""', '"', "reasons.toml", "^ledger/reasons.toml is no TOML"),
    ("[reasons]", "[reason]", "reasons.toml", "^ledger/reasons.toml: its head: lacks reasons: "),
]


@pytest.mark.parametrize(("old", "new", "name", "message"), REFUSED, ids=[row[3] for row in REFUSED])
def test_what_no_schema_can_tell_is_refused_too(
    copy: Path, old: str, new: str, name: str, message: str
) -> None:
    spoil(copy, old, new, name)
    with pytest.raises(ValueError, match=message):
        files.written(copy)


def test_a_file_that_is_named_for_no_operator_or_subject_is_refused(copy: Path) -> None:
    path = (copy / "torch" / "softmax.toml").rename(copy / "torch" / "softmx.toml")
    with pytest.raises(ValueError, match=r"^ledger/torch/softmx.toml is named for no operator: softmax, "):
        files.written(copy)
    (copy / "toch").mkdir()
    path.rename(copy / "toch" / "softmax.toml")
    with pytest.raises(ValueError, match=r"^ledger/toch/softmax.toml is in no folder of a subject: torch, "):
        files.written(copy)


def test_an_entry_may_say_what_its_head_says_and_its_own_reason_comes_last(copy: Path) -> None:
    spoil(copy, "quantities", 'torch = ">=2.9"\nreasons = ["double-rounding-through-float32"]\nquantities')
    first = files.written(copy)[0]
    assert (first.fields["id"], first.fields["torch"]) == (ENTRY, ">=2.9")
    assert first.fields["operators"] == ["softmax"]
    assert "from there to even. Where dim is not the last" in first.fields["reason"]


def test_files_are_read_as_utf_8_whatever_the_locale(copy: Path) -> None:
    spoil(copy, "Where dim is not the last", "Où dim n'est pas la dernière")
    script = (
        "import sys, pathlib; from torch_loss_parity.ledger import files; "
        "print(ascii(files.written(pathlib.Path(sys.argv[1]))[0].fields['reason'][:3]))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", script, str(copy)], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "'O\\xf9 '\n"


def test_an_entry_whose_operator_is_not_offered_is_skipped_by_name() -> None:
    settings = Settings.of("torch.nn", "cpu", "float32", "quick", 0)
    entries = {entry.operators[0]: entry for entry in ledger.entries_of("torch.nn")}
    with pytest.raises(pytest.skip.Exception, match=r"not offered: torch\.nn has no logsumexp"):
        skip_unless_in_force(entries["logsumexp"], settings)
    skip_unless_in_force(entries["softmax"], settings)
