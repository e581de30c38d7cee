"""What may explain a result that the definition's bound does not: entries of the ledger, and ways.

Note [The order of explanations]
    The definition is tried first, then what the ledger says of the subject, then the ways, the sharper first.
    One explanation has to explain the whole of a quantity of a call. A lossy way is never an excuse, unless
    an entry of the ledger names it: it is only looked for where nothing else explains a result, to say what
    the result seems to be. So is what the ledger says of torch, for a subject that is not judged by it: what
    is made of torch's functions fails as they do, and is told that ``--like torch`` is for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.formulas import autograd_formulas, torch_second_order
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import function_of_way
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.reference.ways import Grade, Way


@dataclass(frozen=True)
class Explanation:
    """What a subject evaluates in place of the definition, so that another bound holds.

    Attributes
    ----------
    name : str
        The id of an entry of the ledger, or the name of a way.
    function : callable, optional
        What is evaluated, as `torch_loss_parity.expectation.expectation.expected` takes it; the definition
        unless given.
    arithmetic : mapping
        Changes of the arithmetic.
    grade : str
        That of a way; empty for an entry of the ledger.
    loses : str
        Where a way is less accurate than the definition.
    by_autograd : bool
        Whether it is a way of the result, differentiated line by line.
    """

    name: str
    function: Callable[..., Any] | None = None
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    grade: Grade | str = ""
    loses: str = ""
    by_autograd: bool = False

    @property
    def is_way(self) -> bool:
        return bool(self.grade)

    def __str__(self) -> str:
        return f"{self.name} ({self.grade})" if self.grade else self.name

    @property
    def described(self) -> str:
        """A way with its grade, and where it loses."""
        return f"{self}; loses in {self.loses}" if self.loses else str(self)


def of_entry(entry: Divergence, operator: str, quantity: str) -> Explanation:
    """What an entry of the ledger says that a subject evaluates."""
    return Explanation(entry.id, entry.function(operator, quantity), entry.arithmetic)


def of_entries(entries: Iterable[Divergence], call: Call, quantity: str) -> tuple[Explanation, ...]:
    """What several entries say."""
    return tuple(of_entry(entry, call.operator, quantity) for entry in entries)


def in_order(entries: Iterable[Divergence], call: Call, quantity: str) -> tuple[Explanation, ...]:
    """What may explain a broken bound, see Note [The order of explanations]."""
    return (*of_entries(entries, call, quantity), *ways(call, quantity))


def resembling(entries: Iterable[Divergence], call: Call, quantity: str) -> tuple[Explanation, ...]:
    """What a wrong result may be, and is not excused by: the lossy ways, then what entries say of torch."""
    return (*ways(call, quantity, ("lossy",)), *of_entries(entries, call, quantity))


def ways(
    call: Call, quantity: str, grades: Iterable[Grade] = ("sharp", "textbook")
) -> tuple[Explanation, ...]:
    """The ways of a quantity of a call, of some grades, the sharper first."""
    every = _of_operator(call.operator, quantity)
    if converts_twice(call):
        every = (_CONVERTED, *(replace(way, arithmetic=_CONVERTED.arithmetic) for way in every))
    return tuple(way for grade in grades for way in every if way.grade == grade)


def converts_twice(call: Call) -> bool:
    """Whether a number of float64 is converted to 16 bits, which torch does through float32, for all who use
    its tensors.
    """
    dtypes = {call.dtype, call.output_dtype, *call.dtypes.values()}
    return "float64" in dtypes and bool(dtypes & {"float16", "bfloat16"})


_CONVERTED = Explanation(
    "float64 to 16 bits through float32", arithmetic={"conversion": "float32"}, grade="sharp"
)


@cache
def _of_operator(operator: str, quantity: str) -> tuple[Explanation, ...]:
    return tuple(_explanations(operator, Quantity.parse(quantity)))


def _explanations(operator: str, quantity: Quantity) -> Iterator[Explanation]:
    record = OPERATORS[operator]
    every = each(record.ways)
    for way in every:
        if function := function_of_way(way, quantity):
            yield Explanation(way.name, function, grade=way.grade, loses=way.loses)
    if quantity.along:
        for name in each(record.second_order):
            formula = getattr(torch_second_order, name)
            loses = "wherever its products cancel"
            yield Explanation(name.replace("_", " "), formula, grade="textbook", loses=loses)
    if quantity.along or quantity.of:
        for way in every:
            if way.by_autograd:
                yield from _by_autograd(way, quantity)


def _by_autograd(way: Way, quantity: Quantity) -> Iterator[Explanation]:
    """The way of a result, differentiated line by line: backward, or backward twice, or forward."""
    modes = ("twice", "along") if quantity.along else ("backward",)
    for mode in modes:
        function = partial(autograd_formulas.MODES[mode], way.operator, forward=way.function)
        name = f"autograd of {way.name}" + (f" ({mode})" if quantity.along else "")
        yield Explanation(name, function, grade=way.grade, loses=way.loses, by_autograd=True)
