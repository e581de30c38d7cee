"""The array-API namespaces of arrays: array-api-compat, loaded when one is asked for.

Where a subject is only observed, the definitions are not evaluated, and it need not be installed.
"""

from __future__ import annotations

from typing import Any


def array_namespace(*arrays: Any) -> Any:
    """The namespace that arrays share."""
    from array_api_compat import array_namespace as of

    return of(*arrays)


def is_array(value: Any) -> bool:
    """Whether a value is an array of any library."""
    from array_api_compat import is_array_api_obj

    return is_array_api_obj(value) or hasattr(value, "__array_namespace__")
