"""A daemon with 64 descriptors, all of which its callers hold: probes, processor time, and a token that is taken back.

Connections to gRPC and to the metrics port take whatever there is. At least 99 % of ``/livez`` and ``/readyz`` are
answered within a second, nothing spins (less than half a core over the time), the token that is taken back meanwhile is
refused once there are descriptors again, and the daemon ends at SIGTERM.
``PYTHONPATH=tests python -m attacks.no_descriptors [SECONDS]``.
"""

import os
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
from support.daemon import DaemonProcess
from support.tiny_ranker import make_artifact
from support.wire import item, rank_stub, request

from attacks.page_port import ask

LIMITED = ("sh", "-c", 'ulimit -n 64; exec "$0" "$@"')
TOKEN = "sesame-sesame-sesame-sesame"
ENTRY = '[[token]]\nname = "{}"\ntoken = "{}"\nroles = ["rank"]\n'


def rank(target, token):
    """The status of a call."""
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            metadata = [("authorization", f"Bearer {token}")]
            rank_stub(channel).Rank(request(item("a", "w1")), timeout=5, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def taken(port, number):
    """Connections that say nothing."""
    out = []
    for _ in range(number):
        with suppress(OSError):
            out.append(socket.create_connection(("127.0.0.1", port), timeout=1))
    return out


def probed(port, seconds):
    """Probes that were answered, of how many."""
    good = asked = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in ("/livez", "/readyz"):
            asked += 1
            with suppress(OSError, StopIteration, IndexError):
                good += ask(port, path) == (200, True)
        time.sleep(0.05)
    return good, asked


def main():
    """Take, look, give back, look."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 6.0
    with tempfile.TemporaryDirectory() as directory:
        auth = Path(directory) / "auth.toml"
        auth.write_text(ENTRY.format("a", TOKEN) + ENTRY.format("b", TOKEN + "-two"))
        daemon = DaemonProcess(
            make_artifact(Path(directory) / "tiny"), environment={"RANKD_AUTH__FILE": str(auth)}, prefix=LIMITED
        )
        process = psutil.Process(daemon.process.pid)
        port = int(daemon.http.rstrip("/").rpartition(":")[2])
        print(f"{process.num_fds()} of 64 descriptors in use; a call: {rank(daemon.target, TOKEN).name}")
        held = taken(daemon.port, 80) + taken(port, 80)
        time.sleep(0.5)
        before, began, used = process.cpu_times(), time.monotonic(), process.num_fds()
        auth.write_text(ENTRY.format("b", TOKEN + "-two"))
        good, asked = probed(port, seconds)
        after = process.cpu_times()
        cores = (after.user + after.system - before.user - before.system) / (time.monotonic() - began)
        print(f"{used} in use: {good} of {asked} probes answered ({good / asked:.1%}), {cores:.0%} of a core")
        for connection in held:
            connection.close()
        time.sleep(3)
        status = rank(daemon.target, TOKEN), rank(daemon.target, TOKEN + "-two")
        print(f"given back: the token that was taken back {status[0].name}, the other {status[1].name}")
        code = daemon.terminate()
        print(f"SIGTERM: status {code}")
    refused = status == (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK)
    return int(not (good >= 0.99 * asked and cores < 0.5 and refused and code == 0))


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(main())
