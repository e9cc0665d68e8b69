"""The verb ``rankd proxy`` and its flags; apart, so that other verbs do not load the proxy."""

from __future__ import annotations

import argparse


def add_proxy(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = verbs.add_parser(
        "proxy",
        help="give requests to any OpenAI-compatible engine their priority",
        description="A streaming reverse proxy before an engine that speaks OpenAI's API: asks the daemon about each "
        "prompt and writes `priority` into the request's body. Nothing else of it changes.",
    )
    _add_flags(verb)
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from rankd.cli.proxy import proxy

    return proxy(arguments)


def _add_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--upstream", metavar="URL", help="the engine, such as http://127.0.0.1:8000; or RANKD_PROXY_UPSTREAM"
    )
    verb.add_argument("--listen", metavar="HOST:PORT", help="for clients; default: 127.0.0.1:8080")
    verb.add_argument(
        "--metrics", metavar="HOST:PORT", help="of /metrics, /livez and /readyz, empty is off; default: 127.0.0.1:9465"
    )
    verb.add_argument(
        "--direction",
        choices=["auto", "lower-first", "higher-first"],
        help="which priority the engine serves first; auto, the default, asks the engine",
    )
    verb.add_argument("--target", metavar="HOST:PORT", help="the daemon; default: RANKD_TARGET or 127.0.0.1:50051")
    verb.add_argument("--model", help="the served language model whose calibration and guard apply; or RANKD_MODEL")
    verb.add_argument(
        "--timeout", metavar="SECONDS", help="that asking may hold a request up; default: RANKD_TIMEOUT or 0.05"
    )
    verb.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    verb.add_argument("--log-format", choices=["auto", "json", "console"], default="auto")
    verb.add_argument("--help-settings", action="store_true", help="list all RANKD_PROXY_* settings, and exit")
