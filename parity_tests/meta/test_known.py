"""A ledger of one's own holds for the causes that it names, and for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.plugin.known import NoKnown, read, written

KERNEL = """
import torch
def softmax(input, dim, dtype=None):
    if input.dim() == {raises_at}:
        raise RuntimeError("no kernel")
    return torch.nn.functional.softmax(input, dim, dtype=dtype)
"""


def run(folder: Path, raises_at: int, *options: str) -> tuple[int, str]:
    kernel = folder / "kernel.py"
    kernel.write_text(KERNEL.format(raises_at=raises_at))
    ended = run_claims("--subject", str(kernel), "--like", "torch", "--dtype", "float32", *options)
    return ended.exitcode, ended.printed


def test_what_is_recorded_is_expected_and_nothing_else_is(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    code, _ = run(tmp_path, 5, f"--record-known={file}")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert read(file)
    code, output = run(tmp_path, 5, f"--known={file}")
    assert code == pytest.ExitCode.OK, output
    assert re.search(r"pass  .*;\s+\d\s+tests\s+fail\s+as\s+is\s+known", output, re.DOTALL)
    code, output = run(tmp_path, 99, f"--known={file}")  # it has come right
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "and does not: remove test_forward.py::" in output
    file.write_text(written(dict.fromkeys(read(file), "another cause")))
    code, output = run(tmp_path, 5, f"--known={file}")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "it is known to fail because: another cause" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = ", "is not TOML"),
        ("schema = 2", "has schema 2; it must be 1"),
        ('schema = 1\n[[known]]\ntest = "a"', "entry 1 must have test and because, and nothing else"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "known.toml"
    file.write_text(text)
    with pytest.raises(NoKnown, match=message):
        read(file)
    with pytest.raises(NoKnown, match=r"cannot be read: No such file"):
        read(tmp_path / "absent.toml")
