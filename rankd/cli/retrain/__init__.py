"""``rankd retrain``: from the completion log to a better ranker in service, for cron, systemd and Kubernetes."""

from rankd.cli.retrain.flags import add_flags
from rankd.cli.retrain.retrain import retrain as run

__all__ = ["add_flags", "run"]
