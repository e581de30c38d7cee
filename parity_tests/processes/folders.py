"""Where the package lies, and the checkout that it is run from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CLAIMS = PACKAGE / "claims"  # the tests of a subject
META = PACKAGE / "meta"  # the suite's tests of itself
CHECKOUT = PACKAGE.parent


def files_of_claims(claims: Iterable[str] | None = None) -> tuple[Path, ...]:
    """The files of tests of some claims, of all unless they are named, in the order of the claims' names."""
    names = None if claims is None else {f"test_{claim.replace(' ', '_')}.py" for claim in claims}
    paths = (path for path in CLAIMS.rglob("test_*.py") if names is None or path.name in names)
    return tuple(sorted(paths, key=lambda path: path.name))
