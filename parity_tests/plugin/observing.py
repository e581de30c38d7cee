"""The pytest interface of observing: ``--plan`` writes down what a run would ask of a subject, ``--observed``
judges what a file says that a subject returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.ledger.environment import Environment, ran_elsewhere
from torch_loss_parity.ledger.ledger import ANY_DEVICE
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import BENCHMARKS
from torch_loss_parity.reference.arithmetic.profile_files import profile_of
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.container import DamagedFile
from torch_loss_parity.subjects.observing.planning import AUDIT, BENCHMARK, FOR, JUDGE, Planning
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.promise import Promise
from torch_loss_parity.subjects.settings import SETTINGS, Settings, WrongOption

# Kinds of claim that no file holds, and why.
UNSEEN_KINDS: Mapping[str, str] = {
    "hygiene": "what becomes of arguments, memory and threads is watched while the subject runs",
    "layouts": "how arrays lie in memory is not written down",
    "transforms": "torch.func, autocast and torch.compile take the functions themselves",
    "bits": "bits are compared from call to call while the subject runs",
}
# What writes the plan for a command.
PLANS: Mapping[str, str] = {JUDGE: "plan", AUDIT: "plan --audit", BENCHMARK: "plan --benchmark"}
BESIDES = ("known divergences",)  # tests of no kind, which a file serves too
FROM_THE_FILE = ("subject", "device", "dtype", "effort", "seed", "promise")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity", "verification of loss functions")
    group.addoption(
        "--observed",
        metavar="FILE",
        type=Path,
        help="judge what FILE says that a subject returned, from `torch-loss-parity observe`; none is run",
    )
    group.addoption(
        "--plan",
        metavar="FILE",
        type=Path,
        help="judge nothing: write what is to be asked to FILE, for `torch-loss-parity observe`",
    )


def settings_of(config: pytest.Config, given: Mapping[str, Any]) -> Settings:
    """The settings of a run: from its options, or from the file that it judges.

    Raises
    ------
    WrongOption
        If an option does not go with the file, or the file cannot be read.
    """
    observed, plan = config.getoption("observed"), config.getoption("plan")
    if not observed:
        settings = Settings.of(**given)
        return planned(settings, plan) if plan else settings
    if plan:
        raise WrongOption(
            "--plan and --observed are given; what is planned is asked of a subject, not of a file"
        )
    for name in FROM_THE_FILE:
        if f"--{name}" in {str(each).partition("=")[0] for each in config.invocation_params.args}:
            raise WrongOption(f"--{name} is given, and --observed; the file says what was run")
    try:
        recorded = Recorded(observed)
    except DamagedFile as error:
        raise WrongOption(f"--observed: {error}") from error
    must_be_for(command_of(config), recorded)
    if recorded.meant_for == AUDIT and not len(recorded):
        raise WrongOption(
            f"{observed} holds no call that was run, so that nothing can be measured: {recorded.why_not}"
        )
    settings = of_file(recorded, given)
    config.option.subject = settings.subject.name
    config.option.device, config.option.effort = settings.device, settings.effort_name
    environment = recorded.header["environment"]
    ran_elsewhere(Environment.of(environment), environment["torch_version"])
    return settings


def command_of(config: pytest.Config) -> str:
    """The command that a run is, of those that files of observations are for."""
    if config.getoption("audit", None):
        return AUDIT
    places = suite.places(config)
    times = places and all(BENCHMARKS in (place, *place.parents) for place in places)
    return BENCHMARK if times else JUDGE


def must_be_for(command: str, recorded: Recorded) -> None:
    """
    Raises
    ------
    WrongOption
        If a file is for another command than this.
    """
    wanted = recorded.meant_for
    if wanted != command:
        raise WrongOption(
            f"{recorded.path} has what `{wanted}` works with, and this is `{command}`: say "
            f"`torch-loss-parity {wanted} {recorded.path}`, or observe by a plan from `torch-loss-parity "
            f"{PLANS[command]}`"
        )


def of_file(recorded: Recorded, given: Mapping[str, Any]) -> Settings:
    """The settings that a file was observed with; operators may be fewer, and how it is judged is ours."""
    header, plan = recorded.header, recorded.header["plan"]
    tested = tuple(header["asked_operators"])
    operators = tuple(given["operator"].split(",")) if given["operator"] else tested
    if wrong := [name for name in operators if (tested and name not in tested) or name not in OPERATORS]:
        raise WrongOption(f"--operator is {wrong[0]!r}; the file has {', '.join(tested or OPERATORS)}")
    own, drawn = _promise(header["promise"]), _promise(plan["promise"])
    profile = given["profile"] or header["profile"]
    subject = Subject(
        header["subject"],
        recorded,
        header["imports"],
        profile_of(profile) if profile else DEFAULT,
        # Cases are drawn as they were planned; what the subject leaves out is its own.
        replace(own, options=drawn.options, ndim=drawn.ndim),
        given["like"] or "",
    )
    return Settings(
        subject,
        header["device"],
        tuple(header["dtypes"]),
        plan["effort"],
        plan["seed"],
        given["time_limit"] or header["time_limit"],
        operators,
    )


def planned(settings: Settings, path: Path, command: str = JUDGE) -> Settings:
    """The settings with a subject that is asked nothing, of a plan for a command.

    Raises
    ------
    WrongOption
        If the file cannot be written.
    """
    header = {
        FOR: command,
        "effort": settings.effort_name,
        "seed": settings.seed,
        "dtypes": list(settings.dtypes),
        "asked_operators": list(settings.operators),
        "promise": asdict(settings.subject.promise),
    }
    offered = tuple(name for name in OPERATORS if settings.subject.offers(name))
    try:
        planning = Planning(path, offered, header)
    except OSError as error:
        raise WrongOption(f"the plan {path} cannot be written: {error.strerror}") from error
    subject = replace(settings.subject, namespace=planning)
    return replace(settings, subject=subject, device=ANY_DEVICE)


def _promise(fields: Mapping[str, Any]) -> Promise:
    """A promise from JSON, which has no tuples."""
    options = {
        operator: {name: tuple(values) for name, values in of_operator.items()}
        for operator, of_operator in fields["options"].items()
    }
    ndim = {operator: tuple(values) for operator, values in fields["ndim"].items()}
    gradients = {operator: tuple(names) for operator, names in fields.get("gradients", {}).items()}
    dtypes, claims, without = (tuple(fields[name]) for name in ("dtypes", "claims", "without"))
    may_lack = tuple(fields.get("may_lack", ()))
    return Promise(options, ndim, dtypes, claims, without, may_lack, fields["result_dtype"], gradients)


def is_unseen(kind: str, subject: Subject) -> bool:
    """Whether no file holds anything of a kind of claim, and one stands for the subject."""
    return subject.is_elsewhere and (kind in UNSEEN_KINDS or kind not in (*KINDS, *BESIDES))


def unseen(subject: Subject) -> str:
    """The kinds of claim that were not observed, in a line; empty where the subject itself is here."""
    if not subject.is_elsewhere:
        return ""
    return ", ".join(kind for kind in UNSEEN_KINDS if kind in subject.promise.claims)


def pytest_report_header(config: pytest.Config) -> list[str]:
    source = config.stash[SETTINGS].subject.namespace
    if not isinstance(source, Recorded):
        return []
    judges = source.meant_for == JUDGE
    unseen = UNSEEN_KINDS if judges else {}  # an audit names what it has not at its end
    return [
        f"parity: {'judged' if judges else 'measured'} from {source.path}: {source.told}",
        *(f"parity: {kind} not observed: {why}" for kind, why in unseen.items()),
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    settings = session.config.stash.get(SETTINGS, None)
    if settings is not None and isinstance(planning := settings.subject.namespace, Planning):
        planning.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.getoption("observed", None):
        ran_elsewhere(None)
