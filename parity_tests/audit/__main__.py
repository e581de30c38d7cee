"""What can be done with audits that are there: compare two, make the page again, print the schema.

    python -m torch_loss_parity.audit compare OLD.json NEW.json [--fail max_ulp:10%]
    python -m torch_loss_parity.audit page AUDIT.json [--compare OLD.json] [--output FILE]
    python -m torch_loss_parity.audit picture AUDIT.json [--output FILE.svg]
    python -m torch_loss_parity.audit schema

The exit status is 0, 1 if a gate tripped, and 2 if a file or an option is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from torch_loss_parity.audit import compare as comparing
    from torch_loss_parity.audit import files, heat_map, page
except ModuleNotFoundError as error:
    print(f"error: audits need {error.name}; install the extra: pip install -e '.[report]'", file=sys.stderr)
    raise SystemExit(2) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked for; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (files.AuditFileError, comparing.GateError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="{compare,page,picture,schema}")
    compare = commands.add_parser(
        "compare", help="what changed from one audit to another", description=comparing.__doc__
    )
    compare.formatter_class = argparse.RawDescriptionHelpFormatter
    compare.add_argument("old", metavar="OLD", type=Path)
    compare.add_argument("new", metavar="NEW", type=Path)
    compare.add_argument(
        "--fail", action="append", default=[], metavar="EXPR", help=comparing.ALLOWED.replace("%", "%%")
    )
    compare.add_argument(
        "--shown", type=_count, default=20, metavar="N", help="figures in the table (default: 20)"
    )
    compare.set_defaults(run=_compare)
    again = commands.add_parser("page", help="make the page of a saved audit again")
    again.add_argument("audit", metavar="AUDIT", type=Path)
    again.add_argument("--compare", metavar="OLD", type=Path, help="an older audit to compare it with")
    again.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="where the page goes (default: index.html beside the audit)",
    )
    again.set_defaults(run=_page)
    picture = commands.add_parser("picture", help="draw the heat map of a saved audit, in SVG")
    picture.add_argument("audit", metavar="AUDIT", type=Path)
    picture.add_argument("--output", metavar="FILE.svg", type=Path, default=heat_map.PICTURE)
    picture.set_defaults(run=_picture)
    commands.add_parser("schema", help="print the JSON Schema of audit.json").set_defaults(run=_schema)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of figures; 0 or more is allowed")
    return int(text)


def _compare(options: argparse.Namespace) -> int:
    expression = ",".join(options.fail)
    if expression:
        comparing.parse_gate(expression)  # before files are read: what is wrong with the call is said first
    comparison = comparing.compare(files.load(options.old), files.load(options.new))
    print("\n".join(comparing.table(comparison, options.shown)))
    failures = comparing.gate(comparison, expression) if expression else []
    if failures:
        print("\n" + "\n".join(f"FAIL {failure}" for failure in failures))
    return 1 if failures else 0


def _page(options: argparse.Namespace) -> int:
    audit = files.load(options.audit)
    comparison = comparing.compare(files.load(options.compare), audit) if options.compare else None
    output = options.output or options.audit.with_name("index.html")
    page.write(output, audit, comparison)
    print(output)
    return 0


def _picture(options: argparse.Namespace) -> int:
    heat_map.write(files.load(options.audit), options.output)
    print(options.output)
    return 0


def _schema(_: argparse.Namespace) -> int:
    print(files.schema(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
