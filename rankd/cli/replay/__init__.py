"""``rankd replay``: what ranking would have made of a trace."""

from rankd.cli.replay.flags import add_flags
from rankd.cli.replay.replay import replay as run

__all__ = ["add_flags", "run"]
