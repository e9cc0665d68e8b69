"""``rankd serve``."""

from __future__ import annotations

import argparse
import asyncio
import os

from rankd.daemon import run
from rankd.settings.load import load_settings


def serve(arguments: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or SIGINT."""
    if arguments.config:
        os.environ["RANKD_CONFIG"] = arguments.config
    settings = load_settings(
        listen=arguments.listen,
        metrics=arguments.metrics,
        admin=arguments.admin,
        ranker=arguments.ranker,
        provider=arguments.provider,
    )
    return asyncio.run(run(settings))
