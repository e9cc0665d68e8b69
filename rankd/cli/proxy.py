"""``rankd proxy``: a reverse proxy that gives requests their priority."""

from __future__ import annotations

import argparse
import importlib.util
import os

from rankd.errors import ConfigError
from rankd.proxy.settings import load_proxy_settings, proxy_settings_reference
from rankd.telemetry.logs import configure_logs

_NEEDS = ("aiohttp", "uvicorn")


def proxy(arguments: argparse.Namespace) -> int:
    """Run the proxy until SIGTERM or SIGINT.

    Raises:
        ConfigError: something is not installed, or a setting cannot be used; the message names the remedy.
    """
    if arguments.help_settings:
        for name, default, description in proxy_settings_reference():
            print(f"{name} = {default or '(none)'}\n    {description}")
        return 0
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the proxy needs {' and '.join(missing)}: pip install 'rankd[proxy]'")
    from rankd_client.integration.settings import IntegrationSettings

    settings = load_proxy_settings(
        upstream=arguments.upstream,
        listen=arguments.listen,
        metrics=arguments.metrics,
        direction=arguments.direction,
    )
    given = {"RANKD_TARGET": arguments.target, "RANKD_MODEL": arguments.model, "RANKD_TIMEOUT": arguments.timeout}
    try:
        asking = IntegrationSettings.from_environment(
            {**os.environ, **{k: v for k, v in given.items() if v is not None}}
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    configure_logs(arguments.log_level, arguments.log_format)
    from rankd.proxy.serve import run_proxy

    run_proxy(settings, asking)
    return 0
