"""The action: what its steps do, as far as a shell can run them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from torch_loss_parity.meta.installation import (
    Environment,
    copy_of_the_checkout,
    folder_of_somebody,
    output_of,
)
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes.folders import CHECKOUT

ACTION: dict[str, Any] = yaml.safe_load((CHECKOUT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
GITHUB = CHECKOUT / ".github"
EXPRESSION = re.compile(r"\$\{\{ (\S+) \}\}")
# pip is to take what is there: the libraries, and what builds a wheel.
OFFLINE = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}


class Job:
    """A job of somebody that uses the action: runs those of its steps that are scripts."""

    def __init__(self, folder: Path, environment: Environment, action: Path, **inputs: str) -> None:
        self.folder, self.environment, self.scratch = folder, environment, action.parent / "runner"
        self.scratch.mkdir()
        known = {name: str(given.get("default", "")) for name, given in ACTION["inputs"].items()}
        assert set(inputs) <= set(known)
        self.values = {f"inputs.{name}": value for name, value in (known | inputs).items()}
        self.values["github.action_path"] = str(action)
        self.summary = self.scratch / "summary.md"

    def evaluate(self, text: str) -> str:
        """A text whose expressions are replaced by what they stand for."""
        return EXPRESSION.sub(lambda match: self.values[match[1]], text)

    def run(self, name: str) -> int:
        """Run the step of a name; its exit status."""
        (step,) = [step for step in STEPS if step.get("name") == name]
        outputs = self.scratch / f"{name}.out"
        github = {
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(outputs),
            "RUNNER_TEMP": str(self.scratch),
        }
        given = {variable: self.evaluate(str(value)) for variable, value in step["env"].items()}
        shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"])  # as GitHub calls it
        ended = self.environment.run(*shell, folder=self.folder, variables=OFFLINE | github | given)
        self.said = output_of(ended)
        for line in outputs.read_text().splitlines() if outputs.exists() else ():
            output, _, value = line.partition("=")
            self.values[f"steps.{step.get('id', name)}.outputs.{output}"] = value
        return ended.returncode


@pytest.mark.whole_runs
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_its_steps_install_verify_and_keep_a_report(tmp_path: Path) -> None:
    source = copy_of_the_checkout(tmp_path / "action")
    environment = Environment.at(tmp_path / "venv")
    folder = folder_of_somebody(tmp_path / "folder")
    job = Job(
        folder,
        environment,
        source,
        subject="my_kernels.py",
        operators="softmax",
        dtypes="float32",
        arguments="-k\nnot modes",
        processes="1",
    )
    assert job.run("Install torch-loss-parity") == 0, job.said
    assert job.run("Verify") == 1, job.said
    assert job.evaluate(ACTION["outputs"]["exit-status"]["value"]) == "1"
    report = Path(job.evaluate(ACTION["outputs"]["report"]["value"]))
    assert {path.name for path in report.iterdir()} == {"report.json", "counts.json", "junit.xml"}
    summary = job.summary.read_text()
    assert summary.startswith("## torch-loss-parity: `my_kernels.py` FAILS\n")
    figure = r"[\d.e∞]+"
    row = rf"^\| softmax \| float32 \| \d+ \| {figure} \| {figure} \| \d+ \|$"
    assert re.search(row, summary, re.MULTILINE)
    assert "- errors: `" in summary


def test_no_script_holds_an_expression() -> None:
    """What somebody passes reaches a script as a variable, and is never a part of it."""
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert len(scripts) == 3
    assert not any("${{" in script for script in scripts)
    assert all(step["shell"] == "bash" for step in STEPS if "run" in step)


def test_expressions_name_what_there_is() -> None:
    text = (CHECKOUT / "action.yml").read_text()
    steps = {step["id"] for step in STEPS if "id" in step}
    for name in EXPRESSION.findall(text):
        parts = name.split(".")
        assert (
            (parts[0] == "inputs" and parts[1] in ACTION["inputs"])
            or name == "github.action_path"
            or (parts[0] == "steps" and parts[1] in steps)
        ), name


def test_this_project_uses_it_with_inputs_that_it_has() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows" / "action.yml").read_text())
    (used,) = [step for step in workflow["jobs"]["kernels"]["steps"] if step["uses"] == "./"]
    assert set(used["with"]) <= set(ACTION["inputs"])
    required = {name for name, given in ACTION["inputs"].items() if given.get("required")}
    assert required <= set(used["with"])


@pytest.mark.parametrize("name", ["right-kernel-rejected", "wrong-kernel-passes"])
def test_forms_of_issues_ask_for_every_operator(name: str) -> None:
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    (options,) = [part["attributes"]["options"] for part in form["body"] if part.get("id") == "operator"]
    assert set(options) == set(OPERATORS)
