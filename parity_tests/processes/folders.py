"""Where the package lies, and the checkout that it is run from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ROOT, DISTRIBUTION = "torch_loss_parity", "torch-loss-parity"  # the names of the package
PACKAGE = Path(__file__).resolve().parents[1]
CLAIMS = PACKAGE / "claims"  # the tests of a subject
AUDIT = PACKAGE / "audit"  # what is done in place of tests where an audit is asked for
META = PACKAGE / "meta"  # the suite's tests of itself
CHECKOUT = PACKAGE.parent  # of an installed package the folder that it was installed into


def _folder(name: str) -> Path:
    """A part of the package that a checkout has beside it."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else CHECKOUT / name


REFERENCE, BENCHMARKS = _folder("reference"), _folder("benchmarks")
BENCHMARKS_META = BENCHMARKS / "meta"
INSTALLED = REFERENCE.parent == PACKAGE  # from a wheel: there is no checkout


def place_of(argument: str, folder: Path) -> Path:
    """The place that an argument of pytest names, given in a folder: a path, or with ``--pyargs`` this
    package or a part of it.
    """
    name = argument.partition("::")[0]
    root, *parts = name.split(".")
    if root != ROOT:
        return (folder / name).resolve()
    place = (
        {"reference": REFERENCE, "benchmarks": BENCHMARKS}.get(parts[0], PACKAGE / parts[0])
        if parts
        else PACKAGE
    )
    place = place.joinpath(*parts[1:])
    return place if place.is_dir() else place.with_suffix(".py")


def files_of_claims(claims: Iterable[str] | None = None) -> tuple[Path, ...]:
    """The files of tests of some claims, of all unless they are named, in the order of the claims' names."""
    names = None if claims is None else {f"test_{claim.replace(' ', '_')}.py" for claim in claims}
    paths = (path for path in CLAIMS.rglob("test_*.py") if names is None or path.name in names)
    return tuple(sorted(paths, key=lambda path: path.name))
