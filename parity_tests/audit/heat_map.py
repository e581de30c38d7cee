"""The heat map of an audit as a picture: the largest errors of each operator and dtype, in SVG.

``python -m torch_loss_parity.audit picture AUDIT.json`` draws that of the front page, and keeps the numbers
that it shows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from torch_loss_parity.audit import views
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.reports import formatting, page

PACKAGE = "torch_loss_parity.audit"
PICTURE, NUMBERS = (Path(__file__).with_name(name) for name in ("heat_map.svg", "heat_map.json"))
LEFT, TOP, WIDTH, HEIGHT, GAP = 240, 46, 70, 24, 12  # pixels; two cells a dtype, one for gradients
COLOURS = {
    "exact": "#94d0c2",
    "faithful": "#cfdbee",
    "bound": "#88a8d3",
    "known": "#f0a848",
    "fail": "#d1495b",
}
MEANINGS = {
    "exact": "half an ulp",
    "faithful": "1 ulp",
    "bound": "what rounding allows",
    "known": "more, explained",
    "fail": "wrong",
}


class Cell(BaseModel):
    """The largest error of a result, or of the gradients, and how good that is: a tier of the page."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    operator: str
    dtype: str
    gradient: bool
    ulp: float
    tier: str


class HeatMap(BaseModel):
    """What a picture shows."""

    title: str
    cells: tuple[Cell, ...]


def of(audit: Audit) -> HeatMap:
    """The heat map of an audit."""
    shown = views.page(audit)
    cells = []
    for result in shown.results:
        worst = Cell(
            operator=result.operator,
            dtype=result.dtype,
            gradient=result.quantity != FORWARD,
            ulp=result.max_ulp,
            tier=result.tier,
        )
        cells.append(worst)
    device = audit.environment.get("capability", "")
    title = f"{shown.name}: largest error in ulps, at {audit.settings.effort} effort {device}".strip()
    return HeatMap(title=title, cells=tuple(_worst(cells)))


def _worst(cells: Sequence[Cell]) -> list[Cell]:
    """Of the gradients of an operator one cell, with the largest error and the worst tier."""
    tiers = list(COLOURS)
    joined: dict[tuple[str, str, bool], Cell] = {}
    for cell in cells:
        place = (cell.operator, cell.dtype, cell.gradient)
        other = joined.get(place, cell)
        worse = max(cell.tier, other.tier, key=tiers.index)
        joined[place] = cell.model_copy(update={"ulp": max(cell.ulp, other.ulp), "tier": worse})
    return list(joined.values())


def draw(shown: HeatMap) -> str:
    """The picture, in SVG."""
    operators = list(dict.fromkeys(cell.operator for cell in shown.cells))
    dtypes = list(dict.fromkeys(cell.dtype for cell in shown.cells))
    placed = [
        {
            "x": _left(dtypes.index(cell.dtype)) + WIDTH * cell.gradient,
            "y": TOP + HEIGHT * operators.index(cell.operator),
            "colour": COLOURS[cell.tier],
            "text": formatting.ulps(cell.ulp, typeset=False),
        }
        for cell in shown.cells
    ]
    bottom = TOP + HEIGHT * len(operators)
    return (
        page.environment(PACKAGE)
        .get_template("heat_map.svg.jinja")
        .render(
            title=shown.title,
            width=_left(len(dtypes)),
            height=bottom + 40,
            cells=placed,
            cell=(WIDTH - 2, HEIGHT - 2),
            operators=[(name, TOP + HEIGHT * i + 16) for i, name in enumerate(operators)],
            dtypes=[(name, _left(i)) for i, name in enumerate(dtypes)],
            half=WIDTH,
            legend=[(COLOURS[tier], text, 10 + 165 * i) for i, (tier, text) in enumerate(MEANINGS.items())],
            legend_at=bottom + 14,
        )
        + "\n"
    )


def _left(column: int) -> int:
    return LEFT + column * (2 * WIDTH + GAP)


def write(audit: Audit, picture: Path = PICTURE) -> None:
    """Draw an audit's heat map, and keep its numbers beside it."""
    shown = of(audit)
    picture.write_text(draw(shown), encoding="utf-8")
    picture.with_suffix(".json").write_text(shown.model_dump_json(indent=1) + "\n", encoding="utf-8")
