"""How a script shows that an identity does not hold: its own lines, over functions of the subject."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.record import Identity
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import Family
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.subjects import Subject

# What `Observed` is, in float64 between the calls.
FUNCTIONS = """
class Functions:
    xp, this_operator = np, {operator!r}
    this_family = SimpleNamespace(acts_on_elements={acts_on_elements}, targets_classes={targets_classes})

    def __init__(self, dtype):
        self.dtype = dtype

    def in_dtype(self, dtype):
        return Functions(getattr(torch, dtype))

    def argument(self, array):
        return array

    def rounded(self, array):
        return self.tensor(array).double().numpy()

    def tensor(self, value):
        if isinstance(value, str) and value.startswith("float"):
            return getattr(torch, value)
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        tensor = torch.as_tensor(np.array(value))
        return tensor.to(self.dtype if tensor.is_floating_point() else tensor.dtype)

    def __getattr__(self, name):
        base = name.removesuffix("_backward").replace("this", self.this_operator)

        def forward(*arguments, **options):
            arguments = [self.tensor(each) for each in arguments]
            options = {{name: self.tensor(each) for name, each in options.items()}}
            return getattr(subject, base)(*arguments, **options).detach().double().numpy()

        def backward(upstream, *arguments, of="input", **options):
            arguments = [self.tensor(each) for each in arguments]
            options = {{name: self.tensor(each) for name, each in options.items()}}
            leaf = dict(zip(("input", "target"), arguments)).get(of)
            leaf = (options[of] if leaf is None else leaf).requires_grad_()
            output = getattr(subject, base)(*arguments, **options)
            upstream = self.tensor(np.asarray(upstream)).to(output.dtype)
            return torch.autograd.grad(output, leaf, upstream)[0].double().numpy()

        return backward if name.endswith("_backward") else forward
"""


def script(
    identity: Identity,
    operator: str,
    dtype: str,
    inputs: Mapping[str, Any],
    number: int,
    verdict: Verdict,
    subject: Subject,
) -> str:
    """A script that computes both sides of the ``number``-th pair of an identity, and prints an element."""
    arrays = {f"x_{name}": _array(v) for name, v in inputs.items() if isinstance(v, np.ndarray)}
    options = inputs["options"]
    arrays |= {f"option_{name}": _array(v) for name, v in options.items() if isinstance(v, np.ndarray)}
    allowed = verdict.allowed if verdict.common is None else verdict.alone
    given = [f"{name}=x_{name}.numpy()" for name, v in inputs.items() if isinstance(v, np.ndarray)]
    values = {
        name: f"option_{name}.numpy()" if isinstance(v, np.ndarray) else repr(v)
        for name, v in options.items()
    }
    given.append("options={" + ", ".join(f"{name!r}: {value}" for name, value in values.items()) + "}")
    at = f"[{', '.join(map(str, verdict.index))}]" if verdict.index else "[()]"
    body = [
        "import numpy as np",
        "from types import SimpleNamespace",
        *_functions(operator),
        *_sources(identity.compose),
        f"drawn = SimpleNamespace({', '.join(given)})",
        "x = SimpleNamespace(**vars(drawn), drawn=drawn)",
        f"pairs = list({identity.compose.__name__}(Functions(torch.{dtype}), x))",
        f"left, right = (np.asarray(side, dtype=np.float64) for side in pairs[{number}][1:])",
        "left, right = np.broadcast_arrays(left, right)",
        f"left, right, common, allowed = left{at}, right{at}, {verdict.common or 0.0!r}, {allowed!r}",
        "same = left == right or left != left and right != right or abs(left - right - common) <= allowed",
        "print('left', left, 'right', right, 'allowed apart', allowed, 'right' if same else 'WRONG')",
    ]
    imports = f"from __future__ import annotations\n{subject.import_of(operator)}"
    text = reproduction.written(imports, arrays, "cpu", body)
    return _future_first(text)


def _future_first(text: str) -> str:
    first = "from __future__ import annotations\n"
    return first + text.replace(first, "", 1)


def _array(value: np.ndarray) -> tuple[np.ndarray, str]:
    return value, str(value.dtype)


def _functions(operator: str) -> list[str]:
    family = OPERATORS[operator].family
    flags = {"acts_on_elements": family.acts_on_elements, "targets_classes": family.targets_classes}
    return FUNCTIONS.format(operator=operator, **flags).strip().splitlines()


def _sources(compose: Callable[..., Any]) -> list[str]:
    """The source of a composition, and of what it uses."""
    lines: list[str] = []
    for name, value in _used(compose).items():
        if value is DoubleDouble:
            lines += ["class DoubleDouble:", "    of = staticmethod(np.float64)"]
        elif value is OPERATORS:
            options = {each: dict.fromkeys(record.options) for each, record in OPERATORS.items()}
            lines.append(f"OPERATORS = {{n: SimpleNamespace(options=o) for n, o in {options}.items()}}")
        elif isinstance(value, str | int | float):
            lines.append(f"{name} = {value!r}")
        elif inspect.isfunction(value):
            lines += _without_decorator(value)
    return [*lines, *_without_decorator(compose)]


def _without_decorator(function: Callable[..., Any]) -> list[str]:
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("def ")) :]


def _used(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function of this project uses of its module, what that uses before it."""
    names: dict[str, Any] = {}
    for name in dict.fromkeys(_names(function.__code__)):
        value = function.__globals__.get(name)
        if value is None or isinstance(value, ModuleType | Family):
            continue
        if inspect.isfunction(value):
            names |= _used(value)
        names[name] = value
    return names


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
