"""The command, the public names, and how the suite's own pytest is set up: what needs no installation."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import torch

import torch_loss_parity
from torch_loss_parity.command import options
from torch_loss_parity.command.audit import NAMED as OF_AUDIT
from torch_loss_parity.command.benchmark import NAMED as OF_BENCHMARK
from torch_loss_parity.command.main import COMMANDS, group, main
from torch_loss_parity.operators.sampling import EFFORTS
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import BENCHMARKS, CHECKOUT, PACKAGE, REFERENCE, place_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PUBLIC = {
    "Compared",
    "VerificationError",
    "Verified",
    "__version__",
    "assert_close_to_truth",
    "compare",
    "reference",
    "verify",
}
HEAVY = ("torch", "numpy", "scipy", "flint", "pytest", "hypothesis")
OPTION = re.compile(r"^  (--[a-z][a-z-]*)", re.MULTILINE)
# Options of pytest that a subcommand sets itself, or that are for the suite's tests of itself.
ELSEWHERE = {"--subject", "--observed", "--plan", "--whole-runs"}


def test_help_of_every_subcommand_loads_nothing_heavy_and_has_examples() -> None:
    code = (
        "import sys\n"
        "from torch_loss_parity.command.main import COMMANDS, main\n"
        "main(['--help'])\n"
        "for command in COMMANDS:\n"
        "    assert main([command.name, '--help']) == 0\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("LOADED []\n")
    assert ended.stdout.count("Examples:") == 1 + len(COMMANDS)
    assert max(map(len, ended.stdout.splitlines())) <= 100


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_subcommands(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = subprocess.run(
        [sys.executable, "-c", "from torch_loss_parity.command.main import main; main()"],
        env={"_TORCH_LOSS_PARITY_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "torch-loss-parity" in script.stdout, script.stderr


def test_names_that_are_separated_by_commas_are_completed() -> None:
    context = click.Context(COMMANDS[0])
    (operator,) = [each for each in COMMANDS[0].params if each.name == "operator"]
    completed = [item.value for item in operator.shell_complete(context, "softmax,log_s")]
    assert completed == ["softmax,log_softmax"]
    assert tuple(EFFORTS) == options.EFFORTS


def test_options_of_pytest_and_those_of_the_command_are_the_same() -> None:
    """Those of pytest that are this project's, as its help lists them: each in some subcommand, none more."""
    command = [sys.executable, "-m", "pytest", *suite.arguments([str(PACKAGE / "claims"), "--help"])]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=suite.environment({}))
    of_pytest: set[str] = set()
    for heading in (
        "verification of loss functions",
        "by how much numbers differ",
        "timing of loss functions",
    ):
        _, separator, section = ended.stdout.partition(f"{heading}")
        assert separator, heading
        of_pytest |= set(OPTION.findall(section.partition("\n\n")[0]))
    named = {"--processes": "-n"}
    of_command = set()
    for command_, renamed in ((COMMANDS[0], {}), (COMMANDS[1], OF_AUDIT), (COMMANDS[3], OF_BENCHMARK)):
        for parameter in command_.params:
            if isinstance(parameter, click.Option):
                name = str(parameter.name)
                of_command.add(renamed.get(name, f"--{name.replace('_', '-')}"))
    assert of_command - set(named) - {"--benchmark-json"} == of_pytest - ELSEWHERE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["verify", "--effrt", "quick"], "No such option"),
        (["verify", "--seed", "one"], "'one' is not a valid integer"),
        (["compare", "one.json"], "Missing argument 'NEW'"),
        (
            ["compare", "a.pt", "b.pt", "--argument", "dim=1"],
            "--argument is of results; they need --operator",
        ),
        (["compare", "a.pt", "b.pt", "--operator", "softmax"], "a.pt cannot be read: "),
        (["compare", "a.pt", "b.pt", "--operator", "softmax", "--argument", "dim"], "it must be NAME=VALUE"),
        (["compare", "a.pt", "b.pt", "--operator", "softmax", "--clip", "low"], "--clip is 'low'"),
        (["compare", "a.json", "b.pt", "--operator", "softmax"], "a.json must be a tensor saved as .pt"),
        (["upstream", "nothing"], "there is no entry 'nothing'; choose from"),
        (["campaign", "--faults", "nothing"], "--faults has nothing; choose from"),
        (["campaign", "--check", "--write"], "--check and --write do not go together"),
        (["seeds", "--claims", "nothing"], "--claims has nothing; choose from"),
        (["seeds", "--seeds", "1", "--operator", "nothing"], "--operator is 'nothing'; choose from"),
        (["observe", "--plan", "none.npz"], "none.npz cannot be read: "),
        (["observe", "--plan", "none.npz", "--seed", "1"], "--seed is given, and --plan"),
        (["compare", "none.npz", "none.npz"], "none.npz cannot be read: "),
        (["bits", "nowhere.py"], "'nowhere.py' is not a file"),
        (["versions", "two"], "'two' is no release of torch"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 4
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith("error: ")
    assert words in printed.err


def test_two_audits_that_are_not_there_are_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "none.json", "other.json"]) == 4
    assert "none.json: there is no such file" in capsys.readouterr().err


def test_two_results_are_compared_from_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = torch.linspace(-3, 3, 60).reshape(6, 10).sin()
    for name, tensor in {"x": x, "mine": x.log_softmax(-1), "off": x.log_softmax(-1) * 1.5}.items():
        torch.save(tensor, f"{name}.pt")
    np.save("theirs.npy", x.double().log_softmax(-1).float().numpy())
    call = ["--operator", "log_softmax", "--argument", "input=x.pt", "--argument", "dim=-1"]
    assert main(["compare", "mine.pt", "theirs.npy", *call]) == 0
    assert "exp(a - b) lies between 0.8 and 1.2 in 100.0000% of them" in capsys.readouterr().out
    assert main(["compare", "mine.pt", "off.pt", *call, "--clip", "0.5,2"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert "KL divergence of b from a, expected under a" in printed
    assert "between 0.5 and 2" in printed
    assert main(["compare", "mine.pt", "off.pt", "--operator", "relu", *call[2:]]) == 4
    assert "operator is 'relu'; choose from softmax" in capsys.readouterr().err


def test_the_version_stands_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"torch-loss-parity, version {torch_loss_parity.__version__}\n"
    assert torch_loss_parity.__version__ == project["version"]
    assert "version:" not in (CHECKOUT / "CITATION.cff").read_text().replace("cff-version:", "")
    assert "## [Unreleased]" in (CHECKOUT / "CHANGELOG.md").read_text()


# --- the library --------------------------------------------------------------------------------------------


def test_the_public_names_are_these_and_documented() -> None:
    assert set(torch_loss_parity.__all__) == PUBLIC
    assert set(dir(torch_loss_parity)) >= PUBLIC
    for name in PUBLIC - {"__version__"}:
        public = getattr(torch_loss_parity, name)
        assert inspect.getdoc(public), name
        assert f"`{name}`" in str(torch_loss_parity.__doc__), name
    with pytest.raises(AttributeError, match="has no attribute 'assert_close'"):
        _ = torch_loss_parity.assert_close


def test_the_package_itself_loads_nothing() -> None:
    code = f"import sys, torch_loss_parity; print([name for name in {HEAVY} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


# --- pytest -------------------------------------------------------------------------------------------------


def test_the_suite_is_configured_as_in_the_checkout() -> None:
    """But for the plugins, which a conftest.py loads there, and what the tests of the suite itself need."""
    own = tomllib.loads(suite.CONFIGURATION.read_text())["tool"]["pytest"]["ini_options"]
    checkout = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    more = own["addopts"][len(checkout["addopts"]) :]
    assert own["addopts"][: len(checkout["addopts"])] == checkout["addopts"]
    plugins = re.findall(r'"(torch_loss_parity\S+)"', (CHECKOUT / "conftest.py").read_text())
    assert more == ["--assert=plain", "--noconftest", *(word for name in plugins for word in ("-p", name))]
    own.pop("addopts")
    assert own == {name: value for name, value in checkout.items() if name not in ("addopts", "testpaths")}


def test_options_that_follow_two_dashes_stay_there() -> None:
    assert suite.arguments(["a", "--", "-b"])[-2:] == ["--", "-b"]
    assert suite.arguments(["-c", "theirs.ini"])[:2] == ["-c", "theirs.ini"]
    assert str(suite.CONFIGURATION) in suite.arguments(["-c", "theirs.ini"])[2:]
    assert any(each.startswith("cache_dir=") for each in suite.arguments([]))
    assert not any(each.startswith("cache_dir=") for each in suite.arguments(["-p", "no:cacheprovider"]))


def test_places_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    assert place_of("some/test_file.py::test", tmp_path) == tmp_path / "some/test_file.py"
    assert place_of("torch_loss_parity", tmp_path) == PACKAGE
    assert place_of("torch_loss_parity.reference", tmp_path) == REFERENCE
    assert place_of("torch_loss_parity.benchmarks.test_paths", tmp_path) == BENCHMARKS / "test_paths.py"
    assert (
        place_of("torch_loss_parity.claims.test_forward::a", tmp_path) == PACKAGE / "claims/test_forward.py"
    )


def test_options_for_other_tests_are_refused_in_a_run_of_the_suite() -> None:
    command = [sys.executable, "-m", "pytest", str(PACKAGE / "claims"), "--parity-effort=quick"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert ended.returncode == 4
    assert "--parity-effort is for tests of your own; the suite has --effort" in ended.stderr


def test_a_group_of_subcommands_lists_what_there_is() -> None:
    assert [command.name for command in COMMANDS] == list(group.commands)
