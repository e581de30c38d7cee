"""The snippet of the page of parity_tests/ runs as a test of somebody's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from torch_loss_parity.processes.folders import PACKAGE


def test_the_snippet_of_the_readme_passes_as_a_test(tmp_path: Path) -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"<!-- a test of the suite runs this -->\n```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "test_mine.py").write_text(snippet, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "2 passed" in ended.stdout
