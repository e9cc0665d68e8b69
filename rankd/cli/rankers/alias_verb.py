"""``rankd rankers alias``."""

from __future__ import annotations

import argparse
import json

from rankd.cli.connection import DONE
from rankd.cli.rankers.known import registry_of
from rankd.errors import ConfigError
from rankd.registry.shelf import Shelf
from rankd.text import printable


def run(arguments: argparse.Namespace) -> int:
    """Set or remove an alias.

    Raises:
        ConfigError: no registry, no such name can be, or it cannot be written.
        NotFoundError: there is no such ranker or alias.
    """
    shelf = Shelf(registry_of(arguments.registry))
    if arguments.remove == (arguments.ranker is not None):
        raise ConfigError("give a VERSION that the alias is to lead to, or --remove")
    if arguments.remove:
        shelf.remove_alias(arguments.name)
        place = None
        text = f"the alias {arguments.name} is gone"
    else:
        place = shelf.alias(arguments.name, arguments.ranker)
        text = f"{arguments.name} leads to {place}"
    print(json.dumps({"alias": arguments.name, "path": place}) if arguments.json else printable(text))
    return DONE
