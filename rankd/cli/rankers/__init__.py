"""``rankd rankers``: what rankers there are, what they are, how two compare, and their names."""

from rankd.cli.rankers.flags import add_flags, run

__all__ = ["add_flags", "run"]
