"""``rankd train``: from a log of prompts and output lengths to a ranker."""

from rankd.cli.train.flags import add_flags
from rankd.cli.train.train import train as run

__all__ = ["add_flags", "run"]
