"""The reference of the command line, from its parsers: ``python -m tools.command_line_reference`` writes it.

argparse's own ``--help`` is laid out differently by different versions of Python, so that it is not copied.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from rankd.cli import build_parser
from tools.generated import REFERENCE, main, paragraph

FILE = REFERENCE / "command-line.md"
_HEAD = """# The command line

Made from the parsers in `rankd/cli/` by `make generate`; a test compares. `rankd VERB --help` tells the same.

Exit status: 0 well, 1 failed, 2 wrong usage or settings, 130 interrupted.
"""
_STANDARD_GROUPS = {"positional arguments", "options"}
"""What argparse calls what is in no group."""


def reference() -> str:
    """The page."""
    return _HEAD + "".join(_verb(parser, about, 2) for parser, about in _verbs(build_parser()))


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The parsers of a parser's verbs, and what each does in a line."""
    for action in parser._actions:  # noqa: SLF001 - argparse tells what was declared in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for named in action._choices_actions:  # noqa: SLF001
                yield action.choices[named.dest], named.help or ""


def _verb(parser: argparse.ArgumentParser, about: str, level: int) -> str:
    text = f"\n{'#' * level} {parser.prog.split(' [')[0]}\n\n"
    text += paragraph(_sentence(parser.description or about))
    text += "\n"
    for group in parser._action_groups:  # noqa: SLF001
        flags = [line for action in group._group_actions if (line := _flag(action))]  # noqa: SLF001
        if flags and group.title not in _STANDARD_GROUPS:
            text += f"\n{str(group.title).capitalize()}:\n\n"
        text += "".join(flags)
    text = text.rstrip("\n") + "\n"
    return text + "".join(_verb(child, about, level + 1) for child, about in _verbs(parser))


def _flag(action: argparse.Action) -> str:
    """A line of what may be given; nothing for help and for verbs, which have sections of their own."""
    if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):  # noqa: SLF001
        return ""
    text = (action.help or "") % {**vars(action), "prog": "rankd"}
    if action.choices:
        text = f"{text}{'; ' if text else ''}one of " + ", ".join(f"`{choice}`" for choice in action.choices)
    if action.default not in (None, False, "", [], argparse.SUPPRESS) and "default" not in text.lower():
        text += f"{'; ' if text else ''}default: {action.default}"
    if action.required and action.option_strings:
        text += "; required"
    return paragraph(f"- {_names(action)}: {text}", indent="  ")


def _names(action: argparse.Action) -> str:
    """How it is written, as ``--flag VALUE``."""
    value = action.metavar or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    if action.nargs in ("*", "+"):
        value = f"{value} ..."
    if action.nargs in ("*", "?"):
        value = f"[{value}]"
    if action.nargs == 0:
        value = ""
    return ", ".join(f"`{name} {value}`".replace(" `", "`") for name in action.option_strings) or f"`{value}`"


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?")) else f"{text}."


def files() -> dict[Path, str]:
    """The page, where it belongs."""
    return {FILE: reference()}


if __name__ == "__main__":
    sys.exit(main("Write the reference of the command line.", files))
