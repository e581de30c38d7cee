"""Every failure of every kind of claim shows a script that reproduces it with torch and the subject alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from torch_loss_parity.api import OF_DTYPE, OF_ROW
from torch_loss_parity.claims.bits import checks as bits
from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.identities import checks as identity_checks
from torch_loss_parity.claims.identities import identities
from torch_loss_parity.claims.modes import checks as modes
from torch_loss_parity.claims.transforms.transform_cases import Attempt, check_attempts
from torch_loss_parity.claims.transforms.transforms import verify_vmap
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.meta.planted_kernels import PLANTED, Planted
from torch_loss_parity.meta.reproduced import printed_by_each, script_in
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.subjects.settings import Settings

Run = Callable[[], None]
DTYPE = "float32"


def runs(claim: str, operator: Operator, settings: Settings) -> Iterator[Run]:
    """The checks of a kind of claim, of one operator."""
    tally = Tally(operator.name, DTYPE)
    if claim == "second_order":
        pairs: Check = modes.second_order_in_every_pair_of_options
        for second in (modes.second_order_in_random_cases, pairs):
            yield lambda check=second: check(operator, DTYPE, settings, tally)  # type: ignore[misc]
    elif claim == "bits":
        yield lambda: bits.the_same_call_gives_the_same_bits(operator, DTYPE, settings, tally)
    elif claim == "identities":
        for identity in identities():
            if identity.speaks_of(operator) and all(map(settings.subject.offers, identity.needs)):
                yield lambda identity=identity: identity_checks.identity_holds(  # type: ignore[misc]
                    operator, DTYPE, settings, tally, identity=identity
                )
    elif claim == "transforms":
        case = operator.case(DTYPE, (2, 4), next(iter(operator.values)), {}, 0)
        attempt = Attempt("vmap", case, verify_vmap(("input",)))
        yield lambda: check_attempts([attempt], settings, tally)
    elif claim in OF_ROW:
        for row_check in OF_ROW[claim](operator):
            yield partial(row_check, operator, (DTYPE,), settings, lambda _: tally)
    else:
        for check in OF_DTYPE[claim](operator):
            yield partial(check, operator, DTYPE, settings, tally)


def message_of(run: Run) -> str:
    """What a check says where it fails; empty where it does not."""
    try:
        run()
    except (AssertionError, pytest.fail.Exception) as failure:
        return str(failure)
    except pytest.skip.Exception:
        return ""
    return ""


def failures(planted: Planted, folder: Path) -> Iterator[str]:
    """The messages of the checks that a planted kernel fails."""
    path = folder / "kernels.py"
    path.write_text(f"import torch\n\n{planted.source.strip()}\n", encoding="utf-8")
    settings = Settings.of(str(path), "cpu", DTYPE, "quick", 0)
    for run in runs(planted.claim, OPERATORS[planted.operator], settings):
        message = message_of(run)
        if message:
            yield message


def test_a_kernel_is_planted_for_every_kind_of_claim() -> None:
    """PyTorch's sample inputs are plain calls, whose failures are those of "forward" and "gradients"."""
    assert {planted.claim for planted in PLANTED.values()} == {*KINDS, "second_order"} - {"sample inputs"}


def test_every_failure_is_reproduced_with_torch_and_the_subject_alone(tmp_path: Path) -> None:
    scripts, shown = {}, {}
    for number, (name, planted) in enumerate(PLANTED.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        messages = list(failures(planted, folder))
        assert messages, f"{name}: no check of {planted.claim} fails"
        for message in messages:
            assert "torch_loss_parity" not in script_in(message), message
        scripts[name], shown[name] = script_in(messages[0]), messages[0]
    for name, printed in printed_by_each(scripts, tmp_path).items():
        assert re.search(PLANTED[name].evidence, printed), f"{shown[name]}\n\nprinted\n{printed}"
