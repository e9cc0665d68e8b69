"""Which names do rankd's processes ask for? In a network of their own whose only resolver writes every question down.

    PYTHONPATH=tests python -m attacks.names_asked

Needs Linux and the right to make namespaces (``unshare``). onnxruntime asks for its maker's host some ten seconds after
it is loaded, so each process is watched for longer. The last one has its telemetry switched on: its question must be
seen, or this script sees nothing. Nothing leaves: that network has no other machine.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from support.tiny_ranker import make_artifact

_SECONDS = 20.0
_INSIDE = "RANKD_ATTACK_INSIDE"
_LISTEN = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--provider", "cpu"]
_UP = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))"  # SIOCSIFFLAGS: up, running
)
_SHELL = '"$0" -c "$1" && mount --bind "$2" /etc/resolv.conf && exec "$0" -m attacks.names_asked'


def main() -> int:
    """Start over within namespaces; 1 where a name was asked for that nobody switched on."""
    if os.environ.get(_INSIDE):
        return _watched()
    with tempfile.NamedTemporaryFile("w") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", _SHELL]
        arguments = [sys.executable, _UP, resolver.name]
        return subprocess.run([*command, *arguments], env=os.environ | {_INSIDE: "1"}, check=False).returncode


def _watched() -> int:
    del os.environ[_INSIDE]
    asked = []
    threading.Thread(target=_answer, args=(asked,), daemon=True).start()
    failed = False
    with tempfile.TemporaryDirectory() as place:
        ranker = make_artifact(Path(place) / "ranker")
        rows = Path(place) / "rows.jsonl"
        rows.write_text("".join(f'{{"prompt": "long {i}", "output_token_count": {i + 1}}}\n' for i in range(300)))
        serve = ["serve", *_LISTEN]
        on = {"RANKD_SCORING__ONNXRUNTIME_TELEMETRY": "true"}
        for name, arguments, environment, expected in (
            ("serve, bundled", [*serve, "--ranker", "ngram"], {}, False),
            ("serve, a ranker on trial", [*serve, "--ranker", str(ranker)], {}, False),
            ("evaluate", ["evaluate", "--ranker", str(ranker), "--data", str(rows)], {}, False),
            ("serve, telemetry on", [*serve, "--ranker", "ngram"], on, True),
        ):
            asked.clear()
            _run(arguments, {"HOME": place, "ORT_DISABLE_TELEMETRY": "", **environment})
            names = sorted(set(asked))
            failed |= bool(names) != expected
            print(f"{name}: {', '.join(names) or 'no name'}", flush=True)
    print("as it should be" if not failed else "NOT as it should be")
    return int(failed)


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    end = time.monotonic() + _SECONDS
    command, nowhere = [sys.executable, "-m", "rankd", *arguments], subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=os.environ | environment) as process:
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.1)
        process.terminate()


def _answer(asked: list[str]) -> None:
    """Write questions down, and say of every name that there is none."""
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.1", 53))
    while True:
        question, caller = resolver.recvfrom(512)
        asked.append(_name(question[12:]))
        resolver.sendto(question[:2] + b"\x81\x83" + question[4:], caller)


def _name(labels: bytes) -> str:
    parts = []
    while labels and labels[0]:
        parts.append(labels[1 : 1 + labels[0]].decode("ascii", "replace"))
        labels = labels[1 + labels[0] :]
    return ".".join(parts)


if __name__ == "__main__":
    sys.exit(main())
