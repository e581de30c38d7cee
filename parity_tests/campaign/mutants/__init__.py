"""Mutants of the definitions: a second source of faults, that nobody chose.

Each differs from the reference in one place: an operator is swapped, a term dropped, a comparison turned, a
condition negated, a constant moved, a default changed, an exception not raised. Put in a right kernel, it
must fail a check, or be shown to be no fault: then it stands in ``equivalent.toml``, with the reason.
"""
