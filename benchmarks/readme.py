"""The README's table of a real run.

    python -m pytest benchmarks --benchmark-json=run.json python -m torch_loss_parity.benchmarks.readme
    run.json --write      # once for each machine: run.json gpu.json python -m
    torch_loss_parity.benchmarks.readme --check

``--write`` keeps of the runs what the table needs in ``benchmarks/measured.json``; ``--check`` fails if the
README says anything else than follows from that file. Times are of the machine that the table names: nothing
is measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from torch_loss_parity.benchmarks import headline
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS
from torch_loss_parity.benchmarks.result import Result
from torch_loss_parity.benchmarks.summary import times
from torch_loss_parity.benchmarks.workload import PLAIN
from torch_loss_parity.reports import readme
from torch_loss_parity.reports.formatting import seconds

SECTION = "benchmarks"
WIDTH = 110
MEASURED = Path(__file__).with_name("measured.json")
MACHINE = ("torch", "numpy", "cpu_capability", "threads", "device", "allocator")


class NoRun(ValueError):
    """A file is not a run of the benchmarks that a table can be made of; the message says why."""


def kept(path: Path) -> dict[str, Any]:
    """What the table needs of a file that ``--benchmark-json`` or ``--benchmark-save`` wrote.

    Raises
    ------
    NoRun
        If it is no such file, or torch's training steps are not in it.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        results = [Result.from_info(each["extra_info"]) for each in saved["benchmarks"]]
        info = saved["machine_info"]
        machine = {"cpu": info["cpu"].get("brand_raw", info["machine"])} | {
            name: info[name] for name in MACHINE
        }
    except OSError as error:
        raise NoRun(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise NoRun(f"{path} is not JSON, or not all of it: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise NoRun(f"{path} was not written by `pytest benchmarks --benchmark-json`: {error}") from error
    steps = headline.telling(results)
    if not steps:
        raise NoRun(
            f"{path} has no {BASELINE} in forward+backward and float32: run all paths, at quick "
            f"effort or more"
        )
    return {
        "machine": machine,
        "noise": noise(results).verdict,
        "results": [result.as_info() for result in steps],
    }


def section(runs: Sequence[Mapping[str, Any]]) -> str:
    """The section as Markdown: a table for each run."""
    return "\n\n".join("\n".join(_of(run)) for run in runs)


def _of(run: Mapping[str, Any]) -> Iterator[str]:
    results, machine = [Result.from_info(info) for info in run["results"]], run["machine"]
    where = (
        machine["device"]
        if machine["device"] != "cpu"
        else f"{machine['cpu']}, {machine['cpu_capability']}, {machine['threads']} thread(s)"
    )
    first = results[0]
    measured = f"Forward and backward at {first.shape}, {first.dtype}, in multiples of the floor"
    yield from wrap(f"{measured} (torch {machine['torch']}, {where}; {machine['allocator']}):", WIDTH)
    yield ""
    paths = [name for name in PATHS if any(result.path == name for result in results)]
    yield "| |" + "".join(f" {path} |" for path in paths)
    yield "|---|" + "---|" * len(paths)
    for work in PLAIN:
        by_path = {result.path: result for result in results if result.work == work}
        if by_path:
            yield f"| `{work}` |" + "".join(f" {_cell(by_path.get(path))} |" for path in paths)
    yield ""
    for sentence in (*headline.sentences(results), f"{run['noise']}."):
        yield from wrap(sentence, WIDTH)


def _cell(result: Result | None) -> str:
    return "" if result is None else f"{times(result)} ({seconds(result.median)})"


def main(arguments: list[str] | None = None) -> int:
    """Print the section, write it into the README, or check that the README has it."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.benchmarks.readme",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="*",
        help="what pytest --benchmark-json wrote; without any, what was kept before",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--write", action="store_true", help="write the section into README.md, and keep what it needs"
    )
    choice.add_argument("--check", action="store_true", help="fail if README.md says anything else")
    options = parser.parse_args(arguments)
    try:
        runs = [kept(path) for path in options.runs] if options.runs else _measured()
    except NoRun as error:
        print(error, file=sys.stderr)
        return 2
    text = section(runs)
    if options.write:
        readme.write(SECTION, text)
        MEASURED.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    elif options.check:
        drift = readme.drift(SECTION, text, "measured")
        print("\n".join(drift))
        return 1 if drift else 0
    else:
        print(text)
    return 0


def _measured() -> list[dict[str, Any]]:
    if not MEASURED.exists():
        raise NoRun(
            f"nothing was kept in {MEASURED}; name a file that `pytest benchmarks "
            f"--benchmark-json=FILE` wrote"
        )
    return list(json.loads(MEASURED.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
