"""An audit that was never measured, the same every time: what files, comparisons and pages are tested with.

It looks like one of torch: forward results in half precision are nearly all correctly rounded, float32 grows
with the number of classes, gradients that cancel diverge for a known reason, and some result is infinite
where it should not be.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from torch_loss_parity.audit.doubts import FEW, SAMPLE
from torch_loss_parity.audit.record import (
    EDGES,
    Audit,
    Axis,
    Divergence,
    Figure,
    Measures,
    Missing,
    Settings,
    Worst,
)
from torch_loss_parity.operators import DTYPES

QUANTITIES = {
    "softmax": ("forward", "input"),
    "log_softmax": ("forward", "input"),
    "nll_loss": ("forward", "input"),
    "cross_entropy": ("forward", "input", "target"),
    "binary_cross_entropy": ("forward", "input", "target"),
    "binary_cross_entropy_with_logits": ("forward", "input", "target"),
}
BY_ROWS = ("softmax", "log_softmax", "nll_loss", "cross_entropy")
SIZES = ((4096, 2), (1024, 10), (64, 1000), (2, 32000), (1, 131072))
VALUES = ("normal", "wide", "nearly_equal", "offset_1e4")
ALLOWED = {"float16": 0.502, "bfloat16": 0.502, "float32": 4.0, "float64": 4.0}  # ulps
How = Literal["exhaustive", "random", "searched"]
DIVERGES = {
    ("log_softmax", "float16", "forward"): ("half-log-softmax-stores-normaliser", 2047.0),
    ("log_softmax", "bfloat16", "forward"): ("half-log-softmax-stores-normaliser", 256.0),
    ("softmax", "float16", "input"): ("half-softmax-backward-from-stored-output", 230.0),
    ("softmax", "bfloat16", "input"): ("half-softmax-backward-from-stored-output", 163.0),
    ("cross_entropy", "float16", "forward"): ("half-cross-entropy-stores-intermediates", 2047.0),
    ("binary_cross_entropy_with_logits", "float32", "forward"): ("bce-with-logits-cancels", 1.19e7),
    ("binary_cross_entropy_with_logits", "float64", "forward"): ("bce-with-logits-cancels", 5e15),
    ("binary_cross_entropy", "float16", "input"): ("float16-bce-epsilon-is-zero", math.inf),
}
REASONS = {
    "half-log-softmax-stores-normaliser": "Along the last dim the sum of exponentials and then its logarithm "
    "are rounded to the dtype of "
    "the input. In float16 the stored sum overflows from 65520 equal logits on, and the result is -inf.",
    "half-softmax-backward-from-stored-output": "The backward starts from the saved output, already rounded "
    "to the dtype of the input, and "
    "forms p (g - sum g p) from it, which cancels.",
    "half-cross-entropy-stores-intermediates": "Log-probabilities are stored in the dtype of the input "
    "before "
    "nll_loss picks one.",
    "bce-with-logits-cancels": "(1 - t) x - logsigmoid(x) subtracts nearly equal numbers where t is 0 and x "
    "very negative.",
    "float16-bce-epsilon-is-zero": "The smallest variance, 1e-12, is 0 in float16: 0 / 0.",
}


@dataclass(frozen=True)
class _Place:
    """One figure's place in the plan."""

    operator: str
    dtype: str
    quantity: str
    how: How
    rows: int
    classes: int
    values: str

    @property
    def generator(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(repr(self).encode()))


@cache
def audit(
    subject: str = "torch",
    *,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    values: tuple[str, ...] = VALUES,
    failing: bool = False,
) -> Audit:
    """A whole audit of ``subject``; torch is measured beside it where it is another.

    A failing one is wrong once, and raises once.
    """
    figures = tuple(_figure(place, subject) for place in _places(sizes, values))
    if failing:
        first, *rest = figures
        wrong = {"standing": "fail", "divergence": "", "fraction": 6.25, "max_ulp": 3.0}
        figures = (first.model_copy(update={"subject": first.subject.model_copy(update=wrong)}), *rest)
    met = sorted({measures.divergence for figure in figures if (measures := figure.subject).divergence})
    return Audit(
        settings=Settings(
            subject=subject,
            device="cpu",
            dtypes=DTYPES,
            operators=tuple(QUANTITIES),
            effort="standard",
            seed=0,
        ),
        environment={
            "torch": "2.13.0+cpu",
            "numpy": "2.4.6",
            "python": "3.13.5",
            "processor": "AMD EPYC 9B14",
            "capability": "AVX512",
            "threads": "1",
            "system": "Linux-6.1.0-x86_64-with-glibc2.41",
            "OMP_NUM_THREADS": "1",
            "ATEN_CPU_CAPABILITY": "",
        },
        command=f"pytest parity_tests --audit DIR --subject {subject} --seed 0",
        figures=figures,
        axes=tuple(_axes()),
        divergences=tuple(
            Divergence(
                id=name,
                title=name.replace("-", " "),
                reason=REASONS[name],
                link="https://github.com/pytorch/pytorch/issues/140222",
            )
            for name in met
        ),
        missing=(
            *(
                [
                    Missing(
                        what="nll_loss float64 input 2x32000",
                        why="raised RuntimeError: not contiguous",
                        failed=True,
                    )
                ]
                if failing
                else []
            ),
            Missing(what="cuda", why="not on this machine: no CUDA device"),
            Missing(
                what="all 2^32 float32 logits of binary_cross_entropy_with_logits",
                why="left to --effort thorough",
            ),
            Missing(
                what="ATEN_CPU_CAPABILITY=avx512 against avx2, bfloat16",
                why="not on this machine: no avx512_bf16",
            ),
        ),
        times={
            "all": 142.5,
            "measuring": 131.25,
            "searching": 9.5,
            "exhaustive binary_cross_entropy_with_logits float16": 1.75,
        },
    )


def _places(sizes: Sequence[tuple[int, int]], values: Sequence[str]) -> Iterator[_Place]:
    for operator, quantities in QUANTITIES.items():
        for dtype in DTYPES:
            for quantity in quantities:
                by_rows = operator in BY_ROWS
                for rows, classes in (
                    sizes if by_rows else [(rows * classes, 0) for rows, classes in sizes[:3]]
                ):
                    for name in values:
                        yield _Place(operator, dtype, quantity, "random", rows, classes, name)
                if dtype in ("float16", "bfloat16") and (quantity != "target" or not by_rows):
                    yield _Place(
                        operator, dtype, quantity, "exhaustive", 65536, 2 if by_rows else 0, f"every {dtype}"
                    )
                yield _Place(
                    operator, dtype, quantity, "searched", 1, 7 if by_rows else 0, "climbed from wide"
                )


def _figure(place: _Place, subject: str) -> Figure:
    rng = place.generator
    measured = _measures(place, rng)
    spread = {"normal": 8.0, "wide": 160.0, "nearly_equal": 0.0, "offset_1e4": 9.5}.get(place.values, 87.0)
    worst = measured.max_ulp
    arguments = {"input": ", ".join(float(x).hex() for x in rng.normal(0, 3, 3))}
    if place.operator != "softmax":
        arguments["target"] = "1"
    return Figure(
        operator=place.operator,
        dtype=place.dtype,
        quantity=place.quantity,
        how=place.how,
        classes=place.classes,
        rows=place.rows,
        values=place.values,
        logit_range=spread * float(rng.uniform(0.9, 1.1)),
        options={"reduction": "none"} if place.operator not in ("softmax", "log_softmax") else {"dim": "-1"},
        inputs=hashlib.sha256(repr(place).encode()).hexdigest(),
        subject=measured,
        torch=None if subject == "torch" else _measures(place, np.random.default_rng(7), 0.7),
        worst=Worst(
            index=(int(rng.integers(place.rows)), int(rng.integers(place.classes)))
            if place.classes
            else (int(rng.integers(place.rows)),),
            arguments=arguments,
            observed="nan" if math.isinf(worst) else float(rng.normal()).hex(),
            torch="" if subject == "torch" else float(rng.normal()).hex(),
            truth="-0.00012207031249999999",
            ulps=worst,
            fraction=measured.fraction,
            script=f"import torch\nimport torch.nn.functional as subject\ninput = "
            f"torch.tensor([{arguments['input']!r}])\n"
            f"result = subject.{place.operator}(input)\nprint(result)  # {place.dtype} {place.quantity}",
        ),
    )


def _measures(place: _Place, rng: np.random.Generator, scale: float = 1.0) -> Measures:
    allowed = ALLOWED[place.dtype] * (1 + math.log2(max(place.classes, 2)) / 8)
    half = place.dtype in ("float16", "bfloat16")
    drawn = rng.uniform(0, 0.5, 2000) if half else np.abs(rng.normal(0, allowed * scale / 5, 2000))
    if place.operator == "nll_loss":
        drawn = drawn * 0
    errors = np.minimum(drawn, allowed * 0.97)
    divergence, largest = DIVERGES.get((place.operator, place.dtype, place.quantity), ("", 0.0))
    if divergence and place.values not in ("nearly_equal", "normal"):
        errors[:5] = np.minimum(np.geomspace(allowed * 2, min(largest, 1e17), 5), largest)
        if math.isinf(largest):
            errors[0] = math.inf
    else:
        divergence = ""
    elements = place.rows * max(place.classes, 1)
    counts = np.bincount(np.searchsorted(EDGES, errors, side="right"), minlength=len(EDGES) + 1)
    bins = [int(n) * elements // 2000 for n in counts]
    bins[int(counts.argmax())] += elements - sum(bins)
    finite = errors[np.isfinite(errors)]
    fraction = float(errors.max() / allowed) if divergence else min(float(errors.max() / allowed), 0.999)
    return Measures(
        elements=elements,
        undecided=3 if place.values == "offset_1e4" and place.dtype == "float16" else 0,
        max_ulp=float(errors.max()),
        p999_ulp=float(np.quantile(errors, 0.999, method="lower")),
        median_ulp=float(np.median(errors)),
        mean_signed_ulp=float(finite.mean()) * 0.01,
        max_relative=float(errors.max())
        * 2.0 ** {"float16": -10, "bfloat16": -7, "float32": -23, "float64": -52}[place.dtype],
        fraction=fraction,
        correctly_rounded=int((errors <= 0.5).sum()) * elements // 2000,
        in_balls=elements if elements <= FEW or place.dtype == "float64" else 75,
        sampled=0 if elements <= FEW or place.dtype == "float64" else SAMPLE,
        bins=tuple(bins),
        standing="known" if divergence else "pass",
        divergence=divergence,
        outputs=hashlib.sha256(f"{place}{scale}".encode()).hexdigest(),
    )


def _axes() -> Iterator[Axis]:
    pairs = (
        ("threads", "1", "2"),
        ("capability", "default", "avx512"),
        ("compiled", "eager", "compiled"),
        ("strides", "contiguous", "T"),
    )
    for operator, quantities in QUANTITIES.items():
        for dtype in ("bfloat16", "float32"):
            for number, (axis, first, second) in enumerate(pairs):
                differing = (number in (1, 2)) * (len(operator) % 5) * 41
                yield Axis(
                    operator=operator,
                    dtype=dtype,
                    quantity=quantities[-1] if number == 2 else "forward",
                    axis=axis,
                    first=first,
                    second=second,
                    elements=64000,
                    differing=differing,
                    max_apart_ulp=float(bool(differing)) * number,
                    first_max_ulp=1.25 * bool(differing),
                    second_max_ulp=0.75 * number * bool(differing),
                    nearer="neither" if not differing else "first" if number == 2 else "second",
                )
