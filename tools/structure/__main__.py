"""Print the figures of a checkout, or hold them against their bounds.

From the root of this checkout: `python -m tools.structure`, `python -m tools.structure --root OTHER --json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from tools.structure.figures import Figure, figures_of


def main() -> int:
    """Print them; 1 where `--check` finds one above its bound."""
    parser = argparse.ArgumentParser(prog="python -m tools.structure", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the checkout; default: where you are")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print JSON, with all that was found, instead of a table")
    what.add_argument("--check", action="store_true", help="print only what is above its bound; 1 if any is")
    arguments = parser.parse_args()
    if not (arguments.root / "rankd").is_dir():
        parser.error(f"{arguments.root} is no checkout: it has no folder rankd")
    figures = figures_of(arguments.root)
    if arguments.json:
        print(json.dumps({figure.name: dataclasses.asdict(figure) for figure in figures}, indent=2))
    elif arguments.check:
        return _check(figures)
    else:
        _table(figures)
    return 0


def _table(figures: list[Figure]) -> None:
    for figure in figures:
        bound = "" if figure.most is None else f" (at most {figure.most})"
        print(f"{figure.value:>8,}  {figure.text}{bound}")
        for line in figure.found:
            print(f"{'':10}  {line}")


def _check(figures: list[Figure]) -> int:
    broken = [figure for figure in figures if not figure.holds]
    for figure in broken:
        print(f"{figure.value} {figure.text}, at most {figure.most}:", *figure.found, sep="\n  ", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
