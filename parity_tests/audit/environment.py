"""The environment that an audit records: versions, processor, and what else changes numbers."""

from __future__ import annotations

from torch_loss_parity.processes.machine_facts import PACKAGES, facts_of
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.recorded import Recorded

HERE = "measured with"  # a subject that ran elsewhere


def environment(subject: Subject, device: str) -> dict[str, str]:
    """What numbers come from, under the names that an audit's file has for it: of where the subject ran."""
    if not isinstance(subject.namespace, Recorded):
        return facts_of(device)
    header, here = subject.namespace.header, facts_of("cpu")
    facts = {**header["environment"]["facts"], "numpy": header["environment"]["numpy"]}
    libraries = ", ".join(f"{name} {here[name]}" for name in PACKAGES)
    return {name: value for name, value in facts.items() if name == "numpy" or name not in PACKAGES} | {
        "observed": f"{header['made']}, torch-loss-parity {header['package']}, {subject.namespace.path.name}",
        HERE: f"python {here['python']}, {libraries}, {here['system']}, {here['processor']}",
    }
