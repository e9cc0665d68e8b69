"""``rankd serve``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import get_args

import structlog

from rankd.cli.connection import DEFAULT_TARGET
from rankd.daemon import App
from rankd.settings import Provider, Settings, load_settings, settings_reference
from rankd.telemetry.logs import configure_logs, log_loose_ends

_log = structlog.get_logger("rankd")
_LAST_SECONDS = 2.0
"""What threads may take to end after everything else has."""

_AFTER_CALLS = 25.0
"""Seconds for completion log, snapshot and telemetry after the calls: what the chart adds to a pod's grace."""


def add_flags(verb: argparse.ArgumentParser) -> None:
    """The settings that are asked for most; all others by variables or file."""
    verb.description = (
        "Run the daemon. Every setting can be given as an environment variable (RANKD_LISTEN, RANKD_SCORING__THREADS, "
        "...) or in a TOML file; flags win over variables over the file."
    )
    verb.add_argument("--listen", metavar="HOST:PORT", help=_help("listen"))
    verb.add_argument("--metrics", metavar="HOST:PORT", help=_help("metrics"))
    verb.add_argument("--admin", metavar="HOST:PORT", help=_help("admin"))
    verb.add_argument("--ranker", metavar="DIR", help=Settings.model_fields["ranker"].description)
    verb.add_argument("--provider", choices=get_args(Provider), help=_help("provider"))
    verb.add_argument("--config", metavar="FILE", help="TOML file with settings (RANKD_CONFIG)")
    verb.add_argument("--help-settings", action="store_true", help="list all settings with their defaults, and exit")


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    return f"{field.description} Default: {field.default or 'off'}"


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or SIGINT."""
    if arguments.help_settings:
        for name, default, description in settings_reference():
            variable = "RANKD_" + name.upper().replace(".", "__")
            print(f"{name} = {default or '(none)'}\n    {description} [{variable}]")
        return 0
    if arguments.config:
        os.environ["RANKD_CONFIG"] = arguments.config
    settings = load_settings(
        listen=arguments.listen,
        metrics=arguments.metrics,
        admin=arguments.admin,
        ranker=arguments.ranker,
        provider=arguments.provider,
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        status = runner.run(serve(settings))
    return _ended(status)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's loop, where it is installed: a call comes round it four times, and each is a third cheaper."""
    try:
        import uvloop
    except ImportError:
        return None

    class PreciseLoop(uvloop.Loop):
        """Tells the time as asyncio's own loop does: uvloop tells that of its last turn, in whole milliseconds."""

        def time(self) -> float:
            """Seconds."""
            return time.monotonic()

    return PreciseLoop


def _ended(status: int) -> int:
    """The status of a daemon that has stopped; here the process ends where a thread of a library does not.

    A model may be in a step that nothing interrupts, and Python would wait for its thread for ever.
    """
    own = threading.current_thread()
    end = time.monotonic() + _LAST_SECONDS
    for thread in threading.enumerate():
        if thread is not own and not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                sys.stderr.flush()
                os._exit(status)
    return status


_WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - nothing is bound here


def what_next(listen: str, http_port: int | None) -> str:
    """The next steps, as commands that work in the directory and with the program that this process was started with.

    Args:
        listen: HOST:PORT of the gRPC services; where it is every address, this machine's own is told.
        http_port: of the page with metrics and health; None where it is off.
    """
    host, _, port = listen.rpartition(":")
    target = f"{_WILDCARDS.get(host, host)}:{port}"
    flag = "" if target == DEFAULT_TARGET else f" --target {target}"
    lines = [
        (f"{command()} rank prompts.txt{flag}", "order a file of prompts, one per line"),
        (f"{command()} status --watch{flag}", "follow ranker, guard and quality"),
    ]
    if http_port is not None:
        lines.append((f"http://127.0.0.1:{http_port}/", "metrics and health"))
    width = max(len(what) for what, _ in lines)
    steps = "".join(f"  {what:{width}}   {why}\n" for what, why in lines)
    return f"\nrankd is ready. In a second terminal:\n{steps}Ctrl-C stops it.\n\n"


def command() -> str:
    """How this program was called, such that a shell in this directory calls it again."""
    script = Path(sys.argv[0])
    return f"{_typed(sys.executable)} -m rankd" if script.name == "__main__.py" else _typed(sys.argv[0])


def _typed(program: str) -> str:
    """The shortest name of a program: by the PATH, from this directory, or in full."""
    path = Path(os.path.abspath(program))  # noqa: PTH100 - a virtual environment's python is a link, not to be resolved
    found = shutil.which(path.name)
    if found is not None and os.path.abspath(found) == str(path):  # noqa: PTH100
        return shlex.quote(path.name)
    if path.is_relative_to(Path.cwd()):
        near = str(path.relative_to(Path.cwd()))
        return shlex.quote(near if os.sep in near else f".{os.sep}{near}")
    return shlex.quote(str(path))


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once."""
    configure_logs(settings.log_level, settings.log_format)
    log_loose_ends()
    # A full queue is a hundred thousand objects: collecting them all at Python's default pace stops calls for tens of
    # milliseconds at a time. Nothing on the way of a request makes reference cycles by the hundred.
    gc.set_threshold(50_000, 20, 50)
    # A thread that tokenises may hold the interpreter for so long while a call waits; Python's default is 5 ms.
    sys.setswitchinterval(0.001)
    app = App(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before anything serves: a signal that comes just then must drain, too.
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    if not await _started(app, stopped):
        return 0
    gc.freeze()
    if sys.stderr.isatty():
        host = settings.listen.rpartition(":")[0]
        sys.stderr.write(what_next(f"{host}:{app.public.port}", app.http.port if app.http else None))
    await stopped.wait()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(name)
    # What comes after the calls has bounds of its own; this one is for what hangs all the same.
    end_process_in(settings.drain_delay + settings.drain_timeout + _AFTER_CALLS, status=1)
    await app.stop()
    # Python would wait for threads, however long a volume or a model keeps them.
    end_process_in(_LAST_SECONDS, status=0)
    return 0


def end_process_in(seconds: float, *, status: int) -> None:
    """End this process after ``seconds`` with ``status``, whatever it still does then."""

    def end() -> None:
        time.sleep(seconds)
        if status:
            _log.error("shutdown_forced")
        sys.stderr.flush()
        os._exit(status)

    threading.Thread(target=end, name="rankd-end", daemon=True).start()


async def _started(app: App, stopped: asyncio.Event) -> bool:
    """Start, or give it up when a signal comes meanwhile; says which."""
    starting, stopping = asyncio.ensure_future(app.start()), asyncio.ensure_future(stopped.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        await starting
        return True
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    return False
