"""Five daemons under real traffic: three that are well, one of them with TLS; one ranks backwards; one struggles."""

import itertools
import random
import resource
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
from rankd_client import AdminClient, Completed, Item, JudgeOptions, RankClient, TlsConfig

from support.credentials import bearer, write_tokens
from support.daemon import DaemonProcess
from support.engine_traffic import prompt
from support.tiny_ranker import make_artifact
from support.wire import item, rank_stub, request

MODEL = "chat"


class Engine:
    """Serves one request after the other, 40 microseconds a token: nine tenths of its time at 10 requests in .1 s."""

    def __init__(self):
        self._free = 0.0

    def served(self, queue):
        """What becomes of (ranked request, tokens) that arrive now, in this order."""
        now = time.time()
        done = []
        for ranked, tokens in queue:
            began = max(self._free, now)
            self._free = began + tokens * 40e-6
            done.append(
                Completed(
                    ranked.request_id,
                    ranked.prediction,
                    output_tokens=tokens,
                    arrival=now,
                    queue_seconds=began - now,
                    total_seconds=self._free - now,
                )
            )
        return done


def _certificate(directory):
    """A certificate that ends in two days, and the settings to serve with it."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=rankd -addext subjectAltName=IP:127.0.0.1 -days 2 "
        "-keyout tls.key -out tls.crt"
    )
    subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    files = {"CERTIFICATE": directory / "tls.crt", "PRIVATE_KEY": directory / "tls.key"}
    return {f"RANKD_TLS__{name}": str(path) for name, path in files.items()}


class Five:
    """The daemons, by name; their traffic runs until ``stop``."""

    def __init__(self, directory):
        self._directory = directory
        ranker = make_artifact(directory / "tiny")
        backwards = make_artifact(directory / "backwards", name="backwards", scale=-1.0)
        stumbling = make_artifact(directory / "stumbling", name="stumbling", nan_word="w5", work=8)
        make_artifact(directory / "registry" / "candidate", name="candidate", long=0.0)
        known = write_tokens(directory / "auth.toml")
        busy = {"RANKD_AUTH__FILE": str(known), "RANKD_AUTH__ANONYMOUS": "true"}
        busy |= {"RANKD_SCORING__MAX_QUEUED_PROMPTS": "8", "RANKD_SCORING__CACHE_ENTRIES": "0"}
        plans = {
            "well": (ranker, self._log("well") | _certificate(directory)),
            "trying": (ranker, self._log("trying") | {"RANKD_REGISTRY": str(directory / "registry")}),
            "full": (ranker, self._log("full")),
            # What learns its traffic would turn its order round before the guard has seen enough of it.
            "backwards": (backwards, {"RANKD_ADAPT__ENABLED": "false"}),
            "mute": (stumbling, busy),
        }
        settings = {"RANKD_ORDER__TUNE_EVERY": "200", "RANKD_PROMOTION__MIN_COMPLETIONS": "50"}
        with ThreadPoolExecutor(len(plans)) as pool:
            starting = {
                name: pool.submit(DaemonProcess, which, environment=settings | own)
                for name, (which, own) in plans.items()
            }
        self.daemons = {name: future.result() for name, future in starting.items()}
        # Nothing larger than 64 bytes can be written: a disk that is full.
        full = self.daemons["full"].process.pid
        resource.prlimit(full, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        self._stopped = threading.Event()
        self.failed = []
        self._threads = [
            threading.Thread(target=self._send, args=(name, number), daemon=True)
            for number, name in enumerate(self.daemons)
        ]

    def _log(self, name):
        return {
            "RANKD_COMPLETION_LOG__DIRECTORY": str(self._directory / f"log-{name}"),
            "RANKD_COMPLETION_LOG__FLUSH_SECONDS": "0.5",
            "RANKD_COMPLETION_LOG__RETRY_SECONDS": "0.5",
        }

    def jobs(self):
        """Scrape targets by job."""
        at = {name: daemon.http.removeprefix("http://").rstrip("/") for name, daemon in self.daemons.items()}
        return {
            "rankd": [at["well"], at["trying"], at["full"]],
            "rankd-backwards": [at["backwards"]],
            "rankd-mute": [at["mute"]],
        }

    def start_traffic(self):
        """Begin sending, and let a candidate run in the shadow of one daemon."""
        self._admin = AdminClient(self.daemons["trying"].admin_target)
        self._candidate = self._admin.load("candidate").ranker_version
        self._admin.start_shadow(self._candidate)
        for thread in self._threads:
            thread.start()

    def shadowed(self):
        """Completions of prompts that the candidate scored in the shadow."""
        ranker = next(r for r in self._admin.rankers().rankers if r.ranker_version == self._candidate)
        return ranker.shadow.completions

    def judge(self):
        """Judge the candidate on what its shadow has seen."""
        return self._admin.judge(self._candidate, JudgeOptions(evidence="shadow_scores"))

    def _send(self, name, number):
        """Queues of ten new prompts and two known ones; reports of what ended, but not from the mute one."""
        rng, engine, before, ended = random.Random(number), Engine(), [], []
        tls = TlsConfig((self._directory / "tls.crt").read_bytes()) if name == "well" else None
        with RankClient(self.daemons[name].target, model=MODEL, timeout=20, tls=tls) as client:
            for sequence in itertools.count():
                drawn = [prompt(rng) for _ in range(20 if name == "mute" else 10)]
                items = [Item(text, request_id=f"{name}-{sequence}-{i}") for i, (text, _) in enumerate(drawn)]
                queue = client.rank(items + before)
                if queue.failed:
                    self.failed.append(f"{name}: {client.stats.last_error}")
                    return
                known = [r for r in queue if r.prediction is not None]
                before = [Item(request_id=r.request_id, prediction=r.prediction) for r in known[:2]]
                if name == "mute":
                    self._knock()
                else:
                    client.report(ended, timeout=20)
                    ended = engine.served([(r, drawn[r.index][1]) for r in queue if r.index < len(drawn)])
                if self._stopped.wait(0.1):
                    return

    def _knock(self):
        """Call with a token that nobody knows."""
        with grpc.insecure_channel(self.daemons["mute"].target) as channel, suppress(grpc.RpcError):
            rank_stub(channel).Rank(request(item("a", "w1")), timeout=20, metadata=bearer("gone"))

    def stop(self):
        """End traffic and daemons."""
        self._stopped.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(30)
        self._admin.close()
        for daemon in self.daemons.values():
            if daemon.process.poll() is None:
                daemon.kill()
