"""Five replicas under load while each is restarted, one is killed and one is frozen: ``make fleet``; 10 minutes.

Every request gets an order; what fails is the client's own fallback; the fleet's tau is that of all records; guards
agree within what docs/guides/fleet.md states; no window is lost; draining fails no call.

    python -m soak.five_replicas [--seconds 300] [--calls 40] [--json out/five_daemons.json]
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from support.fleet_calls import counted
from support.prometheus import RULES, Prometheus
from support.replicas import PORT, Engines, Replica, Watch, reasons
from support.tiny_ranker import make_artifact

from rankd.quality.statistics.pair_counters import SIZE, CounterTotals, counters
from rankd.quality.statistics.pair_sums import pair_sums

EVERY, FORGET_AFTER, DWELL = 1.0, 5.0, 5.0
AGREE = 2 * EVERY + 1.0
"""Stated: a decision reaches all within ``every`` and what asking takes; beyond it what a busy machine adds."""
SETTINGS = {
    "RANKD_FLEET__PEERS": ",".join(f"127.0.0.{11 + n}:{PORT}" for n in range(5)),
    "RANKD_FLEET__EVERY": str(EVERY),
    "RANKD_FLEET__FORGET_AFTER": str(FORGET_AFTER),
    "RANKD_GUARD__DWELL": str(DWELL),
    "RANKD_DRAIN_DELAY": "1",
    "RANKD_QUALITY__SNAPSHOT_EVERY": "5",
}


class Growth:
    """What the counters of all replicas grew by: read once a second, restarts noticed, as ``increase`` does."""

    def __init__(self, replicas):
        self._replicas, self._last = replicas, {}
        self.totals = dict.fromkeys(_names(), 0.0)

    def look(self):
        """Read them; who does not answer grows later."""
        for replica in self._replicas:
            try:
                now = counted(replica, timeout=0.5)
            except OSError:
                continue
            before = self._last.get(replica.host, {})
            restarted = any(value < before.get(name, 0.0) for name, value in now.items())
            for name, value in now.items():
                self.totals[name] += value - (0.0 if restarted else before.get(name, 0.0))
            self._last[replica.host] = now

    def sums(self):
        """As the sums that tau is made of."""
        return CounterTotals(np.array(list(self.totals.values())))


def _names():
    """The counters in the order of the sums."""
    return [
        (f"{name.replace('.', '_')}_total", next(iter(labels.values()), ""))
        for name, labels, _ in counters(np.zeros(SIZE))
    ]


def of_all_records(records):
    """Tau-b and realised gain of all records together, whoever took them."""
    score, tokens = np.array([r[1] for r in records]), np.array([r[2] for r in records])
    whole = pair_sums([score], tokens, np.ones(len(score), dtype=bool), np.zeros(len(score), dtype=np.int64))
    return {"requests": len(score), "tau": whole.tau_b()[0], "realised_gain": whole.realised_gain()[0]}


def rest(seconds, growth):
    """Let time pass."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        growth.look()
        time.sleep(max(0.0, min(1.0, end - time.monotonic())))


def disturb(replicas, engines, growth, seconds):
    """Restart each in turn, kill one, freeze one, spread over the time; windows before and after each restart."""
    pause, windows = seconds / 8, []
    for replica in replicas:
        engines.phase = "restart"
        rest(pause / 2, growth)
        growth.look()
        before = replica.quality().window_size
        assert replica.drain() == 0
        replica.start()
        windows.append((before, replica.quality().window_size))
        rest(pause / 2, growth)
    engines.phase = "kill"
    growth.look()
    replicas[1].kill()
    rest(pause / 2, growth)
    replicas[1].start()
    rest(pause / 2, growth)
    engines.phase = "freeze"
    growth.look()
    replicas[2].signal(signal.SIGSTOP)
    rest(pause, growth)
    replicas[2].signal(signal.SIGCONT)
    engines.phase = "after"
    rest(pause, growth)
    return windows


def guards(replicas, engines, watch):
    """The ranker goes wrong and is right again, once with all well, once with the leader killed in between."""
    hosts, out = [r.host for r in replicas], {}
    engines.phase, engines.sign = "wrong", -1
    out["all fall within"] = watch.until("fallback", hosts, 120)
    engines.phase, engines.sign = "right", 1
    out["all return within"] = watch.until("ranked", hosts, 120)
    engines.phase, engines.sign = "wrong, leader killed", -1
    leader = next(r for r in replicas if (q := r.quality()) is not None and q.fleet.leading)
    leader.kill()
    others = [h for h in hosts if h != leader.host]
    out["the others fall within"] = watch.until("fallback", others, 120)
    leader.start()
    began = time.monotonic()
    fell = watch.until("fallback", hosts, 30)
    out["it falls, once it answers again, within"] = None if fell is None else time.monotonic() - began
    engines.phase, engines.sign = "right again", 1
    out["all return again within"] = watch.until("ranked", hosts, 120)
    return out


def drains(replicas, engines, times=10):
    """Rolling restarts under load: exit codes, and when each was told to end, had ended and served again."""
    engines.phase = "drain"
    codes, marks = [], []
    for n in range(times):
        replica = replicas[n % len(replicas)]
        marks.append([time.time()])
        codes.append(replica.drain())
        marks[-1].append(time.time())
        replica.start()
        marks[-1].append(time.time())
        time.sleep(1.0)
    return codes, marks


def fleet_of_prometheus(server):
    """The recorded series, without their labels."""
    out = {}
    for name in ("tau", "realised_gain"):
        for end in ("", "_low", "_high"):
            values = list(server.now(f"rankd:fleet_{name}{end}").values())
            out[f"{name}{end}"] = values[0] if len(values) == 1 else None
    return out


def judged(out):
    """What must hold, by name."""
    known, told, own = out["of all records"], out["prometheus"], out["counters"]
    checks = {
        "no request lost": out["wrong"] == out["lost reports"] == [],
        "nothing fails but by kill and freeze": not any(
            f.startswith(("restart", "drain", "after", "start")) for f in out["failed calls"]
        ),
        "restarts lose no window": all(after >= before for before, after in out["windows"]),
        "drains end well": out["drain exit codes"] == [0] * len(out["drain exit codes"]),
        "guards agree": all(v is not None and v <= AGREE for v in out["guards, seconds"].values()),
        "guards never differ for longer": out["longest difference of guards, seconds"] <= AGREE,
    }
    for name in ("tau", "realised_gain"):
        for source, figures in (("prometheus", told), ("counters", own)):
            checks[f"{source}: {name} within .02"] = abs(figures[name] - known[name]) < 0.02
            checks[f"{source}: {name} inside"] = figures[f"{name}_low"] < known[name] < figures[f"{name}_high"]
    return checks


def figures_of(sums):
    """Tau and gain with their intervals."""
    out = {}
    for name, bounded in (("tau", sums.tau(1.959964)), ("realised_gain", sums.realised_gain(1.959964))):
        out |= {name: bounded.value, f"{name}_low": bounded.low, f"{name}_high": bounded.high}
    return out


def story(options, directory):
    """All of it."""
    ranker = make_artifact(directory / "tiny")
    replicas = [Replica(n, ranker, directory, SETTINGS) for n in range(5)]
    engines = Engines(replicas, engines=8, calls_per_second=options.calls, timeout=options.timeout)
    server, watch = None, None
    try:
        for replica in replicas:
            replica.start()
        growth, watch = Growth(replicas), Watch(replicas)
        jobs = {"rankd": [r.http.removeprefix("http://") for r in replicas]}
        server = Prometheus(directory, jobs, [RULES / "fleet.yaml"])
        engines.start()
        windows = disturb(replicas, engines, growth, options.seconds)
        growth.look()
        time.sleep(2)
        records = list(engines.seen.records)
        out = {"of all records": of_all_records(records), "prometheus": fleet_of_prometheus(server)}
        out |= {"counters": figures_of(growth.sums()), "compared": growth.sums().reports, "windows": windows}
        out["guards, seconds"] = guards(replicas, engines, watch)
        out["drain exit codes"], marks = drains(replicas, engines)
        engines.stop()
        seen = engines.seen
        out["failed while draining: seconds after the last SIGTERM, exit, start"] = [
            [round(at - max((m[i] for m in marks if len(m) > i and m[i] <= at), default=at), 2) for i in range(3)]
            for at, phase, _ in seen.failed
            if phase == "drain"
        ]
        out["longest difference of guards, seconds"] = watch.longest_difference()
        out |= {
            "calls": seen.calls,
            "failed calls": reasons(seen.failed),
            "wrong": seen.wrong[:10],
            "requests without a score": seen.unscored,
            "reports": len(seen.records),
            "lost reports": seen.lost[:10],
            "resent reports": seen.resent,
            "seconds a call, p50 p99 max": np.quantile(seen.seconds, (0.5, 0.99, 1.0)).round(4).tolist(),
            "snapshots restored": sum(len(r.events("snapshot_restored")) for r in replicas),
            "snapshots unusable": sum(len(r.events("snapshot_unusable")) for r in replicas),
        }
        return out
    finally:
        engines.stop()
        for end in (watch, server):
            if end is not None:
                end.stop()
        for replica in replicas:
            if replica.process is not None and replica.process.poll() is None:
                replica.kill()


def main():
    """Run it, write it, say whether all holds."""
    parser = argparse.ArgumentParser(prog="python -m soak.five_replicas", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="of load while replicas come and go")
    parser.add_argument("--calls", type=float, default=40.0, help="a second, five requests each")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds a call may take")
    parser.add_argument("--json", type=Path, default=Path("out/five_daemons.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        out = story(options, Path(directory))
    out["holds"] = judged(out)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(out, indent=1), encoding="utf-8")
    print(json.dumps(out, indent=1))
    return 0 if all(out["holds"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
