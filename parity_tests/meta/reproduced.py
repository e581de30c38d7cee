"""Reproduction scripts run as their readers run them: in a process that has torch and the subject alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

SCRIPT = re.compile(r"^( *)reproduce with.*\n((?:\1 {2}.*(?:\n|\Z)|\n(?=\1 {2}))+)", re.MULTILINE)
RUN = """
import contextlib, io, json, sys, traceback

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch_loss_parity":
            raise ImportError("a reproduction script must not need torch_loss_parity")

sys.meta_path.insert(0, Refuses())
printed = {}
for name, text in json.load(sys.stdin).items():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(text, name, "exec"), {"__name__": "__main__"})
        except Exception:
            print(traceback.format_exc())
    printed[name] = out.getvalue()
assert not any(name.startswith("torch_loss_parity") for name in sys.modules)
print(json.dumps(printed))
"""


def script_in(message: str) -> str:
    """The first script that a message shows.

    Raises
    ------
    ValueError
        If it shows none.
    """
    match = SCRIPT.search(message)
    if match is None:
        raise ValueError(f"there is no reproduction script in\n{message}")
    text = textwrap.dedent(match[2]).strip()
    if command := re.fullmatch(r"python (\S+\.py)", text):
        return Path(command[1]).read_text(encoding="utf-8")
    return text


def printed_by_each(scripts: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What scripts print, by name: run in one process that cannot import this project."""
    ended = subprocess.run(
        [sys.executable, "-I", "-c", RUN],
        input=json.dumps(dict(scripts)),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise AssertionError(ended.stderr)
    return dict(json.loads(ended.stdout.splitlines()[-1]))
