"""The composition root: builds everything, starts, drains, stops. The only file that knows all rooms."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog

from rankd.artifact import default_ranker_path
from rankd.config import Settings, split_address
from rankd.errors import ConfigError
from rankd.monitor import Monitor
from rankd.ranker import Ranker
from rankd.registry import Registry
from rankd.telemetry import Telemetry
from rankd.transport.admin_service import AdminService
from rankd.transport.completion_service import CompletionService
from rankd.transport.http import MetricsServer
from rankd.transport.interceptors import ServerInterceptor
from rankd.transport.quality_service import QualityService
from rankd.transport.rank_service import RankService
from rankd.transport.server import GrpcServer
from rankd.transport.streams import Streams
from rankd.version import VERSION

_log = structlog.get_logger("rankd")
_TICK = 1.0


class App:
    """One running daemon. ``start`` once, ``stop`` once."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; nothing happens yet."""
        self.settings = settings
        self._stack = AsyncExitStack()
        self.grpc_port = 0
        self.admin_port = 0
        self.metrics_port = 0
