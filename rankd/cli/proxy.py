"""``rankd proxy``: a reverse proxy that gives requests their priority."""

from __future__ import annotations

import argparse
import importlib.util
import os

from rankd.errors import ConfigError
from rankd.proxy.settings import Direction, load_proxy_settings, proxy_settings_reference
from rankd.telemetry.logs import configure_logs, log_loose_ends

_NEEDS = ("aiohttp", "httptools", "uvicorn")


def add_flags(verb: argparse.ArgumentParser) -> None:
    """The engine, the daemon, and who listens; all else by variables."""
    verb.description = (
        "A streaming reverse proxy before an engine that speaks OpenAI's API: asks the daemon about each prompt and "
        "writes `priority` into the request's body. Nothing else of it changes."
    )
    verb.add_argument(
        "--upstream", metavar="URL", help="the engine, such as http://127.0.0.1:8000; or RANKD_PROXY_UPSTREAM"
    )
    verb.add_argument(
        "--upstream-ca", metavar="FILE", help="PEM of the CAs that its certificate is trusted by; default: the system's"
    )
    verb.add_argument("--listen", metavar="HOST:PORT", help="for clients; default: 127.0.0.1:8080")
    verb.add_argument(
        "--metrics", metavar="HOST:PORT", help="of /metrics, /livez and /readyz, empty is off; default: 127.0.0.1:9465"
    )
    verb.add_argument(
        "--direction",
        choices=[direction.value for direction in Direction],
        help="which priority the engine serves first; auto, the default, asks the engine",
    )
    verb.add_argument("--target", metavar="HOST:PORT", help="the daemon; default: RANKD_TARGET or 127.0.0.1:50051")
    verb.add_argument("--model", help="the served language model whose calibration and guard apply; or RANKD_MODEL")
    verb.add_argument(
        "--timeout",
        metavar="SECONDS",
        help="that asking may hold a request up, always; default: RANKD_TIMEOUT, and without it half of what requests "
        "wait anyway, 0.05 to 2 (RANKD_HOLD_SHARE, RANKD_HOLD_IDLE, RANKD_HOLD_MOST)",
    )
    verb.add_argument(
        "--engine-places",
        metavar="N",
        help="requests that the engine gets at a time, while others wait here in order; default: all at once",
    )
    verb.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    verb.add_argument("--log-format", choices=["auto", "json", "console"], default="auto")
    verb.add_argument("--help-settings", action="store_true", help="list all RANKD_PROXY_* settings, and exit")


def run(arguments: argparse.Namespace) -> int:
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
        raise ConfigError(f"the proxy needs {', '.join(missing)}: pip install 'rankd[proxy]'")
    from rankd_client.integration import IntegrationSettings

    from rankd.cli.connection import check_target

    if arguments.target is not None:
        check_target(arguments.target, "--target")
    settings = load_proxy_settings(
        upstream=arguments.upstream,
        upstream_ca=arguments.upstream_ca,
        listen=arguments.listen,
        metrics=arguments.metrics,
        direction=arguments.direction,
        engine_places=arguments.engine_places,
    )
    given = {"RANKD_TARGET": arguments.target, "RANKD_MODEL": arguments.model, "RANKD_TIMEOUT": arguments.timeout}
    try:
        asking = IntegrationSettings.from_environment(
            {**os.environ, **{k: v for k, v in given.items() if v is not None}}
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    configure_logs(arguments.log_level, arguments.log_format)
    log_loose_ends()
    from rankd.proxy.serve import run_proxy

    run_proxy(settings, asking)
    return 0
