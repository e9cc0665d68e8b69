"""A real Prometheus and its promtool, for tests. Debian: ``apt-get install prometheus``."""

import json
import os
import shutil
import socket
import subprocess
import time
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from support.repository import ROOT

RULES = ROOT / "charts" / "rankd" / "files" / "rules"


def binary(name):
    """Where ``prometheus`` or ``promtool`` is; without it a test is skipped, but never in CI."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not here: apt-get install -y --no-install-recommends prometheus"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


class Prometheus:
    """A server on a loopback port that scrapes and evaluates rules once a second.

    ``jobs`` are targets (host:port) by job.
    """

    def __init__(self, directory, jobs, rules):
        self.url = f"http://127.0.0.1:{_free_port()}"
        config = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
            ],
        }
        # JSON is YAML.
        (directory / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        self._log = (directory / "prometheus.log").open("wb")
        command = [
            binary("prometheus"), f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address={self.url.removeprefix('http://')}",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait_until_ready(directory)

    def _wait_until_ready(self, directory):
        end = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < end:
            try:
                urlopen(f"{self.url}/-/ready", timeout=30).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise AssertionError("Prometheus did not start:\n" + (directory / "prometheus.log").read_text())

    def stop(self):
        """End it, by its own handle."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def _get(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urlencode(parameters, doseq=True)}"
        answer = json.load(urlopen(url, timeout=30))
        assert answer["status"] == "success"
        assert "warnings" not in answer, answer["warnings"]
        return answer["data"]

    def now(self, expression):
        """The value of each series now, by its labels."""
        result = self._get("query", query=expression)["result"]
        return {_labels(series): float(series["value"][1]) for series in result}

    def lately(self, expression, seconds=6):
        """The last values of each series, by its labels, one a second; as a panel over time asks for them."""
        end = time.time()
        result = self._get("query_range", query=expression, start=end - seconds, end=end, step=1)["result"]
        return {_labels(series): [float(value) for _, value in series["values"]] for series in result}

    def label_values(self, label, series):
        """What Grafana's ``label_values(series, label)`` gives."""
        return self._get(f"label/{label}/values", **{"match[]": series})

    def rules(self):
        """Every rule with its state, health and last error."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]


def _labels(series):
    return tuple(sorted(series["metric"].items()))


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
