"""One record an operator: all that the suite knows about it.

Note [Facets]
    What a kind of claim, the audit or a benchmark needs to know of an operator is a facet: a field of its
    record. No facet has a default, so none can be forgotten. What an operator does not have is a `Gap` with
    a reason, which is counted and printed. What is true of a family is said once, in `families`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.cases.distributions import Distribution
from torch_loss_parity.operators.facets import (
    Autocast,
    BitCalls,
    Compiled,
    Domain,
    Family,
    Gap,
    Identities,
    Layouts,
    Modules,
    Rewritten,
    lies_last,
)
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.facets_workload import Workload
from torch_loss_parity.operators.refusals import Refusal
from torch_loss_parity.operators.semantics import Promotion, Row
from torch_loss_parity.reference.ways import Way

DTYPES = ("float16", "bfloat16", "float32", "float64")
REDUCTION = ("mean", "sum", "none")
RESULT_DTYPE = "result_dtype"  # the option of a case that names the dtype of its result
# And the one that names the arguments whose gradients may be asked for, where these are not all of them:
# "input|weight", or "none".
GRADIENTS = "gradients"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What the suite knows about an operator; see Note [Facets].

    Attributes
    ----------
    name : str
        As torch calls it.
    family : Family
        What it has in common with others: rows, classes or elements.
    forward, backward : callable
        Definition and derivative, from `torch_loss_parity.reference`.
    ways : tuple of Way
        Other expressions of both, as people ship them, from `torch_loss_parity.reference.ways`.
    second_order : tuple of str
        The formulas of second order that torch ships, and what is composed of its functions with it, from
        `torch_loss_parity.expectation.formulas.torch_second_order`.
    function : str
        Where torch has it: a dotted name.
    draw : callable
        Makes the arguments of a case, by name, in the order of the signature.
    differentiable : callable
        The arguments that torch differentiates, for the options of a case.
    options : mapping of str to tuple
        Every option that a case may set, with the values that each run meets, and meets in pairs.
    extensions : mapping of str to tuple
        Arguments that torch's function does not take and kernels do, with values for the suite's own tests.
        A subject is given one if it promises it, and then only where it has not its default.
    reconcile : callable
        Replaces options that make no sense together, for a shape.
    output_dtype : callable
        The dtype of the result, for a case.
    result_shape : callable
        The shape of the result, for the arguments of a call.
    values : mapping of str to distribution
        The distributions of ``input``.
    shapes : tuple
        Small shapes for the grid.
    sizes : tuple of (shape, options)
        Class counts around powers of two, a vocabulary, long reductions along every dimension, many rows.
    domain : Domain
    semantics : tuple of Row
        What comes out at each corner of the domain.
    promotions : tuple of Promotion
        Arguments of two dtypes.
    refusals : tuple of Refusal
        Malformed arguments.
    layouts : Layouts
    identities : Identities
        The inputs of identities.
    bits : tuple of BitCalls
        The calls whose bits are compared.
    rewritten : callable
        The calls behind rewrites that compilers have got wrong, for a dtype.
    clamps : bool
        Whether the definition clamps what may be infinite: its derivative line by line is then another one
        there than the closed form.
    autocast : Autocast
    modules : Modules
    compiled : tuple of Compiled
        What is compiled; the first in every dtype.
    sample_inputs : str
        The name among PyTorch's own sample inputs.
    log_probabilities : callable
        A result as log-probabilities, for the arguments of a call; None where they are none.
    audit : Audited
    workload : Workload
        What the benchmarks time.
    """

    name: str
    family: Family
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    ways: tuple[Way, ...] | Gap = field(repr=False)
    second_order: tuple[str, ...] | Gap
    function: str
    draw: Callable[[Case], dict[str, Any]]
    differentiable: Callable[[Mapping[str, Any]], tuple[str, ...]]
    options: Mapping[str, tuple[Any, ...]]
    extensions: Mapping[str, tuple[Any, ...]]
    reconcile: Callable[[tuple[int, ...], dict[str, Any]], dict[str, Any]]
    output_dtype: Callable[[Case], str]
    result_shape: Callable[[Mapping[str, Any]], tuple[int, ...]]
    values: Mapping[str, Distribution]
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...]
    domain: Domain
    semantics: tuple[Row, ...] | Gap = field(repr=False)  # hundreds of arrays, in each failure's report
    promotions: tuple[Promotion, ...] | Gap = field(repr=False)
    refusals: tuple[Refusal, ...] | Gap = field(repr=False)
    layouts: Layouts
    identities: Identities | Gap
    bits: tuple[BitCalls, ...] | Gap
    rewritten: Callable[[str], Iterator[Rewritten]] | Gap
    clamps: bool
    autocast: Autocast | Gap
    modules: Modules | Gap
    compiled: tuple[Compiled, ...] | Gap
    sample_inputs: str | Gap
    log_probabilities: Callable[[Mapping[str, Any], Any], tuple[Any, int | None] | None] | Gap
    audit: Audited | Gap
    workload: Workload | Gap

    @property
    def targets_classes(self) -> bool:
        """Whether the second dimension (the only one of a 1-D input) holds classes that targets name."""
        return self.family.targets_classes

    @property
    def acts_on_elements(self) -> bool:
        """Whether each element of an unreduced result depends on the same element of its arguments alone."""
        return self.family.acts_on_elements

    def case(
        self, dtype: str, shape: tuple[int, ...], values: str, options: Mapping[str, Any], seed: int
    ) -> Case:
        """A case of this operator, its options completed and settled."""
        complete = {name: allowed[0] for name, allowed in self.options.items()} | dict(options)
        settled = tuple(sorted(self.reconcile(shape, complete).items()))
        return Case(self.name, dtype, shape, values, settled, seed)

    def call(self, case: Case) -> Call:
        """Draw the arguments of ``case``."""
        extensions = {name: case.option[name] for name in self.extensions if case.option.get(name)}
        differentiable = self.differentiable(case.option)
        if offered := case.option.get(GRADIENTS):
            differentiable = tuple(name for name in differentiable if name in offered.split("|"))
        return Call(
            operator=self.name,
            arguments=self.draw(case) | extensions,
            dtype=case.dtype,
            output_dtype=case.option.get(RESULT_DTYPE) or self.output_dtype(case),
            differentiable=differentiable,
            facts=facts(case),
            dtypes=dtypes_of(case),
        )

    @property
    def differentiable_arguments(self) -> tuple[str, ...]:
        """The arguments that are differentiated in some call, in the order of the signature."""
        first = {name: values[0] for name, values in self.options.items()}
        chosen = [name for name in ("target", "weight", "linear_bias") if name in self.options]
        calls = product(*(self.options[name] for name in chosen))
        names = {
            name
            for call in calls
            for name in self.differentiable({**first, **dict(zip(chosen, call, strict=True))})
        }
        return tuple(name for name in _signature(self.forward).parameters if name in names)

    @property
    def extended(self) -> Mapping[str, tuple[Any, ...]]:
        """The values of what a subject promises beside torch's arguments, the default first; nothing unless
        it does.
        """
        return {name: self.options[name] for name in self.extensions if name in self.options}

    @property
    def gaps(self) -> Mapping[str, Gap]:
        """The facets that the operator does not have, by name."""
        every = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: facet for name, facet in every.items() if isinstance(facet, Gap)}


def bound(operator: Operator, /, *positional: Any, **named: Any) -> dict[str, Any]:
    """The arguments of a call by name, in the order of the signature, what is left out at its default; what
    torch's function does not take only where it has another value.

    Raises
    ------
    TypeError
        If they are none of the operator.
    """
    given = _signature(operator.forward).bind(*positional, **named)
    given.apply_defaults()
    return {
        name: value for name, value in given.arguments.items() if name not in operator.extensions or value
    }


_signature = lru_cache(inspect.signature)


def as_given(shape: tuple[int, ...], options: dict[str, Any]) -> dict[str, Any]:
    """All options make sense together."""
    return options


def of_input(case: Case) -> str:
    """The result has the dtype of the input."""
    return case.dtype


def dtypes_of(case: Case) -> dict[str, str]:
    """The dtypes of the arguments that do not have the case's; of one that a promise leaves out, none."""
    dtypes = {
        name.removesuffix("_dtype"): dtype
        for name, dtype in case.options
        if name.endswith("_dtype") and name != RESULT_DTYPE and dtype
    }
    return {name: dtype for name, dtype in dtypes.items() if case.option.get(name, dtype) is not None}


def facts(case: Case) -> dict[str, Any]:
    """What a condition in the ledger may ask about a case: its options, its distribution, and where its rows
    lie.
    """
    return dict(case.option) | {"values": case.values, "last_dim": lies_last(case.option, case.shape)}


def facts_of(
    operator: Operator, arguments: Mapping[str, Any], dtypes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The same of arguments that no case was drawn for; ``dtypes`` are of those that do not have the
    input's.
    """
    plain = {name: value for name, value in arguments.items() if isinstance(value, str | int | float)}
    return (
        plain
        | {f"{name}_dtype": dtype for name, dtype in (dtypes or {}).items()}
        | {"target": options_of(operator, arguments)["target"]}
        | {"last_dim": lies_last(arguments, arguments["input"].shape)}
    )


def options_of(operator: Operator, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as `Operator.differentiable` knows the options of a case: of an array, whether
    there is one, and of a target its kind. What is left out is as the first value of its option says.
    """
    dtype = getattr(arguments.get("target"), "dtype", None)
    indices = dtype is None or dtype.kind in "biu"  # arrays of balls hold objects
    given = {
        name: value is not None if value is None or hasattr(value, "dtype") else value
        for name, value in arguments.items()
    }
    left_out = {name: allowed[0] for name, allowed in operator.options.items()}
    return left_out | given | {"target": "indices" if indices else "probabilities"}
