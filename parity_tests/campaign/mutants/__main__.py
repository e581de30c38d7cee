"""How many mutants of the definitions does the suite catch?

    python -m torch_loss_parity.campaign.mutants --write            # all of them: minutes on two cores
    python -m torch_loss_parity.campaign.mutants --new --write      # after a change of a definition
    python -m torch_loss_parity.campaign.mutants --sample 50 --check

Survivors are judged in every dtype before they are named. The exit status is 1 if one survives that is not
shown to be no fault, or if the record does not hold.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.campaign.mutants import record
from torch_loss_parity.campaign.mutants.judge_mutants import DTYPES, judged_apart
from torch_loss_parity.campaign.mutants.mutated_kernels import all_mutants
from torch_loss_parity.processes import system


def main(arguments: list[str] | None = None) -> int:
    """Judge mutants; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.campaign.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="every N-th mutant (default: all)")
    parser.add_argument("--new", action="store_true", help="only those that the record does not have")
    parser.add_argument("--workers", type=int, default=system.cores(), metavar="N", help="default: the cores")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="record what was judged")
    choice.add_argument("--check", action="store_true", help="compare with the record")
    options = parser.parse_args(arguments)
    for name in ("sample", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 1")
    known = record.recorded() if options.new else {}
    keys = [mutant.key for mutant in all_mutants() if mutant.key not in known][:: options.sample]
    caught = _judged(keys, DTYPES[:1], options.workers)
    caught |= _judged([key for key in keys if not caught[key]], DTYPES[1:], options.workers)
    for claim, number in Counter(caught.values()).most_common():
        print(f"{number:>6}  {claim or 'caught by no claim'}")
    survivors = record.survivors(caught)
    problems = [f"{key}  survives" for key in survivors] + (record.drift(caught) if options.check else [])
    if options.write:
        record.write(caught)
    print("\n".join([*problems, record.score(caught)]))
    return 1 if problems else 0


def _judged(keys: list[str], dtypes: tuple[str, ...], workers: int) -> dict[str, str]:
    """The mutants, dealt out to processes."""
    pytest_process.prepare("torch_loss_parity.campaign.mutants.judge_mutants")
    hands = [keys[i::workers] for i in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda hand: judged_apart(hand, dtypes), [hand for hand in hands if hand])
        together = {key: claim for part in parts for key, claim in part.items()}
    return {key: together[key] for key in keys}


if __name__ == "__main__":
    sys.exit(main())
