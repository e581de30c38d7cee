"""What an audit found: the types that travel from measuring to the page, and the schema of audit.json.

Note [Bins]
    Errors are counted in bins, so that the figures of parts add up to those of the whole however many
    elements there are. An error of e ulps lies in bin 0 if e is 0, and else in the bin whose lower edge is
    the largest power of two at most e, among ``EDGES``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from torch_loss_parity.reference.arithmetic.profiles import DEFAULT

SCHEMA: Literal["torch-loss-parity audit"] = "torch-loss-parity audit"
VERSION: Literal[2] = 2
# Ulps; bin k + 1 begins at EDGES[k], bin 0 holds what is exact or below all of them.
EDGES = tuple(2.0**k for k in range(-12, 65))

Count = Annotated[int, Field(ge=0)]
# Of an error; Infinity where a kind of value (finite, infinite, nan) is wrong.
Size = Annotated[float, Field(ge=0)]


class Record(BaseModel):
    """Frozen, with no field unknown; infinities are written as strings, as JSON has none."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Measures(Record):
    """The errors of one implementation in one result, over all its elements.

    Errors are in ulps of the format of the result, at the true value, whose enclosure is so tight that every
    figure is right to the digits that are shown: three. What the enclosure of an element rests on is in
    `torch_loss_parity.audit.doubts`.

    Attributes
    ----------
    elements, undecided : int
        Compared; and those of them that may overflow on the way, for which no bound holds.
    max_ulp, p999_ulp, median_ulp : float
        Largest, 99.9th percentile and median of the absolute error.
    mean_signed_ulp : float
        The bias: observed minus true. Elements of the wrong kind are left out.
    max_relative : float
        Largest |observed - true| / |true|, where the true value is not 0.
    fraction : float
        Worst error / allowed.
    correctly_rounded : int
        Elements within half an ulp.
    in_balls, sampled : int
        Elements whose true value ball arithmetic has enclosed; and how many were drawn for that at random.
    bins : tuple of int
        See Note [Bins].
    standing : {"pass", "known", "fail"}
        Within the derived bound; beyond it for a reason in the ledger, or right by another way than the
        definition; beyond it.
    divergence, way : str
        The entry of the ledger, or the way with its grade and where it loses, where the standing is "known".
    outputs : str
        SHA-256 of the result's bytes: what changed, changed this.
    """

    elements: Count
    undecided: Count = 0
    max_ulp: Size
    p999_ulp: Size
    median_ulp: Size
    mean_signed_ulp: float
    max_relative: Size
    fraction: Size
    correctly_rounded: Count
    in_balls: Count = 0
    sampled: Count = 0
    bins: tuple[Count, ...]
    standing: Literal["pass", "known", "fail"]
    divergence: str = ""
    way: str = ""
    outputs: str


class Worst(Record):
    """The element with the largest error.

    Attributes
    ----------
    index : tuple of int
    arguments : mapping of str to str
        What it was computed from, numbers in hexadecimal (C99, as float.fromhex reads them); of rows too long
        to print, the case that draws them.
    observed, torch : str
        Hexadecimal; of torch where another subject is audited.
    truth : str
        Decimal, all digits certified.
    ulps, fraction : float
        Its error, and error / allowed.
    script : str
        Reproduces it; needs torch, the subject, and nothing else where the arguments are printed.
    """

    index: tuple[Count, ...]
    arguments: dict[str, str]
    observed: str
    torch: str = ""
    truth: str
    ulps: Size
    fraction: Size
    script: str


class Figure(Record):
    """One result on one set of inputs, measured.

    Attributes
    ----------
    operator, dtype : str
    quantity : str
        "forward", or the argument with respect to which a gradient was taken.
    how : {"exhaustive", "random", "searched"}
        Every input there is (the maxima are proven); drawn; climbed to from the worst that was drawn (the
        largest found).
    classes, rows : int
        The length of a row, and how many; 0 classes where elements stand for themselves.
    values : str
        The distribution of the input, or what was exhausted.
    logit_range : float
        Largest finite input minus smallest, of a row (of all elements where there are no rows).
    options : mapping of str to str
    inputs : str
        SHA-256 of the arguments' bytes: the same inputs were measured.
    subject : Measures
    torch : Measures or None
        torch eager on the same inputs, where it is not the subject.
    worst : Worst
    """

    operator: str
    dtype: str
    quantity: str
    how: Literal["exhaustive", "random", "searched"]
    classes: Count
    rows: Count
    values: str
    logit_range: Size
    options: dict[str, str] = {}
    inputs: str
    subject: Measures
    torch: Measures | None = None
    worst: Worst

    @property
    def key(self) -> str:
        """What is compared with what in another audit."""
        options = " ".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        size = f"{self.rows}x{self.classes}" if self.classes else str(self.rows)
        if self.how == "searched":  # its size is found, not chosen
            size = ""
        return " ".join(
            part
            for part in (self.operator, self.dtype, self.quantity, self.how, size, self.values, options)
            if part
        )


class Axis(Record):
    """What changes when something that ought not to matter does: threads, vector instructions, compilation,
    strides, the batch.

    Attributes
    ----------
    axis, first, second : str
        "threads", "1", "2".
    elements, differing : int
        Compared, and those whose bits differ.
    max_apart_ulp : float
        The largest distance between the two, in ulps of the result at the true value.
    first_max_ulp, second_max_ulp : float
        The error of each where they differ.
    nearer : {"first", "second", "neither"}
        Whose errors, where they differ, are smaller on average.
    """

    operator: str
    dtype: str
    quantity: str
    axis: str
    first: str
    second: str
    elements: Count
    differing: Count
    max_apart_ulp: Size
    first_max_ulp: Size
    second_max_ulp: Size
    nearer: Literal["first", "second", "neither"]


class Missing(Record):
    """What was asked for and not measured, and why: not offered, not on this machine, left to a higher
    effort, interrupted.

    Attributes
    ----------
    what, why : str
    failed : bool
        Whether the subject is to blame: it raised, did not return, or ended the process. Then the audit
        fails.
    """

    what: str
    why: str
    failed: bool = False


class Divergence(Record):
    """An entry of the ledger that was met."""

    id: str
    title: str
    reason: str
    link: str = ""


class Settings(Record):
    """What was asked for; ``profile`` is that of the arithmetic that the subject is judged under."""

    subject: str
    profile: str = DEFAULT.name
    device: str
    dtypes: tuple[str, ...]
    operators: tuple[str, ...]
    effort: str
    seed: int


class Audit(Record):
    """The whole of audit.json. Two runs with the same settings and environment differ in ``times`` alone.

    Attributes
    ----------
    format, version : str, int
        `SCHEMA` and `VERSION`.
    environment : mapping of str to str
        Versions, processor, capability, threads, and the variables that change numbers.
    command : str
        Repeats it.
    times : mapping of str to float
        Seconds: of the parts, and an element's own time and torch's for what is exhaustive.
    """

    format: Literal["torch-loss-parity audit"] = SCHEMA
    version: Literal[2] = VERSION
    settings: Settings
    environment: dict[str, str]
    command: str
    figures: tuple[Figure, ...]
    axes: tuple[Axis, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    missing: tuple[Missing, ...] = ()
    times: dict[str, float] = {}
