"""First-order mutants of a module's source: every place where one change can be made, and what it becomes."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# What one operator becomes.
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
FUNCTIONS = {
    "max": "min",
    "min": "max",
    "sum": "max",
    "prod": "sum",
    "exp": "expm1",
    "expm1": "exp",
    "log": "log1p",
    "log1p": "log",
    "any": "all",
    "all": "any",
    "abs": "negative",
    "maximum": "minimum",
    "minimum": "maximum",
    "logical_and": "logical_or",
    "logical_or": "logical_and",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
}


@dataclass(frozen=True)
class Mutant:
    """A change in one place.

    Attributes
    ----------
    module : str
        The module of the reference that it is made in.
    number : int
        Among all of the module's, in the order of the source.
    key : str
        What is changed, in words that outlive a change of other lines: function, before, after.
    """

    module: str
    number: int
    key: str

    def __str__(self) -> str:
        return self.key


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module."""
    walk = _Walk()
    walk.visit(ast.parse(source))
    met: Counter[str] = Counter()
    mutants = []
    for number, (function, before, after) in enumerate(walk.changes):
        key = f"{module}.{function}: {before}  ->  {after}"
        met[key] += 1
        mutants.append(Mutant(module, number, key if met[key] == 1 else f"{key}  ({met[key]})"))
    return mutants


def mutated(source: str, number: int) -> str:
    """The source with the change of that number."""
    return ast.unparse(ast.fix_missing_locations(_Walk(number).visit(ast.parse(source))))


class _Walk(ast.NodeTransformer):
    """Meets every change in order; makes one of them."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted = wanted
        self.changes: list[tuple[str, str, str]] = []
        self.function = "module"

    def visit(self, node: ast.AST) -> ast.AST:
        """Meet the changes of a node, and then those of its parts."""
        before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
        for other in _others(node):
            after = ast.unparse(ast.fix_missing_locations(other))
            self.changes.append((self.function, _short(before), _short(after)))
            if self.wanted == len(self.changes) - 1:
                return other
        visited: ast.AST = super().visit(node)
        return visited

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Its defaults and statements; what annotates it and documents it is left alone."""
        outer, self.function = self.function, node.name if self.function == "module" else self.function
        node.args.defaults = [self.visit(default) for default in node.args.defaults]  # type: ignore[misc]
        documented = ast.get_docstring(node) is not None
        statements = [self.visit(each) for each in node.body[documented:]]
        node.body = [*node.body[:documented], *statements]  # type: ignore[list-item]
        self.function = outer
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)  # type: ignore[assignment]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """What an exception says is no fault."""
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(node.op)]())
        yield from (copy.deepcopy(node.left), copy.deepcopy(node.right))  # the other term is dropped
    elif isinstance(node, ast.UnaryOp):
        yield copy.deepcopy(node.operand)
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        yield from (copy.deepcopy(value) for value in node.values)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from (_with(node, ops=[other()]) for other in COMPARISONS[type(node.ops[0])])
    elif isinstance(node, ast.If | ast.IfExp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), copy.deepcopy(node.test)))
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(other) for other in _constants(node.value))
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()
    elif isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        yield _with(node, attr=FUNCTIONS[node.attr])


def _constants(value: Any) -> tuple[bool | int | float, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return value + 1, value - 1
    if isinstance(value, float):
        return value + 1, value / 2 if value else -1.0
    return ()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """A copy of a node with other fields."""
    other = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _short(text: str) -> str:
    """The first line."""
    first, _, more = text.partition("\n")
    return f"{first} ..." if more else first
